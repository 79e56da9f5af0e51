"""Intersection over union: hand-counted images, and what must not count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sclip_seg_ros.tools.figures.metrics import IouMeter


def image(*rows: str) -> np.ndarray:
    """Read rows of digits as labels; a dot is 255."""
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


def metered(*images) -> IouMeter:
    meter = IouMeter()
    for labels, truth, names in images:
        meter.add(labels, truth, names)
    return meter


def test_a_hand_counted_image():
    meter = metered((image("0011", "0222"), image("0001", "0022"), ["a", "b", "c"]))
    assert meter.by_class() == pytest.approx({"a": 3 / 5, "b": 1 / 2, "c": 2 / 3})
    assert meter.mean() == pytest.approx((3 / 5 + 1 / 2 + 2 / 3) / 3)


def test_the_truth_itself_is_perfect():
    truth = image("0012", "2.10")
    assert metered((truth, truth, ["a", "b", "c"])).mean() == 1


def test_ignored_pixels_count_nowhere():
    with_hole = metered((image("0011"), image("00.1"), ["a", "b"]))
    without = metered((image("001"), image("001"), ["a", "b"]))
    assert with_hole.by_class() == without.by_class() == {"a": 1, "b": 1}


def test_an_unlabelled_pixel_is_a_miss_and_no_false_alarm():
    assert metered((image("0.11"), image("0011"), ["a", "b"])).by_class() == {"a": 0.5, "b": 1}


def test_a_label_beyond_the_names_is_no_class():
    assert metered((image("0911"), image("0011"), ["a", "b"])).by_class() == {"a": 0.5, "b": 1}


def test_a_class_that_is_in_no_truth_has_no_iou():
    meter = metered((image("0112"), image("0011"), ["a", "b", "c"]))
    assert meter.by_class() == pytest.approx({"a": 1 / 2, "b": 1 / 3})
    assert meter.mean() == pytest.approx(5 / 12)


def test_false_alarms_count_in_images_without_the_class():
    meter = metered((image("1111"), image("1111"), ["a", "b"]),
                    (image("0001"), image("0000"), ["a", "b"]))
    assert meter.by_class() == pytest.approx({"a": 3 / 4, "b": 4 / 5})


def test_classes_are_known_by_name_across_vocabularies():
    meter = metered((image("01"), image("00"), ["dog", "cat"]),
                    (image("01"), image("01"), ["sky", "dog"]))
    assert meter.by_class() == pytest.approx({"dog": 2 / 3, "sky": 1})


def test_the_mean_over_some_classes_or_over_images():
    meter = metered((image("0011", "0222"), image("0001", "0022"), ["a", "b", "c"]),
                    (image("00"), image("00"), ["a", "b"]))
    assert meter.mean({"b", "c", "unheard of"}) == pytest.approx((1 / 2 + 2 / 3) / 2)
    first = (3 / 5 + 1 / 2 + 2 / 3) / 3
    assert meter.mean_by_image() == pytest.approx((first + 1) / 2)
    assert meter.mean_by_image({"b"}) == pytest.approx(1 / 2)


def test_nothing_to_average_is_not_a_number():
    meter = metered((image("00"), image(".."), ["a"]))
    assert math.isnan(IouMeter().mean())
    assert math.isnan(meter.mean())
    assert math.isnan(meter.mean_by_image())
    assert math.isnan(meter.mean({"b"}))


def test_254_classes_fit():
    truth = np.arange(254, dtype=np.uint8).reshape(2, 127)
    names = [str(index) for index in range(254)]
    assert metered((truth, truth, names)).mean() == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\) cannot be compared .*\(1, 3\); resize"):
        metered((image("00"), image("000"), ["a"]))
    with pytest.raises(ValueError, match="truth holds id 7, but there are 2 names; name it, or"):
        metered((image("00"), image("07"), ["a", "b"]))
