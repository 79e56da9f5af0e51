"""What a program does, and its exit code, do not depend on who listens to it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from sclip_seg_ros.common.streams import listeners_may_leave
with listeners_may_leave():
    open(sys.argv[1], "w").write("begun")
    print("x" * 100_000)
    print("done", flush=True)
    print("told", file=sys.stderr)
    with open(sys.argv[1], "a") as file:
        file.write(f" and done, {file.fileno() > 2}")
print("after")
sys.exit(7)
"""
SILENT = {"stdout closed": ">&-", "stderr closed": "2>&-", "all closed": "<&- >&- 2>&-",
          "reader gone": "| true", "both readers gone": "2>&1 | true", "disk full": "> /dev/full",
          "nothing to write to": "> /dev/full 2> /dev/full"}


def run(tmp_path, ending: str) -> subprocess.CompletedProcess[str]:
    """Run the program under a shell that does something to its streams."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return subprocess.run(
        ["bash", "-c", f"'{sys.executable}' program.py result {ending}; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("case", SILENT)
def test_work_and_exit_code_are_those_of_one_that_is_heard(case, tmp_path):
    done = run(tmp_path, SILENT[case])
    assert done.returncode == 7
    assert (tmp_path / "result").read_text() == "begun and done, True"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize(("encoding", "told"), [
    ("ascii", "k\\xfcche \\u53a8\\u623f.png\n"), ("utf-8", "küche 厨房.png\n")])
def test_letters_that_the_streams_encoding_lacks_do_not_end_the_program(encoding, told, tmp_path):
    """As of a name of a file, on a robot without a locale; the work may have taken hours."""
    program = ("from sclip_seg_ros.common.streams import listeners_may_leave\n"
               "with listeners_may_leave():\n    print('küche 厨房.png')\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONIOENCODING": encoding}, timeout=60)
    assert (done.returncode, done.stdout.decode()) == (0, told), done.stderr


def test_one_that_is_heard_says_all(tmp_path):
    done = run(tmp_path, "")
    assert done.returncode == 7 and done.stderr == "told\n"
    assert done.stdout == "x" * 100_000 + "\ndone\nafter\n"


def test_a_full_disk_is_told_of_where_somebody_listens(tmp_path):
    told = run(tmp_path, "> /dev/full").stderr
    assert "what is printed is lost from here on (No space left on device)" in told
    assert told.endswith("told\n")
