"""A download is a bar on a terminal, lines in a log, and nothing where nobody looks."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

PROGRAM = """
import logging, sys, time
from sclip_seg_ros.models.loading import transferring
logging.basicConfig(level=sys.argv[1], format="%(message)s", stream=sys.stderr)
with transferring("ViT-B/16", "/cache", 0, 10_000_000) as transfer:
    for step in range(1, 11):
        time.sleep(0.15)
        transfer.at(step * 1_000_000)
"""


def on_a_terminal(level: str) -> list[str]:
    """Return the lines that a terminal of 90 columns shows, each state of a bar as one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, level], stderr=theirs,
                               stdin=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        shown += block
        if not block:
            break
    assert process.wait(60) == 0
    return [line for line in shown.decode().replace("\n", "\r").split("\r") if line.strip()]


def test_on_a_terminal_it_is_a_bar():
    lines = on_a_terminal("WARNING")
    assert len(lines) > 5 and all(line.startswith("ViT-B/16: ") for line in lines)
    assert any("50%" in line and "5.00M/10.0M" in line for line in lines)
    assert "B/s]" in lines[-1]


def test_beside_lines_in_the_log_there_is_no_bar():
    lines = on_a_terminal("INFO")
    assert lines[0] == "downloading ViT-B/16, 10 MB, into /cache"
    assert len(lines) > 1 and all("a second" in line for line in lines[1:])


def test_where_nobody_looks_there_is_nothing():
    run = subprocess.run([sys.executable, "-c", PROGRAM, "WARNING"], capture_output=True)
    assert run.stdout == run.stderr == b""
