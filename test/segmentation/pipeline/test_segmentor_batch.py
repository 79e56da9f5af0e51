"""Several cameras at once: one forward, each image brought to the device once, the same labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sclip_research.scenes import render, sample_scene

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import pipeline
from sclip_seg_ros.segmentation.text import encoder as text

WORDS = ["red ball", "floor", "wall", "blue chair", "table"]
SIZES = ((96, 128), (96, 128), (128, 96))


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32", inference="slide", short_side=64, crop=48, stride=32)


@pytest.fixture(scope="module")
def words(segmentor):
    return segmentor.vocabulary(WORDS)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [render(sample_scene(np.random.default_rng(seed)), *size).image
            for seed, size in enumerate(SIZES)]


def test_cameras_together_get_the_labels_they_get_one_by_one(segmentor, words, pictures):
    together = segmentor.predict_batch(pictures, words)
    for picture, result in zip(pictures, together, strict=True):
        alone = segmentor.predict_dense(picture, words)
        assert torch.allclose(result.scores, alone.scores, atol=1e-5)
        assert np.mean(result.labels == alone.labels) > 0.999
        assert result.labels.shape == picture.shape[:2]


def test_in_one_forward_every_pixel_of_the_image_counts(words):
    """224 x 299 pixels are 14 x 18.7 patches: the last ones must not be left out."""
    segmentor = SCLIPSegmentor(precision="fp32", inference="whole", short_side=224)
    picture = render(sample_scene(np.random.default_rng(0)), 480, 640).image
    changed = picture.copy()
    changed[:, -16:] = 255 - changed[:, -16:]
    plain, other = (segmentor.predict_dense(image, words).scores for image in (picture, changed))
    assert plain.shape[1:] == segmentor.working_size(480, 640) == (224, 304)
    assert (plain - other)[:, :, -8:].abs().max() > 0.01


def test_a_window_without_whole_patches_is_the_next_smaller_one(words, pictures):
    """Otherwise a window's cells would be stretched over pixels that the tower never saw."""
    scores = [SCLIPSegmentor(precision="fp32", inference="slide", short_side=64, crop=crop,
                             stride=stride)
              .predict_dense(pictures[0], words).scores for crop, stride in ((48, 48), (60, 60))]
    assert torch.equal(*scores)



def test_all_windows_of_all_cameras_go_through_the_tower_at_once(segmentor, words, pictures,
                                                                 monkeypatch):
    batches = []
    real = segmentor.backbone.penultimate

    def spy(images, *arguments):
        batches.append(len(images))
        return real(images, *arguments)

    monkeypatch.setattr(segmentor.backbone, "penultimate", spy)
    for picture in pictures:
        segmentor.predict_dense(picture, words)
    one_by_one = sum(batches)
    batches.clear()
    segmentor.predict_batch(pictures, words)
    assert batches == [one_by_one]


def test_each_image_is_brought_to_the_device_once_as_bytes(segmentor, words, pictures,
                                                           monkeypatch):
    brought = []
    real = pipeline.to_tensor

    def spy(image, device):
        brought.append(real(image, device))
        return brought[-1]

    monkeypatch.setattr(pipeline, "to_tensor", spy)
    segmentor.predict_batch(pictures, words)
    assert [tuple(tensor.shape[1:]) for tensor in brought] == list(SIZES)
    assert {tensor.dtype for tensor in brought} == {torch.uint8}


def test_words_are_not_encoded_again_with_an_image(segmentor, words, pictures, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the text tower ran in the way of a frame")

    monkeypatch.setattr(text, "encode_prompts", refuse)
    assert segmentor.predict_dense(pictures[0], words).labels.shape == SIZES[0]
    with pytest.raises(AssertionError, match="the text tower ran"):
        segmentor.vocabulary(["rug"])
