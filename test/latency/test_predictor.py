"""Latency prediction: frames at one level tell what another level would cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.governor.machine import LEVELS, QUERIES, Machine
from sclip_seg_ros.latency.predictor import LatencyPredictor

OVERHEAD = 2.0


def warmed_up(machine: Machine) -> LatencyPredictor:
    """Return a predictor that has seen each level three times without load."""
    predictor = LatencyPredictor(len(machine.levels))
    for level in range(len(machine.levels)):
        for _ in range(3):
            stages = machine.stages(level, 0, warm_up=True)
            predictor.seed(level, sum(stages.values()), QUERIES, stages)
    return predictor


def run_at(predictor: LatencyPredictor, machine: Machine, level: int, frames: int,
           queries: int = QUERIES, start: int = 0) -> None:
    """Record frames at one level."""
    for frame in range(start, start + frames):
        stages = machine.stages(level, frame, queries)
        predictor.record(level, machine.overhead_ms + sum(stages.values()), queries, stages)


def test_nothing_is_predicted_from_nothing() -> None:
    assert LatencyPredictor(3).predict(1, 8) == 0.0


def test_warm_up_alone_predicts_by_the_median() -> None:
    predictor = LatencyPredictor(2)
    for total in (40.0, 300.0, 44.0):  # the first run of a network is often slow
        predictor.seed(0, total, 8, {"encode": total - 10, "decode": 10.0})
    assert predictor.predict(0, 8) == pytest.approx(44.0)


@given(level=st.integers(0, 5), other=st.integers(0, 5), load=st.floats(0.3, 8.0))
def test_a_load_on_everything_is_carried_to_every_level(level, other, load) -> None:
    machine = Machine(load=lambda frame: load, overhead_ms=OVERHEAD)
    predictor = warmed_up(machine)
    run_at(predictor, machine, level, 5)
    assert predictor.predict(other, QUERIES) == pytest.approx(machine.expected(other, 0))


def test_more_words_make_no_clusters_dearer() -> None:
    predictor = LatencyPredictor(1)
    predictor.seed(0, 100.0, 10, {"encode": 30.0, "clusters": 40.0, "tlp": 30.0})
    assert predictor.predict(0, 20) == 130.0


@given(level=st.integers(0, 5), other=st.integers(0, 5), queries=st.integers(1, 150))
def test_a_longer_vocabulary_is_foreseen(level, other, queries) -> None:
    machine = Machine(overhead_ms=OVERHEAD)
    predictor = warmed_up(machine)
    run_at(predictor, machine, level, 5)
    assert predictor.predict(other, queries) \
        == pytest.approx(machine.expected(other, 0, queries))


def test_a_longer_vocabulary_in_use_is_no_slower_machine() -> None:
    machine = Machine(overhead_ms=OVERHEAD)
    predictor = warmed_up(machine)
    run_at(predictor, machine, 0, 5, queries=60)
    assert predictor.slowdown() == pytest.approx(dict.fromkeys(predictor.slowdown(), 1.0))
    assert predictor.predict(3, QUERIES) == pytest.approx(machine.expected(3, 0))


def test_larger_images_slow_the_stages_that_depend_on_them() -> None:
    machine = Machine(stage_load={"decode": 6.0, "preprocess": 4.0}, overhead_ms=OVERHEAD)
    predictor = warmed_up(machine)
    run_at(predictor, machine, 0, 5)
    for level in range(len(LEVELS)):
        assert predictor.predict(level, QUERIES) == pytest.approx(machine.expected(level, 0),
                                                                  rel=0.05)


def test_waiting_outside_the_stages_is_carried_over_unscaled() -> None:
    machine = Machine(load=lambda frame: 2.0, overhead_ms=30.0)
    predictor = warmed_up(machine)
    run_at(predictor, machine, 0, 5)
    assert predictor.predict(5, QUERIES) == pytest.approx(30.0 + 2 * sum(LEVELS[5].values()))


def test_a_stage_that_the_warm_up_did_not_have_is_carried_over() -> None:
    predictor = LatencyPredictor(2)
    predictor.seed(0, 100.0, 8, {"encode": 100.0})
    predictor.seed(1, 20.0, 8, {"encode": 20.0})
    predictor.record(0, 207.0, 8, {"encode": 200.0, "overlay": 7.0})
    assert predictor.predict(1, 8) == pytest.approx(40.0 + 7.0)


def test_a_stage_that_only_the_other_level_has_follows_the_whole_frame() -> None:
    predictor = LatencyPredictor(2)
    predictor.seed(0, 150.0, 8, {"encode": 100.0, "pamr": 50.0})
    predictor.seed(1, 100.0, 8, {"encode": 100.0})
    predictor.record(1, 300.0, 8, {"encode": 300.0})
    assert predictor.predict(0, 8) == pytest.approx(450.0)


def test_a_tiny_stage_is_no_measure_of_a_long_one() -> None:
    predictor = LatencyPredictor(2)
    predictor.seed(0, 200.0, 8, {"encode": 100.0, "stitch": 100.0})
    predictor.seed(1, 20.5, 8, {"encode": 20.0, "stitch": 0.5})
    predictor.record(1, 21.5, 8, {"encode": 20.0, "stitch": 1.5})
    assert predictor.predict(0, 8) < 220.0, "1 ms of jitter is not 200 ms"


def test_totals_alone_will_do() -> None:
    predictor = LatencyPredictor(2)
    predictor.seed(0, 100.0, 8)
    predictor.seed(1, 40.0, 8)
    predictor.record(0, 150.0, 8)
    assert predictor.predict(1, 8) == pytest.approx(60.0)


def test_totals_after_a_warm_up_with_stages_will_do() -> None:
    predictor = warmed_up(Machine())
    predictor.record(0, 2 * sum(LEVELS[0].values()), QUERIES)
    assert predictor.predict(4, QUERIES) == pytest.approx(2 * sum(LEVELS[4].values()))


def test_a_level_never_measured_is_taken_for_somewhat_cheaper_than_the_one_above() -> None:
    predictor = LatencyPredictor(3)
    predictor.record(1, 80.0, 8)
    assert predictor.predict(0, 8) > 80.0 > predictor.predict(2, 8) > 40.0


def test_a_level_first_measured_under_load_is_not_taken_for_slow_for_ever() -> None:
    predictor = LatencyPredictor(2)
    predictor.seed(0, 100.0, 8, {"encode": 100.0})
    predictor.record(0, 300.0, 8, {"encode": 300.0})
    predictor.record(1, 120.0, 8, {"encode": 120.0})
    for _ in range(20):
        predictor.record(0, 100.0, 8, {"encode": 100.0})
    assert predictor.predict(1, 8) == pytest.approx(40.0)


def test_the_percentile_leaves_out_lone_spikes_and_follows_the_rest() -> None:
    predictor = LatencyPredictor(1)
    for index in range(20):
        predictor.record(0, 200.0 if index in (3, 11) else 50.0 + index / 10, 8)
    assert predictor.predict(0, 8) == pytest.approx(51.9)
    assert predictor.predict(0, 8, frames=1) == pytest.approx(51.9)
    assert predictor.predict(0, 8, percentile=1.0) == 200.0
    assert predictor.typical(0, 8) == pytest.approx(51.7)


@given(st.lists(st.floats(1.0, 500.0), min_size=1, max_size=60), st.floats(0.05, 1.0))
def test_the_share_asked_for_lies_at_or_below_the_prediction(totals, share) -> None:
    predictor = LatencyPredictor(1)
    for total in totals:
        predictor.record(0, total, 8)
    recent = totals[-20:]
    predicted = predictor.predict(0, 8, percentile=share)
    assert predicted in recent
    assert sum(total <= predicted for total in recent) >= math.floor(share * len(recent))
    assert sum(total < predicted for total in recent) < share * len(recent) + 1e-6


def test_only_the_window_counts() -> None:
    machine = Machine(load=lambda frame: 3.0 if frame < 50 else 1.0)
    predictor = warmed_up(machine)
    run_at(predictor, machine, 2, 70)
    assert predictor.predict(0, QUERIES) == pytest.approx(machine.expected(0, 60))


@pytest.mark.parametrize(("call", "message"), [
    (dict(level=2, total_ms=1.0, queries=8), "level 2 is not on the ladder; give 0 to 1"),
    (dict(level=0, total_ms=-1.0, queries=8), "total of -1.0 ms"),
    (dict(level=0, total_ms=math.nan, queries=8), "total of nan ms"),
    (dict(level=0, total_ms=9.0, queries=8, stage_ms={"encode": math.inf}), "encode of inf ms"),
    (dict(level=0, total_ms=9.0, queries=0), "queries=0"),
])
def test_impossible_measurements_are_refused_and_leave_no_trace(call, message) -> None:
    predictor = LatencyPredictor(2)
    for take in (predictor.record, predictor.seed):
        with pytest.raises(ValueError, match=message):
            take(**call)
    assert predictor.frames == 0 and predictor.predict(0, 8) == 0.0


def test_a_predictor_needs_levels() -> None:
    with pytest.raises(ValueError, match="levels=0 makes no predictor; give 1 or more"):
        LatencyPredictor(0)
