"""What a program tells on a terminal: exit codes, problems in one line, progress bars."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

import cv2

from sclip_seg_ros.models import WeightsError

FAILED, UNUSABLE = 1, 2  # exit codes: something was not done; nothing could be done
# What says in one sentence which flag, file or weights are unusable.
USER_ERRORS = (ValueError, OSError, WeightsError)
# What one image can raise, also native code that runs out of memory; the next one may be fine.
IMAGE_ERRORS = (ValueError, RuntimeError, MemoryError, cv2.error)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what hinders all further results as well
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


def cause_of(error: Exception) -> str:
    """Return in one line why one image could not be done, with a remedy for a lack of memory."""
    text = one_line(error) or type(error).__name__
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and "memory" in text:
        text += "; take smaller images, or leave out stages that need much memory, as DenseCRF does"
    return text


def unexpected(error: Exception) -> str:
    """Say in one line what nobody reckoned with, and where, for a report."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno} "
            f"({cause_of(error)}); please report this line with what was given")


def readable(path: Path | str | bytes) -> str:
    """Return a path, or any word of a command line, as text that can be written as UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
