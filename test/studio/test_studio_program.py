"""`sclip studio` as a person starts it: in a process of its own, ended by Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from forked_programs import ForkedProgram, can_fork
from studio_harness import browsing, page_of, until, write_rooms

from sclip_seg_ros.studio.command import main

SCLIP = "import sys; from sclip_seg_ros.tools.sclip import main; sys.exit(main())"


@contextmanager
def started(*arguments: str):
    """Start the program; yield the process and the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sclip_seg_ros.tools.sclip", "studio", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("ready: "), process.stderr.read()
        yield process, line.removeprefix("ready: ").strip()
    finally:
        process.kill()
        process.communicate()


def test_the_page_opens_at_the_address_that_is_said_and_ctrl_c_ends_it(tmp_path):
    with started(str(write_rooms(tmp_path)), str(tmp_path / "none"), "--vocabulary", "floor",
                 "wall") as (process, url), browsing() as browser:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with page_of(browser, url) as page:
            until(page, "document.body.dataset.serial")
            assert page.locator("#chips li").count() == 2
            process.send_signal(signal.SIGINT)
            page.wait_for_selector("#offline:not([hidden])")
            assert "start it in its terminal" in page.locator("#offline").inner_text()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in out
    left_out, told = err.splitlines()
    assert left_out.startswith(f"sclip-studio: left out: '{tmp_path / 'none'}' does not exist")
    assert told.startswith("sclip-studio: the embedded model knows nothing but rendered rooms")


def test_another_address_wants_the_token_that_is_printed_once(tmp_path):
    log = tmp_path / "log"
    assert can_fork()
    process = ForkedProgram(SCLIP, ["sclip", "studio", "--port", "0", str(write_rooms(tmp_path)),
                                    "--host", "0.0.0.0"], log)
    try:
        while not (found := re.match(r"ready: http://\S+?:(\d+)/\?token=(\S{20,})\n",
                                     log.read_text() if log.exists() else "")):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        port, token = found.groups()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        answer = opener.open(f"http://127.0.0.1:{port}/?token={token}")
        assert answer.geturl().endswith("/") and b"sclip studio" in answer.read()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    finally:
        process.kill()
    assert log.read_text().count(token) == 1


@pytest.mark.parametrize(("arguments", "said"), [
    (["/nowhere"], "'/nowhere' does not exist"), (["--port", "999999"], "give another --port"),
    (["--vocabulary", "a", "A"], "'A' stands in the classes twice"),
    (["--background", "sky"], "background 'sky' is none of the classes")])
def test_what_cannot_be_started_is_told_in_one_line(arguments, said, capsys):
    assert main(["--port", "0", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
