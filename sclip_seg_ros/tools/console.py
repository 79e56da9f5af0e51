"""What a program tells on a terminal: exit codes, problems in one line, progress bars."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from sclip_seg_ros.common.errors import Unusable

FAILED, UNUSABLE = 1, 2  # exit codes: something was not done; nothing could be done
# What says in one sentence which flag, file or weights are unusable.
USER_ERRORS = (ValueError, OSError, Unusable)
# What to do about what the system refuses, which says neither.
_REMEDIES = {
    errno.ENOSPC: "make room, or choose a folder on another disk",
    errno.EDQUOT: "make room, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check its owner and rights",
    errno.EPERM: "check its owner and rights",
    errno.ENAMETOOLONG: "give the file a shorter name, for its results' names are longer",
    errno.ENOENT: "check its path",
    errno.ENOTDIR: "check its path",
    errno.EISDIR: "name a file in it",
    errno.EIO: "check the disk it is on",
    errno.EMFILE: "allow more open files with `ulimit -n 4096`"}
# Of the progress bars: always things a second, never seconds a thing.
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


def complain(program: str, problem: object, code: int = FAILED) -> int:
    """Tell of a problem in one line on standard error; return the exit code that goes with it."""
    print(f"{program}: {one_line(problem)}", file=sys.stderr)
    return code


def one_line(problem: object) -> str:
    """Return a message without line breaks; of what the system refused, with file and remedy."""
    if isinstance(problem, OSError) and problem.errno in _REMEDIES and problem.strerror:
        where = "" if problem.filename is None else f"'{readable(problem.filename)}': "
        problem = f"{where}{problem.strerror}; {_REMEDIES[problem.errno]}"
    return " ".join(str(problem).split())


def readable(path: Path | str | bytes) -> str:
    """Return a path, or any word of a command line, as text that can be written as UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
