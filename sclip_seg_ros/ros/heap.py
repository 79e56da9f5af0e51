"""The C library's heap, told to keep what one frame frees for the next."""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_MOST_MMAP = 32 << 20  # the largest threshold that glibc takes
_NEVER = 1 << 30       # more than is ever free at the end of a heap


def keep_freed_memory() -> bool:
    """Keep freed memory in the process from now on; give back what is free at this moment.

    By default glibc hands the free end of a heap back to the system, so that a frame's tensors
    are taken from it page by page each time, and the process's size moves up and down with
    whatever small thing happens to lie at the end. For a process that does nothing but frames.
    Environment variables for the same purpose are left in force.

    Returns:
        Whether that was done; False without glibc, or with such a variable.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or any(name in os.environ for name in _OWN_CHOICE):
        return False
    library.malloc_trim(0)
    # Both, since either alone ends glibc's own choice of the other, and tensors would be mapped.
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP)
                and library.mallopt(_M_TRIM_THRESHOLD, _NEVER))
