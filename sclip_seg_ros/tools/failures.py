"""What one image or recording of many may raise; the others may be fine, and it is told at the end.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import cv2

from sclip_seg_ros.tools.console import one_line

# What one image can raise, also native code that runs out of memory.
IMAGE_ERRORS = (ValueError, RuntimeError, MemoryError, cv2.error)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what hinders all further results as well


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
