"""A result: class summaries that agree with its images, and probabilities on a small grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from sclip_seg_ros.segmentation.result import (
    DeviceView,
    SegmentationResult,
    summarise,
    unlabelled_share,
)
from sclip_seg_ros.segmentation.scores.decoding.decoding import class_probabilities
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary, validate_classes


@pytest.fixture
def vocabulary() -> Vocabulary:
    classes = validate_classes(["floor|ground", "wall", "door"])
    return Vocabulary(classes, None, 3, normalize(torch.rand(4, 8), dim=1),
                      torch.tensor([0, 0, 1, 2]), palette_of(["floor", "wall", "door"]))


def result_of(scores: torch.Tensor, vocabulary: Vocabulary) -> SegmentationResult:
    labels = np.zeros((2, 2), np.uint8)
    view = DeviceView(torch.zeros(2, 2, 3, dtype=torch.uint8), torch.from_numpy(labels))
    return SegmentationResult(labels, labels, np.zeros(3), np.zeros(3), view, ScoreMap.of(scores),
                              vocabulary, 40.0, {"decode": 1.0})


def test_a_vocabulary_tells_its_names_and_size(vocabulary):
    assert vocabulary.names == ("floor", "wall", "door")
    assert len(vocabulary) == 3


@pytest.mark.parametrize(("coverage", "share"), [
    ([0.25, 0.5], 0.25), ([0.0, 0.0], 1.0), ([0.1] * 10, 0.0), ([1 / 3, 2 / 3], 0.0)])
def test_what_no_class_covers_is_unlabelled_and_never_less_than_nothing(coverage, share):
    left = unlabelled_share(np.array(coverage, np.float32))
    assert left == pytest.approx(share, abs=1e-6) and left >= 0.0


def test_nothing_unlabelled_is_nothing_and_one_pixel_is_one():
    """Whoever asks for more than 0 must not be told of rounding."""
    rng = np.random.default_rng(0)
    for height, width, classes in ((480, 640, 20), (1080, 1920, 254), (2160, 3840, 7)):
        labels = rng.integers(0, classes, (height, width)).astype(np.uint8)
        for unlabelled in (0, 1):
            labels[0, :unlabelled] = 255
            coverage, _ = summarise(labels, labels, classes)
            share = unlabelled_share(coverage)
            assert share == 0 if not unlabelled else share > 0, (height, width)


def test_a_summary_counts_and_averages_each_class():
    labels = np.array([[0, 0, 2, 255], [2, 2, 2, 255]], np.uint8)
    confidence = np.array([[255, 51, 0, 9], [102, 102, 204, 9]], np.uint8)
    coverage, mean = summarise(labels, confidence, 4)
    assert coverage == pytest.approx([2 / 8, 0, 4 / 8, 0])
    assert mean == pytest.approx([0.6, 0, 0.4, 0], abs=1e-7)
    assert (coverage.dtype, mean.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("classes", [1, 7, 254])
def test_a_summary_equals_counting_by_hand(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes + 1, (48, 64)).astype(np.uint8)
    labels[labels == classes] = 255
    confidence = rng.integers(0, 256, (48, 64)).astype(np.uint8)
    coverage, mean = summarise(labels, confidence, classes)
    for index in range(classes):
        mask = labels == index
        assert coverage[index] == pytest.approx(mask.mean())
        assert mean[index] == pytest.approx(confidence[mask].mean() / 255 if mask.any() else 0)


def test_a_summary_of_nothing_but_unlabelled_is_zero():
    coverage, mean = summarise(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8), 3)
    assert not coverage.any()
    assert not mean.any()


def test_the_probability_grid_is_an_eighth_of_the_working_size(vocabulary):
    grid = result_of(torch.rand(4, 50, 64), vocabulary).class_probabilities()
    assert (grid.shape, grid.dtype) == ((3, 6, 8), np.float32)
    assert grid.min() >= 0
    assert grid.sum(axis=0).max() <= 1 + 1e-6


def test_even_the_smallest_image_has_a_probability(vocabulary):
    assert result_of(torch.rand(4, 5, 3), vocabulary).class_probabilities().shape == (3, 1, 1)


def test_the_grid_s_size_can_be_asked_for(vocabulary):
    result = result_of(torch.rand(4, 16, 24), vocabulary)
    assert result.class_probabilities(5, 7).shape == (3, 5, 7)
    assert result.class_probabilities(height=5).shape == (3, 5, 3)
    expected = class_probabilities(result.scores, vocabulary.query_class, 40.0).numpy()
    assert np.allclose(result.class_probabilities(16, 24), expected, atol=1e-6)


def test_a_cell_of_the_grid_speaks_for_all_its_pixels(vocabulary):
    """A thin line between two cells' centres is averaged in, not stepped over."""
    scores = torch.zeros(4, 64, 64)
    scores[2, :, 24:26] = 0.2
    grid = result_of(scores, vocabulary).class_probabilities()
    assert grid[1, :, 3].min() > grid[1, :, 0].max() * 1.2


def test_a_result_equals_itself_alone_and_can_be_a_key(vocabulary):
    results = [result_of(torch.rand(4, 3, 5), vocabulary) for _ in range(2)]
    assert results[0] == results[0] != results[1]
    assert len({results[0]: 1, results[1]: 2}) == len({*map(id, results)}) == 2
