"""The stopwatch: stages by name, in running order; nothing for what failed."""

from __future__ import annotations

import time

import pytest
import torch

from sclip_seg_ros.common.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """Let the test say what time it is."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def advance(milliseconds: float) -> None:
        now[0] += milliseconds / 1e3

    return advance


def test_stages_are_timed_in_running_order(clock):
    watch = Stopwatch()
    clock(5)
    with watch.stage("second in the alphabet"):
        clock(20)
    clock(7)
    with watch.stage("first in the alphabet"):
        clock(3)
    assert list(watch.milliseconds()) == ["second in the alphabet", "first in the alphabet"]
    assert list(watch.milliseconds().values()) == pytest.approx([20, 3])


def test_a_stage_that_runs_twice_counts_twice(clock):
    watch = Stopwatch()
    for duration in (4, 6):
        with watch.stage("encode"):
            clock(duration)
        with watch.stage("decode"):
            clock(1)
    assert watch.milliseconds() == pytest.approx({"encode": 10, "decode": 2})
    assert list(watch.milliseconds()) == ["encode", "decode"]


def test_a_nested_stage_counts_in_both(clock):
    watch = Stopwatch()
    with watch.stage("outer"):
        clock(1)
        with watch.stage("inner"):
            clock(2)
    assert watch.milliseconds() == pytest.approx({"outer": 3, "inner": 2})


def test_a_stage_that_raises_is_not_counted(clock):
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.stage("broken"):
        raise KeyError("x")
    with watch.stage("fine"):
        clock(1)
    assert watch.milliseconds() == pytest.approx({"fine": 1})


def test_nothing_measured_is_nothing_reported():
    assert Stopwatch().milliseconds() == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_work_is_measured_on_the_device():
    watch = Stopwatch("cuda:0")
    values = torch.rand(4096, 4096, device="cuda:0")
    for name, steps in (("one", 1), ("twenty", 20)):
        with watch.stage(name):
            for _ in range(steps):
                values = values @ values
                values = values / values.max()
    times = watch.milliseconds()
    assert list(times) == ["one", "twenty"]
    assert min(times.values()) > 0


def test_another_clock_may_be_given():
    now = iter([1.0, 1.25])
    watch = Stopwatch(clock=lambda: next(now))
    with watch.stage("encode"):
        pass
    assert watch.milliseconds() == pytest.approx({"encode": 250})
