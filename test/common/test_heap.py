"""The heap of a process that labels frames: what one frame frees, the next one finds."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

# As frames of several sizes do: a few tensors of 4 MB, all freed at the frame's end.
FRAMES = """
import resource, threading
import torch
from sclip_seg_ros.common.heap import keep_freed_memory

torch.set_num_threads(1)

def frames(count):
    for index in range(count):
        tensors = [torch.ones(1_000_000) for _ in range(2 + index % 7)]
        del tensors

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def taken():
    before = faults()
    frames(40)
    return faults() - before

def work():
    frames(40)
    left = taken()
    answer = keep_freed_memory()
    frames(20)
    print(left, answer, taken())

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"),
                                reason="the C library has no mallopt")


def run_frames(**environment: str) -> tuple[int, str, int]:
    """Return the pages of 4 kB that frames took anew before and after keep_freed_memory.

    What it returned itself stands between the two.
    """
    run = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True,
                         timeout=240, env={**os.environ, **environment,
                                           "PYTHONPATH": os.pathsep.join(sys.path)})
    assert run.returncode == 0, run.stderr
    left, answer, kept = run.stdout.split()
    return int(left), answer, int(kept)


def test_frames_take_their_memory_from_the_system_once():
    left, answer, kept = run_frames()
    assert answer == "True"
    assert kept < 2_500
    assert 4 * kept < left  # or there would be nothing to mend


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_a_choice_made_by_the_environment_stays(name):
    left, answer, pages = run_frames(**{name: "131072"})
    assert answer == "False"
    assert pages == pytest.approx(left, rel=0.1)


# Small blocks freed below one in use: a hole, which glibc gives back only when it is told to.
HOLE = """
from pathlib import Path
from sclip_seg_ros.common.heap import give_back_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

blocks = [bytes(100_000) for _ in range(300)]
full = resident()
last = blocks.pop()
del blocks
before = resident()
give_back_freed_memory()
print(full - before, before - resident(), len(last))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_freed_memory_can_be_given_back():
    run = subprocess.run([sys.executable, "-c", HOLE], capture_output=True, text=True, timeout=240,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert run.returncode == 0, run.stderr
    kept, given_back, _ = map(int, run.stdout.split())
    assert kept < 1000 and given_back > 5000  # of 7300 pages of 4 kB
