"""A download is a bar on a terminal, lines in a log, and nothing where nobody looks."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import struct
import sys
import termios
import time

import pytest

from sclip_seg_ros.models.loading import transferring


def download() -> None:
    """Download ten megabytes in as many steps."""
    with transferring("ViT-B/16", "/cache", 0, 10_000_000) as transfer:
        for step in range(1, 11):
            time.sleep(0.15)
            transfer.at(step * 1_000_000)


@pytest.fixture
def terminal(monkeypatch, caplog):
    """Return what lets a download write to a terminal of 90 columns, and returns its lines.

    Each state of a bar is one. The log takes lines of the level that is given.
    """
    def lines(level: int) -> list[str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            log = logging.StreamHandler(stream)
            logging.getLogger().addHandler(log)
            try:
                with caplog.at_level(level):
                    download()
            finally:
                logging.getLogger().removeHandler(log)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        return [line for line in shown.decode().replace("\n", "\r").split("\r") if line.strip()]
    return lines


def test_on_a_terminal_it_is_a_bar(terminal):
    lines = terminal(logging.WARNING)
    assert len(lines) > 5 and all(line.startswith("ViT-B/16: ") for line in lines)
    assert any("50%" in line and "5.00M/10.0M" in line for line in lines)
    assert "B/s]" in lines[-1]


def test_beside_lines_in_the_log_there_is_no_bar(terminal):
    lines = terminal(logging.INFO)
    assert lines[0] == "downloading ViT-B/16, 10 MB, into /cache"
    assert len(lines) > 1 and all("a second" in line for line in lines[1:])


def test_where_nobody_looks_there_is_nothing(capfd, caplog):
    with caplog.at_level(logging.WARNING):
        download()
    assert capfd.readouterr() == ("", "")
