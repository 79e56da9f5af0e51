"""Steps up that failed: barred for a while, longer each time, not at a lighter load."""

from __future__ import annotations

import pytest

from sclip_seg_ros.latency.trials import LONGEST_WAIT, PROVEN, Trial, Trials

PATIENCE = 10
LOAD = {"whole": 1.5}


def make() -> Trials:
    """Return trials on a ladder of three levels."""
    return Trials(levels=3, patience=PATIENCE, probe_after=100)


def attempt(trials: Trials, level: int, calm: int = 0, spike: bool = False) -> None:
    """Step up, run some calm frames, and fail."""
    trials.begin(Trial(level, 80.0, LOAD, probe=False))
    for _ in range(calm):
        trials.frame(level, over=False)
    trials.frame(level, over=True, spike=spike)


def barred_for(trials: Trials, level: int, predicted_ms: float = 80.0) -> int:
    """Return for how many frames at the cheapest level a level stays barred."""
    for frames in range(2 * LONGEST_WAIT):
        if trials.allowed(level, predicted_ms):
            return frames
        trials.frame(2, over=False)
    raise AssertionError("barred for ever")


def test_everything_is_allowed_at_first() -> None:
    assert all(make().allowed(level, 80.0) for level in range(3))


def test_each_failure_bars_twice_as_long_up_to_a_limit() -> None:
    trials = make()
    waits = []
    for _ in range(9):
        attempt(trials, 0)
        waits.append(barred_for(trials, 0))
    assert waits == [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]


def test_better_levels_are_barred_too_and_cheaper_ones_are_not() -> None:
    trials = make()
    attempt(trials, 1)
    assert [trials.allowed(level, 80.0) for level in range(3)] == [False, False, True]


def test_a_lighter_load_lifts_the_bar() -> None:
    trials = make()
    attempt(trials, 0)
    assert not trials.allowed(0, 75.0) and trials.allowed(0, 65.0)


def test_a_level_that_lasted_starts_anew() -> None:
    trials = make()
    for _ in range(4):
        attempt(trials, 0)
        barred_for(trials, 0)
    attempt(trials, 0, calm=PROVEN)
    assert barred_for(trials, 0) == PATIENCE


@pytest.mark.parametrize(("calm", "wait"), [(PATIENCE - 1, 20), (PATIENCE, 10)])
def test_a_spike_is_a_failure_only_of_a_level_that_has_hardly_run(calm, wait) -> None:
    trials = make()
    attempt(trials, 0, calm, spike=True)
    assert barred_for(trials, 0) == wait


def test_a_step_up_is_returned_once_for_learning() -> None:
    trials, step = make(), Trial(0, 80.0, LOAD, probe=False)
    trials.begin(step)
    returned = [trials.frame(0, over=False) for _ in range(PROVEN)]
    assert returned[PATIENCE - 1] is step and returned.count(None) == PROVEN - 1


def test_a_trial_left_early_teaches_nothing() -> None:
    trials = make()
    trials.begin(Trial(0, 80.0, LOAD, probe=False))
    assert [trials.frame(1, over=False) for _ in range(PROVEN)] == [None] * PROVEN


def test_failed_probes_become_rarer_until_one_succeeds() -> None:
    trials = make()
    assert not trials.probe_due(99) and trials.probe_due(100)
    for _ in range(2):
        trials.begin(Trial(0, 80.0, LOAD, probe=True))
        trials.frame(0, over=True)
    assert not trials.probe_due(399) and trials.probe_due(400)
    trials.begin(Trial(0, 80.0, LOAD, probe=True))
    for _ in range(PATIENCE):
        trials.frame(0, over=False)
    assert trials.probe_due(100)
    assert not Trials(3, PATIENCE, probe_after=0).probe_due(10**6)


def test_a_new_budget_lifts_every_bar() -> None:
    trials = make()
    attempt(trials, 0)
    trials.forget()
    assert trials.allowed(0, 80.0)
    attempt(trials, 0)
    assert barred_for(trials, 0) == 20
