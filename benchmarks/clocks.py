"""What a call costs on a device, and what the device is called."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Clock = Callable[[], float]


def clock_of(device: torch.device) -> tuple[Clock, str]:
    """Return the clock that tells what a frame costs, and what to call it.

    With one thread a CPU's own count of its work leaves other programs out.
    """
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return time.thread_time, "processor time of one thread"
    return time.perf_counter, "elapsed time"


def timed(call: Callable[[], Any], device: torch.device, clock: Clock) -> tuple[Any, float]:
    """Return a call's result and its milliseconds, queued work included."""
    start = clock()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, (clock() - start) * 1e3


def worked(process: int) -> float:
    """Return the processor time of a process so far, seconds (proc(5), utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def device_name(device: torch.device) -> str:
    """Return what computes, e.g. "cpu (AMD EPYC)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file
                      if line.startswith("model name")]
    except OSError:
        models = []
    return f"{device.type} ({models[0]})" if models else device.type
