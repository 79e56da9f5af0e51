"""Labels decided on a coarser grid: as there, and every pixel of the image has one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.demo.footage import render_footage
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.decoding.decoding import repeat_pixels

WORDS = ("floor", "wall", "door", "ball", "table")


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32", short_side=112, inference="whole")


@pytest.fixture
def labelled(segmentor):
    """Return a function that labels a rendered room of odd size at a decode resolution."""
    image = render_footage(3, 1, 123, 161).frames[0]
    base = segmentor.settings

    def label(resolution: float, **changes):
        segmentor.settings = base.with_changes(decode_resolution=resolution, **changes)
        return segmentor.predict_dense(image, WORDS)

    yield label
    segmentor.settings = base


@pytest.mark.parametrize("resolution", [0.5, 0.25, 0.05])
def test_labels_of_a_coarser_grid_cover_the_image_in_squares(labelled, resolution):
    fine, coarse = labelled(1.0), labelled(resolution)
    assert coarse.labels.shape == coarse.confidence.shape == fine.labels.shape == (123, 161)
    side = round(1 / resolution)
    agreement = np.mean(fine.labels == coarse.labels)
    assert agreement > 1 - 0.015 * side, "only along the borders of classes"
    changes = (np.diff(coarse.labels.astype(int), axis=1) != 0).any(axis=0)
    assert changes.sum() <= round(161 * resolution), "labels change between squares alone"


def test_the_crf_decides_at_its_own_resolution(labelled):
    options = {"use_densecrf": True, "crf__iterations": 1}
    np.testing.assert_array_equal(labelled(1.0, **options).labels,
                                  labelled(0.25, **options).labels)


@pytest.mark.parametrize("small, large", [(61, 123), (5, 9), (1, 3), (135, 1080), (37, 100)])
def test_every_pixel_repeats_the_nearest_of_the_coarse_grid(small, large):
    cells = torch.arange(small, dtype=torch.uint8)
    centres = (torch.arange(large) + 0.5) * small / large
    for repeated in (repeat_pixels(cells[:, None].repeat(1, 2), (large, 4))[:, 0],
                     repeat_pixels(cells[None].repeat(2, 1), (4, large))[0]):
        assert (centres - (repeated + 0.5)).abs().max() <= 0.5 + 1e-6
