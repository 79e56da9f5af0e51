"""Scores of the benchmark against closed forms and against the meter by name."""

from __future__ import annotations

import numpy as np
import pytest

from sclip_seg_ros.tools.benchmark.boundary import Boundaries, boundary_counts
from sclip_seg_ros.tools.figures.metrics import Confusion, IouMeter, confusion_table

NAMES = ["left", "right"]
HEIGHT, WIDTH = 300, 400  # diagonal 500: contours fit within 4 pixels, bands are 10 wide
TOLERANCE, BAND = 4, 10
SPLIT = 150


def halves(split: int = SPLIT) -> np.ndarray:
    """Return ids of two halves, class 1 from column `split` on."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[:, split:] = 1
    return ids


def confusion_of(labels: np.ndarray, truth: np.ndarray, names: list[str]) -> Confusion:
    confusion = Confusion()
    confusion.add(confusion_table(labels, truth, len(names)), names)
    return confusion


def boundaries_of(labels: np.ndarray, truth: np.ndarray, names: list[str]) -> Boundaries:
    boundaries = Boundaries()
    boundaries.add(boundary_counts(labels, truth, len(names)), names)
    return boundaries


def test_perfect_labels_score_one_everywhere() -> None:
    confusion, boundaries = (score(halves(), halves(), NAMES)
                             for score in (confusion_of, boundaries_of))
    full = {"left": 1.0, "right": 1.0}
    assert confusion.iou() == confusion.accuracy() == full
    assert confusion.pixel_accuracy() == confusion.frequency_weighted_iou() == 1.0
    assert boundaries.f1() == boundaries.iou() == full


def test_swapped_labels_score_zero() -> None:
    confusion = confusion_of(1 - halves(), halves(), NAMES)
    assert confusion.iou() == confusion.accuracy() == {"left": 0.0, "right": 0.0}
    assert confusion.pixel_accuracy() == confusion.frequency_weighted_iou() == 0.0
    # The contour of the other class lies right beside: only the bands tell the two apart.
    assert boundaries_of(1 - halves(), halves(), NAMES).iou() == {"left": 0.0, "right": 0.0}


def test_one_class_everywhere_has_no_contour() -> None:
    boundaries = boundaries_of(np.zeros((HEIGHT, WIDTH), np.uint8), halves(), NAMES)
    assert boundaries.f1() == {"left": 0.0, "right": 0.0}


def test_scores_of_a_table_counted_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1, 1, 2]], np.uint8)
    labels = np.array([[0, 0, 1, 1, 2, 255]], np.uint8)
    table = confusion_table(labels, truth, 3)
    np.testing.assert_array_equal(table, [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    confusion = confusion_of(labels, truth, ["a", "b", "c"])
    assert confusion.iou() == {"a": 2 / 3, "b": 1 / 3, "c": 0.0}
    assert confusion.accuracy() == {"a": 2 / 3, "b": 1 / 2, "c": 0.0}
    assert confusion.pixel_accuracy() == 3 / 6
    assert confusion.frequency_weighted_iou() == pytest.approx((3 * 2 / 3 + 2 * 1 / 3) / 6)


def test_class_without_truth_lowers_others_but_is_not_averaged() -> None:
    truth = np.zeros((1, 4), np.uint8)
    confusion = confusion_of(np.array([[0, 0, 1, 1]], np.uint8), truth, NAMES)
    assert confusion.iou() == {"left": 0.5}


@pytest.mark.parametrize("shift", [1, TOLERANCE, TOLERANCE + 1, 30])
def test_shifted_boundary(shift: int) -> None:
    labels, truth = halves(SPLIT + shift), halves()
    iou = confusion_of(labels, truth, NAMES).iou()
    assert iou["left"] == pytest.approx(SPLIT / (SPLIT + shift))
    assert iou["right"] == pytest.approx((WIDTH - SPLIT - shift) / (WIDTH - SPLIT))
    fits = float(shift <= TOLERANCE)
    assert boundaries_of(labels, truth, NAMES).f1() == {"left": fits, "right": fits}


@pytest.mark.parametrize("shift", [0, 3, BAND - 1])
def test_boundary_iou_of_a_shifted_rectangle(shift: int) -> None:
    def band(columns: int) -> int:
        return HEIGHT * columns - (HEIGHT - 2 * BAND) * (columns - 2 * BAND)

    both = HEIGHT * SPLIT - (HEIGHT - 2 * BAND) * (SPLIT + shift - 2 * BAND)
    expected = both / (band(SPLIT) + band(SPLIT + shift) - both)
    scores = boundaries_of(halves(SPLIT + shift), halves(), NAMES).iou()
    assert scores["left"] == pytest.approx(expected)


def test_half_a_contour_too_many_costs_precision_alone() -> None:
    truth, labels = np.zeros((2, 100, 100), np.uint8)
    truth[20:30, 20:30] = labels[20:30, 20:30] = 1
    labels[60:70, 60:70] = 1
    assert boundaries_of(labels, truth, NAMES).f1()["right"] == pytest.approx(2 * 0.5 / 1.5)


def test_ignored_pixels_change_nothing() -> None:
    rng = np.random.default_rng(3)
    truth = halves()
    truth[:, 140:160] = truth[100:150] = 255
    clean = np.where(truth == 255, 0, halves(SPLIT + 2)).astype(np.uint8)
    noisy = np.where(truth == 255, rng.integers(0, 2, truth.shape), clean).astype(np.uint8)
    for count in (confusion_table, boundary_counts):
        np.testing.assert_array_equal(count(clean, truth, 2), count(noisy, truth, 2))
    assert confusion_of(noisy, truth, NAMES).pixel_accuracy() == 1.0
    assert boundaries_of(noisy, truth, NAMES).f1() == {"left": 1.0, "right": 1.0}


def test_only_ignored_pixels_leave_nothing_to_score() -> None:
    truth = np.full((4, 4), 255, np.uint8)
    confusion = confusion_of(np.zeros_like(truth), truth, NAMES)
    assert confusion.iou() == {} and confusion.pixel_accuracy() is None
    assert boundaries_of(np.zeros_like(truth), truth, NAMES).iou() == {}


def test_unlabelled_pixels_are_wrong_and_of_no_class() -> None:
    labels = halves()
    labels[: HEIGHT // 2] = 255
    confusion = confusion_of(labels, halves(), NAMES)
    assert confusion.iou() == confusion.accuracy() == {"left": 0.5, "right": 0.5}
    assert set(confusion.true_pixels()) == set(NAMES)


def test_the_meter_tells_gathered_classes_and_single_images_apart() -> None:
    meter = IouMeter()
    labels, truth = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 1]]], np.uint8)
    meter.add(labels, truth, ["cup", "mug"])
    meter.add(np.array([[0, 9]], np.uint8), np.array([[0, 0]], np.uint8), ["mug"])
    assert meter.by_class() == {"cup": pytest.approx(2 / 3), "mug": pytest.approx(2 / 4)}
    assert meter.mean_by_image() == pytest.approx(((2 / 3 + 1 / 2) / 2 + 1 / 2) / 2)


def test_gathering_images_equals_one_large_image() -> None:
    rng = np.random.default_rng(1)
    labels, truth = rng.integers(0, 2, (2, 8, 10, 10)).astype(np.uint8)
    gathered = Confusion()
    for pair in zip(labels, truth, strict=True):
        gathered.add(confusion_table(*pair, 2), NAMES)
    whole = confusion_of(labels.reshape(80, 10), truth.reshape(80, 10), NAMES)
    assert gathered.iou() == whole.iou()


@pytest.mark.parametrize(("labels", "truth", "message"), [
    (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "cannot be compared"),
    (np.zeros((2, 2), np.uint8), np.full((2, 2), 2, np.uint8), "truth holds id 2"),
])
def test_unusable_pairs_are_refused(labels: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_table(labels, truth, 2)
