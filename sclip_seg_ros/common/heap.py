"""The C library's heap: what is freed kept for the next frame, or given back to the system."""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_MOST_MMAP = 32 << 20  # the largest threshold that glibc takes
_NEVER = 1 << 30       # more than is ever free at the end of a heap


def give_back_freed_memory() -> None:
    """Let the system have what is free in the heap; glibc alone would keep it for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl keeps nothing back
    if trim is not None:
        trim(0)


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
    give_back_freed_memory()
    # Both, since either alone ends glibc's own choice of the other, and tensors would be mapped.
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP)
                and library.mallopt(_M_TRIM_THRESHOLD, _NEVER))
