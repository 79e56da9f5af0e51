"""Frames are counted by what became of them, and latencies summed up over a window."""

from __future__ import annotations

import math

import pytest

from sclip_seg_ros.ros.cameras.frame_log import BUDGET_FRAMES, WINDOW_FRAMES, FrameLog


def test_each_fate_is_counted_apart():
    log = FrameLog()
    for _ in range(5):
        log.received()
    log.labelled()
    log.skipped()
    log.rejected("step 3 is too small")
    log.failed("RuntimeError: out of memory")
    counts = log.counts
    assert (counts.received, counts.labelled, counts.skipped, counts.rejected, counts.failed) \
        == (5, 1, 1, 1, 1)
    assert counts.last_error == "RuntimeError: out of memory"
    assert counts.answered == 4


def test_failing_ends_with_the_next_label_but_the_error_is_remembered():
    log = FrameLog()
    log.failed("RuntimeError: once")
    assert log.counts.failing
    log.rejected("bad step")
    assert log.counts.failing, "a frame that was not worked on proves nothing"
    log.labelled()
    assert not log.counts.failing
    assert log.counts.last_error == "bad step"


def test_a_new_beginning_forgets_that_frames_failed_but_no_count():
    log = FrameLog()
    log.received()
    log.failed("RuntimeError: once")
    log.begin()
    counts = log.counts
    assert not counts.failing
    assert (counts.received, counts.failed, counts.last_error) == (1, 1, "RuntimeError: once")


def test_percentiles_by_stage_over_the_newest_frames():
    log = FrameLog()
    for index in range(WINDOW_FRAMES + 50):
        log.timed({"encode": float(index), "total": 7.0}, missed=index % 2 == 0)
    log.timed({"encode": 100.0, "overlay": 3.0}, missed=False)
    summary = log.percentiles()
    assert list(summary) == ["encode", "total", "overlay"]
    median, high, most = summary["encode"]
    assert (median, most) == (pytest.approx(99.75, abs=1), 149.0) and median < high <= most
    assert summary["total"] == (7.0, 7.0, 7.0)
    assert summary["overlay"] == (3.0, 3.0, 3.0)
    assert log.counts.missed == (WINDOW_FRAMES + 50) // 2


def test_nothing_happened_yet():
    log = FrameLog()
    assert log.rates() == (0.0, 0.0)
    assert log.percentiles() == {}
    assert math.isinf(log.seconds_since_arrival())
    log.received()
    assert log.seconds_since_arrival() < 60
    assert log.rates() == (0.0, 0.0), "one arrival makes no rate"


def test_misses_of_the_budget_are_told_of_the_last_frames_too():
    log = FrameLog()
    for _ in range(5):
        log.timed({"total": 300.0}, missed=True)
    for frame in range(BUDGET_FRAMES):
        assert log.counts.missed_lately == min(5, BUDGET_FRAMES - frame)
        log.timed({"total": 50.0}, missed=False)
    assert (log.counts.missed, log.counts.missed_lately) == (5, 0)
    assert not math.isinf(log.counts.last_miss_at)
