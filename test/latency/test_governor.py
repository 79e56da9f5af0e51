"""The governor in simulated time: budgets kept, quality given back, no flapping."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.governor.machine import LEVELS, QUERIES, TRACES, Machine, Run, replay, step
from sclip_seg_ros.latency.governor import Governor

CHEAPEST = len(LEVELS) - 1
RETURN_FRAMES = 40   # promised after the load ended: the predictor's window and the patience


def simulate(machine: Machine, budget_ms: float, frames: int, **options) -> tuple[Governor, Run]:
    """Warm up, then run a number of frames under a budget."""
    governor = Governor(len(machine.levels), budget_ms, **options)
    machine.warm_up(governor)
    return governor, machine.run(governor, frames)


def longest_streak(run: Run, budget_ms: float, machine: Machine) -> int:
    """Return the most frames in a row over a budget that the cheapest level would have kept."""
    longest = streak = 0
    for frame, total in enumerate(run.totals):
        avoidable = machine.expected(CHEAPEST, frame) <= 0.95 * budget_ms
        streak = streak + 1 if total > budget_ms and avoidable else 0
        longest = max(longest, streak)
    return longest


# Without trouble


def test_without_a_budget_it_stays_at_the_best_level() -> None:
    governor, run = simulate(Machine(load=step(20, 60, 5.0), noise=0.1), 0.0, 100)
    assert set(run.levels) == {0} and not governor.hopeless


def test_an_ample_budget_leaves_the_best_level_alone() -> None:
    _, run = simulate(Machine(noise=0.05), 250.0, 1500)
    assert set(run.levels) == {0} and run.misses(250.0) == 0


@pytest.mark.parametrize("budget", [50, 70, 100, 140, 200])
def test_after_the_warm_up_the_first_frame_already_fits(budget) -> None:
    machine = Machine(noise=0.03)
    _, run = simulate(machine, budget, 1)
    assert run.totals[0] <= budget
    better = run.levels[0] - 1
    assert better < 0 or machine.expected(better, 0) > 0.8 * budget, "and gives nothing away"


def test_without_a_warm_up_two_frames_find_a_level_that_fits() -> None:
    governor = Governor(len(LEVELS), 60.0)
    run = Machine(noise=0.03).run(governor, 500)
    assert run.levels[0] == 0
    assert all(total <= 60.0 for total in run.totals[2:12])
    assert run.misses(60.0) <= 5 and run.levels[-1] < CHEAPEST


# Load


@given(factor=st.floats(1.3, 4.0), noise=st.floats(0.0, 0.06), seed=st.integers(0, 999),
       budget=st.floats(160.0, 400.0))
@settings(max_examples=25, deadline=None)
def test_after_any_step_of_load_two_frames_at_most_are_over(factor, noise, seed, budget) -> None:
    machine = Machine(load=step(60, 160, factor), noise=noise, seed=seed)
    governor, run = simulate(machine, budget, 220)
    assert longest_streak(run, budget, machine) <= 2
    assert not governor.hopeless


@given(hidden=st.dictionaries(st.integers(1, CHEAPEST - 1), st.floats(1.0, 4.0), max_size=4),
       factor=st.floats(1.5, 4.0))
@settings(max_examples=25, deadline=None)
def test_two_frames_suffice_even_where_the_warm_up_misled(hidden, factor) -> None:
    machine = Machine(load=step(30, 90, factor), true_factor=hidden, noise=0.02)
    _, run = simulate(machine, 180.0, 120)
    assert longest_streak(run, 180.0, machine) <= 2


def test_a_step_down_jumps_as_far_as_needed_and_no_further() -> None:
    machine = Machine(load=step(50, 1000, 3.0), noise=0.02)
    _, run = simulate(machine, 200.0, 60)
    assert run.levels[50] == 0 and run.levels[51:] == [3] * 9
    assert machine.expected(2, 51) > 200.0 > machine.expected(3, 51)


@given(factor=st.floats(1.3, 8.0), length=st.integers(1, 300), seed=st.integers(0, 999))
@example(factor=1.656, length=9, seed=9).via("the load ends just before a step up")
@example(factor=2.034, length=13, seed=239).via("the load ends just after a step up")
@example(factor=1.656, length=11, seed=9).via("the load ends at a step up")
@settings(max_examples=25, deadline=None)
def test_the_best_level_returns_after_the_load_ended(factor, length, seed) -> None:
    end = 30 + length
    machine = Machine(load=step(30, end, factor), noise=0.03, seed=seed)
    _, run = simulate(machine, 200.0, end + RETURN_FRAMES + 20)
    assert set(run.levels[end + RETURN_FRAMES:]) == {0}


@pytest.mark.parametrize("slope", [0.001, 0.01])
def test_drift_is_followed_down_and_up(slope) -> None:
    top = int(2.0 / slope)
    machine = Machine(load=lambda frame: 3.0 - slope * abs(frame - top), noise=0.03)
    _, run = simulate(machine, 200.0, 2 * top)
    assert run.levels[0] == 0 and run.levels[top] >= 3 and run.levels[-1] <= 1
    assert longest_streak(run, 200.0, machine) <= 2
    assert run.changes <= 16
    assert run.misses(200.0) <= max(0.01 * len(run.levels), 8)


def test_a_lone_spike_costs_a_few_frames_of_quality() -> None:
    _, run = simulate(Machine(load=step(100, 101, 5.0), noise=0.03), 200.0, 200)
    assert run.levels[101] > 0, "one slow frame may be the first of many"
    assert set(run.levels[112:]) == {0}


def test_rare_spikes_never_pin_the_level_down() -> None:
    spikes = Machine(load=lambda frame: 3.0 if frame % 180 == 179 else 1.0, noise=0.03)
    _, run = simulate(spikes, 200.0, 3000)
    assert run.levels.count(0) >= 0.85 * len(run.levels)


def test_frequent_bouts_of_load_are_evaded_to_keep_the_budget() -> None:
    bouts = Machine(load=lambda frame: 1.9 if frame % 80 < 40 else 1.0, noise=0.03)
    _, run = simulate(bouts, 160.0, 5000)
    assert run.misses(160.0) <= 0.008 * len(run.levels) < 5000 / 80


@pytest.mark.parametrize("budget", [200.0, 240.0, 300.0])
@pytest.mark.parametrize("factor, spread, hiccups", [(2.0, 0.2, 0.02), (2.5, 0.25, 0.03)])
def test_busy_cores_whose_frame_times_have_a_long_tail(budget, factor, spread, hiccups) -> None:
    """Load on and off every 100 frames; one frame of 200 meets it and cannot be saved."""
    generator = random.Random(round(budget))

    def load(frame: int) -> float:
        if frame // 100 % 2 == 0:
            return generator.lognormvariate(0.0, 0.03)
        hiccup = generator.uniform(1.3, 1.8) if generator.random() < hiccups else 1.0
        return factor * hiccup * generator.lognormvariate(0.0, spread)

    _, run = simulate(Machine(load=load, noise=0.02), budget, 3000)
    assert run.misses(budget) <= 0.01 * len(run.levels)


@given(noise=st.floats(0.0, 0.12), budget=st.floats(60.0, 300.0), seed=st.integers(0, 999))
@example(noise=0.09375, budget=171.0, seed=208).via("a level measured a tenth too fast")
@example(noise=0.137, budget=125.0, seed=28).via("a level that fails once in 40 frames")
@settings(max_examples=25, deadline=None)
def test_no_flapping_under_steady_noise(noise, budget, seed) -> None:
    _, run = simulate(Machine(noise=noise, seed=seed), budget, 1000)
    assert run.changes <= 16
    assert run.misses(budget) <= 0.01 * len(run.levels)


@pytest.mark.parametrize("noise", [0.08, 0.094, 0.11, 0.13])
def test_no_flapping_at_the_edge_of_a_level(noise) -> None:
    """Budgets that a level keeps for 30 to 150 frames, and a warm-up that is off as frames are."""
    for seed in range(208, 216):
        for budget in (125.0, 171.0, 184.0):
            _, run = simulate(Machine(noise=noise, seed=seed), budget, 1000)
            assert run.changes <= 16, f"{budget} ms, seed {seed}"
            assert run.misses(budget) <= 0.01 * len(run.levels), f"{budget} ms, seed {seed}"


# Traps


@pytest.mark.parametrize("hidden", [1.1, 1.15, 1.2, 1.5, 3.0])
def test_a_level_that_looks_affordable_but_is_not_is_tried_ever_more_rarely(hidden) -> None:
    """Level 0 fits the budget by its prediction, and breaks it whenever it runs."""
    trap = Machine(true_factor={0: hidden}, noise=0.03)
    _, run = simulate(trap, 180.0, 6000)
    tries = [frame for frame in range(1, len(run.levels))
             if run.levels[frame] == 0 != run.levels[frame - 1]]
    assert len(tries) <= 12, "7 until the wait is longest, then one in 1000 frames"
    assert run.misses(180.0) <= 0.003 * len(run.levels)
    assert run.changes <= 4 * len(tries) + 10


def test_the_wait_doubles_with_each_failure() -> None:
    governor = Governor(2, 100.0, probe_after=0)
    governor.warm_up(0, 70.0, 8)
    governor.warm_up(1, 40.0, 8)
    tries = []
    for frame in range(4000):
        level = governor.decide()
        if level == 0:
            tries.append(frame)
        governor.record(level, 40.0 if level else 120.0, 8)
    waits = [b - a for a, b in zip(tries, tries[1:], strict=False)]
    assert waits[0] < 35 and max(waits) > 900
    assert min(waits[1:]) > 100, "no more than one frame in a hundred is risked"
    assert all(0.9 * early <= late <= 2 * early + 100
               for early, late in zip(waits, waits[1:], strict=False))


def test_a_failure_under_load_is_forgiven_once_the_load_ended() -> None:
    trap = Machine(true_factor={0: 1.3}, load=step(0, 3000, 1.3), noise=0.02)
    _, run = simulate(trap, 240.0, 3000 + RETURN_FRAMES + 10)
    assert run.levels[2990] == 1
    assert run.levels[-1] == 0, "1.3 x 148 ms fits where 1.3 x 1.3 x 148 ms did not"
    assert run.misses(240.0) <= 20


def test_a_load_during_the_warm_up_does_not_cost_quality_for_ever() -> None:
    """Level 0 was measured twice too slow; it is probed, and kept."""
    _, run = simulate(Machine(true_factor={0: 0.5}, noise=0.03), 120.0, 1500)
    assert run.levels[900] == 1 and set(run.levels[1100:]) == {0}
    assert run.misses(120.0) == 0
    _, run = simulate(Machine(true_factor={0: 0.5}, noise=0.03), 120.0, 1500, probe_after=0)
    assert 0 not in run.levels


def test_a_probe_that_fails_costs_one_frame_and_becomes_rarer() -> None:
    _, run = simulate(Machine(), 120.0, 6000, probe_after=300)
    assert 2 <= run.misses(120.0) <= 6
    assert run.changes == 2 * run.misses(120.0)


# Vocabulary, budget, hope


def test_a_longer_vocabulary_is_met_before_its_first_frame() -> None:
    governor = Governor(len(LEVELS), 200.0)
    machine = Machine(noise=0.02)
    machine.warm_up(governor)
    run = machine.run(governor, 300, queries=lambda frame: 8 if 0 <= frame < 100 else 24)
    assert run.misses(200.0) == 0
    assert run.levels[99] == 0 < run.levels[100]
    run = machine.run(governor, 60, start=300, queries=lambda frame: 8)
    assert run.levels[-1] == 0


def test_a_new_budget_counts_from_the_next_frame() -> None:
    governor, _ = simulate(Machine(noise=0.02), 0.0, 50)
    machine = Machine(noise=0.02)
    governor.budget_ms = 70.0
    assert machine.run(governor, 300).misses(70.0) == 0
    assert governor.level == 3
    governor.budget_ms = 45.0
    assert machine.run(governor, 300).misses(45.0) <= 3
    governor.budget_ms = 200.0
    assert set(machine.run(governor, 30).levels) == {0}, "a larger one at once, too"
    governor.budget_ms = 45.0
    governor.decide()
    governor.budget_ms = 0.0
    assert governor.decide() == 0


def test_a_budget_that_no_level_keeps_is_known_at_warm_up_and_the_cheapest_level_runs() -> None:
    governor, run = simulate(Machine(noise=0.03), 20.0, 100)
    assert governor.hopeless and set(run.levels) == {CHEAPEST}
    governor.budget_ms = 100.0
    Machine(noise=0.03).run(governor, 30)
    assert not governor.hopeless


def test_hope_is_lost_to_a_lasting_load_and_not_to_a_spike() -> None:
    lost = []
    governor = Governor(len(LEVELS), 60.0)
    machine = Machine(load=lambda frame: 4.0 if frame in (0, 50) or 100 <= frame < 150 else 1.0)
    machine.warm_up(governor)
    for frame in range(200):
        machine.run(governor, 1, start=frame)
        governor.decide()
        lost.append(governor.hopeless)
    assert not any(lost[:100]) and all(lost[104:149]) and not any(lost[155:])


def test_an_odd_ladder_whose_middle_is_cheapest_works() -> None:
    levels = [LEVELS[0], LEVELS[5], LEVELS[2]]
    machine = Machine(levels=levels, load=step(50, 150, 2.0), noise=0.02)
    governor, run = simulate(machine, 180.0, 200)
    assert set(run.levels) == {0, 1} and run.misses(180.0) <= 2
    governor, run = simulate(Machine(levels=levels), 20.0, 20)
    assert set(run.levels[1:]) == {1} and governor.hopeless


def test_one_level_is_a_ladder_too() -> None:
    governor, run = simulate(Machine(levels=LEVELS[:1], noise=0.02), 100.0, 50)
    assert set(run.levels) == {0} and run.misses(100.0) == 50 and governor.hopeless


# Recorded loads


@pytest.mark.parametrize("name", sorted(TRACES["loads"]))
@pytest.mark.parametrize("budget", [60.0, 90.0, 130.0, 200.0])
def test_recorded_loads(name, budget) -> None:
    """Over the budget: where no level could keep it, and a frame or two as each load begins."""
    load = replay(name)
    machine = Machine(load=load, noise=0.03)
    frames = len(TRACES["loads"][name]["factors"])
    _, run = simulate(machine, budget, frames)
    avoidable = [frame for frame, total in enumerate(run.totals) if total > budget
                 and machine.expected(CHEAPEST, frame) <= 0.9 * budget]
    onsets = sum(load(frame) > 1.25 * load(frame - 1) for frame in range(1, frames))
    assert len(avoidable) <= 2 * onsets + 0.01 * frames
    assert longest_streak(run, budget, machine) <= 2
    assert min(run.levels) < max(run.levels), "the level goes both ways"
    assert run.changes <= 0.1 * frames


# Orders of calls


def test_a_late_frame_of_an_earlier_level_does_not_step_down_again() -> None:
    governor = Governor(3, 100.0)
    for level, total in enumerate((90.0, 45.0, 20.0)):
        governor.warm_up(level, total, 8)
    governor.budget_ms = 110.0
    assert governor.decide() == 0
    for _ in range(2):
        governor.record(0, 150.0, 8)
        assert governor.decide() == 1
    governor.record(1, 75.0, 8)
    assert governor.decide() == 1


def test_a_late_frame_whose_refinement_was_cut_off_leads_down_all_the_same() -> None:
    governor = Governor(2, 110.0)
    governor.warm_up(0, 90.0, 8, {"encode": 10.0, "pamr": 80.0})
    governor.warm_up(1, 12.0, 8, {"encode": 12.0})
    assert governor.decide() == 0
    governor.record(0, 200.0, 8, {"encode": 10.0, "pamr": 0.0})  # it waited, and had no time left
    assert governor.decide() == 1


def test_deciding_twice_about_one_frame_steps_once() -> None:
    governor, _ = simulate(Machine(), 200.0, 20)
    governor.record(0, 400.0, QUERIES, {stage: 2.5 * ms for stage, ms in LEVELS[0].items()})
    first = governor.decide()
    assert first > 0 and governor.decide() == first


@pytest.mark.parametrize(("options", "message"), [
    (dict(levels=0), "levels=0"),
    (dict(levels=2, budget_ms=-1.0), "budget of -1.0 ms"),
    (dict(levels=2, budget_ms=math.nan), "budget of nan ms"),
    (dict(levels=2, probe_after=-1), "probe_after=-1"),
])
def test_impossible_options_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Governor(**options)
