"""The largest memory of a piece of work, not of the whole process so far."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from sclip_seg_ros.common.heap import give_back_freed_memory

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # proc(5): resets the high-water mark of the resident set


def peak_during(work: Callable[[], object], device: torch.device) -> float | None:
    """Run something and return the largest memory meanwhile, in MiB.

    On CUDA that of the device's tensors; on Linux that of the whole process, libraries and weights
    included. None elsewhere, where no mark can be reset.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    if not _forget_peak():
        work()
        return None
    work()
    peak = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    return int(peak[1]) / 1024 if peak else None


def _forget_peak() -> bool:
    """Give freed memory back to the system and reset the mark; False where that is impossible."""
    if not sys.platform.startswith("linux"):
        return False
    give_back_freed_memory()
    try:
        _RESET.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True
