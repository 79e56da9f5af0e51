"""The plan for a thousand hours follows from what was measured."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")
from benchmarks.fleet import HOURS, RATE, on_paper  # noqa: E402


def test_days_are_those_of_the_images_and_the_engine_takes_its_share():
    alone, two, *_, hundred = on_paper(rate=1.0, begin=0.0, task=0.0)
    # 60 s of a piece, and 2 s of its run-in
    days = HOURS * 3600 * RATE * (62 / 60) / 86400
    assert alone == [1, f"{days:.1f}", "0.0000 %", f"{days / 100:.2f}"]
    assert float(two[1]) == pytest.approx(days / 2, abs=0.1)
    assert float(hundred[1]) == pytest.approx(days / 100, abs=0.1)
    # A task of 62 s a piece on one worker that labels 15 images a second is half of its time.
    assert on_paper(rate=15.0, begin=0.0, task=62.0)[0][2] == "50.0000 %"
