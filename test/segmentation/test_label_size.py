"""Labels of a chosen size are decided at that size, from the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from examples.demo.footage import render_footage
from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.decoding.decoding import decode

WORDS = ("floor", "wall", "door", "ball", "table")
SIZES = [(60, 80), (246, 322), (50, 161)]  # smaller, larger, of other proportions


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32", short_side=112, inference="whole")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return render_footage(3, 1, 123, 161).frames[0]


@pytest.mark.parametrize("size", SIZES)
def test_they_are_decided_at_that_size_from_the_scores_of_the_cameras_image(segmentor, image,
                                                                            size):
    words = segmentor.vocabulary(WORDS)
    [own] = segmentor.pipeline.predict([image], words)
    [result] = segmentor.pipeline.predict([image], words, label_sizes=[size])
    assert result.labels.shape == result.confidence.shape == size
    assert result.on_device.image.shape == (*size, 3)
    np.testing.assert_array_equal(result.scores.numpy(), own.scores.numpy())
    labels, confidence = decode(own.score_map, words.query_class, own.logit_scale, size)
    np.testing.assert_array_equal(result.labels, labels.numpy())
    np.testing.assert_allclose(result.confidence, confidence.numpy() * 255, atol=0.51)


def test_images_of_a_batch_have_sizes_of_their_own(segmentor, image):
    words = segmentor.vocabulary(WORDS)
    results = segmentor.pipeline.predict([image, image], words, label_sizes=[None, (30, 40)])
    assert [result.labels.shape for result in results] == [(123, 161), (30, 40)]


def test_refinements_follow_the_edges_of_the_picture_at_that_size(segmentor, image):
    pipeline = segmentor.prepare(segmentor.settings.with_changes(use_pamr=True, use_densecrf=True))
    [result] = pipeline.predict([image], segmentor.vocabulary(WORDS), label_sizes=[(61, 80)])
    assert result.labels.shape == (61, 80)
    assert result.iterations["densecrf"] > 0 and result.iterations["pamr"] > 0


def test_the_picture_keeps_its_grey_levels(segmentor, image):
    [picture] = segmentor.pipeline.read([image], Stopwatch(segmentor.device), [(61, 80)])
    small = picture.original.permute(1, 2, 0).numpy()
    assert small.dtype == np.uint8 and small.shape == (61, 80, 3)
    assert abs(small.mean() - image.mean()) < 1.0
