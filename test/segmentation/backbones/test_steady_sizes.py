"""Sizes are news once, when they keep coming; a publisher of ever new sizes is no news at all."""

from __future__ import annotations

from sclip_seg_ros.segmentation.backbones.steady_sizes import MOST, TIMES, SteadySizes

VGA, HD = (480, 640), (720, 1280)


def test_sizes_are_news_once_when_they_came_often_enough() -> None:
    sizes = SteadySizes()
    assert [sizes.news([VGA]) for _ in range(TIMES + 2)] == [False] * (TIMES - 1) + [True] + [
        False] * 2


def test_cameras_may_come_in_any_order() -> None:
    sizes = SteadySizes()
    batches = [[VGA, HD], [HD, VGA]] * TIMES
    assert sum(sizes.news(batch) for batch in batches) == 1


def test_changing_sizes_are_no_habit() -> None:
    sizes = SteadySizes()
    assert not any(sizes.news([(100 + index % 2, 200)]) for index in range(100))


def test_there_is_an_end_to_habits() -> None:
    sizes = SteadySizes()
    found = sum(sizes.news([(100 + index // TIMES, 200)]) for index in range(100 * TIMES))
    assert found == MOST
