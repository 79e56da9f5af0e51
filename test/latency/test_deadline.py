"""A refinement stops at the iteration that still ends in time."""

from __future__ import annotations

import pytest

from sclip_seg_ros.latency.deadline import Deadline


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(deadline: Deadline, clock: Clock, seconds: float, wanted: int) -> int:
    """Iterate as a refinement does; return how many iterations ran."""
    for done in range(wanted):
        if not deadline(done):
            return done
        clock.now += seconds
    return wanted


@pytest.mark.parametrize("room, expected", [(1.0, 10), (0.501, 5), (0.54, 5), (0.0, 1), (-1.0, 0)])
def test_as_many_iterations_run_as_fit(room, expected):
    clock = Clock()
    # Without experience the first iteration may begin as long as any time is left.
    assert run(Deadline(clock.now + room, clock), clock, 0.1, 10) == expected


def test_what_prepares_a_refinement_is_not_taken_for_an_iteration():
    clock = Clock()
    deadline = Deadline(clock.now + 1.0, clock)
    assert run(deadline, clock, 0.01, 5) == 5  # one refinement, then another with a preparation
    assert deadline(0)
    clock.now += 0.5 + 0.02
    assert run(deadline, clock, 0.02, 10) == 10


def test_after_a_no_nothing_begins_any_more_however_short_it_may_be():
    clock = Clock()
    deadline = Deadline(clock.now + 1.0, clock)
    assert run(deadline, clock, 0.4, 10) == 2
    for _ in range(3):  # other refinements, with next to nothing between them
        clock.now += 0.001
        assert not deadline(0)
    assert deadline.iteration_seconds == pytest.approx(0.4)


def test_the_time_between_two_refinements_is_no_iteration():
    clock = Clock()
    deadline = Deadline(clock.now + 1.0, clock)
    for _ in range(3):
        assert run(deadline, clock, 0.2, 1) == 1
        clock.now += 0.1
    assert deadline.iteration_seconds == 0.0
    assert run(deadline, clock, 0.03, 2) == 2
    assert deadline.iteration_seconds == pytest.approx(0.03)


def test_the_length_of_an_iteration_is_known_from_the_second_question_on():
    clock = Clock()
    deadline = Deadline(clock.now + 1.0, clock)
    assert deadline.iteration_seconds == 0.0
    run(deadline, clock, 0.03, 4)
    assert deadline.iteration_seconds == pytest.approx(0.03)
