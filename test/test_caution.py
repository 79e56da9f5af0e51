"""Frames over the budget ask for more room, and only as long as they are too frequent."""

from __future__ import annotations

import random

import pytest

from sclip_seg_ros.latency.caution import MOST, SHARE, Caution


def test_the_first_frame_over_the_budget_costs_nothing() -> None:
    caution = Caution()
    caution.frame(True)
    assert caution.factor == 1.0 and not caution.asked
    caution.frame(True)
    assert caution.factor > 1.5 and caution.asked


def test_debt_is_paid_back_frame_by_frame() -> None:
    caution = Caution()
    caution.frame(True)
    caution.frame(True)
    paid = 0
    while caution.factor > 1.0:
        caution.frame(False)
        paid += 1
    assert paid == pytest.approx(1 / SHARE, rel=0.05)


def test_it_never_asks_for_more_than_there_is_use_for_and_forgives_soon() -> None:
    caution = Caution()
    for _ in range(1000):
        caution.frame(True)
    assert caution.factor == MOST
    for _ in range(round(3 / SHARE)):
        caution.frame(False)
    assert caution.factor == 1.0
    caution.frame(True)
    caution.frame(True)
    caution.forget()
    assert caution.factor == 1.0


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_in_the_long_run_the_share_of_frames_over_is_the_allowed_one(spread) -> None:
    generator, caution, over = random.Random(1), Caution(), 0
    for _ in range(40_000):
        late = generator.lognormvariate(0.0, spread) * 0.95 / caution.factor > 1.0
        caution.frame(late)
        over += late
    assert SHARE - 0.001 < over / 40_000 < 0.008
