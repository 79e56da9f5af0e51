"""From camera pixels to the tower's input: refusals, sizes, resampling, normalisation."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sclip_seg_ros.segmentation.backbones.preprocessing import normalise, resize, to_tensor

CPU = torch.device("cpu")


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_picture(height: int, width: int) -> np.ndarray:
    return cv2.resize(picture(9, 12), (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("view", [
    lambda image: image,
    lambda image: image[:, :, ::-1],
    lambda image: image[::2, 5:50:3],
    lambda image: np.asfortranarray(image),
    lambda image: np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
    torch.from_numpy,
], ids=["plain", "BGR view", "strided", "Fortran", "read-only", "torch"])
def test_any_view_of_an_image_is_read(view):
    image = view(picture())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = to_tensor(image, CPU)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize(("image", "message"), [
    (picture()[:, :, 0], r"has shape \(40, 60\); give an RGB image"),
    (np.zeros((40, 60, 4), np.uint8), r"has shape \(40, 60, 4\); give an RGB image"),
    (np.zeros((3, 40, 60), np.uint8), r"has shape \(3, 40, 60\); give an RGB image"),
    (torch.zeros(1, 40, 60, 3, dtype=torch.uint8), r"has shape \(1, 40, 60, 3\)"),
    (picture() / 255, "dtype float64; give uint8 values 0..255"),
    (picture().astype(np.uint16), "dtype uint16; give uint8"),
    (picture().astype(object), "dtype object; give uint8"),
    (torch.rand(40, 60, 3), "dtype float32; give uint8"),
    (np.zeros((0, 60, 3), np.uint8), "of 60x0 pixels is empty; give at least one"),
    (picture().tolist(), "is of type list; give a NumPy array"),
    (None, "is of type NoneType; give a NumPy array"),
])
def test_what_is_no_rgb_image_is_refused(image, message):
    with pytest.raises(ValueError, match=f"image .*{message}"):
        to_tensor(image, CPU)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_pil_image_is_converted(mode):
    image = Image.fromarray(picture()).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(to_tensor(image, CPU).permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_deep_pil_image_is_refused(mode):
    with pytest.raises(ValueError, match=f"PIL mode {mode}; bring its values to 0..255"):
        to_tensor(Image.new(mode, (60, 40), 1000), CPU)


@pytest.mark.parametrize("antialias", [True, False])
def test_the_same_size_is_only_rescaled(antialias):
    image = to_tensor(picture(), CPU)
    assert torch.equal(resize(image, (40, 60), antialias), image.float() / 255)


def test_without_antialiasing_it_is_opencvs_bilinear():
    """The papers' code resizes with mmcv, which is OpenCV."""
    image = smooth_picture(96, 128)
    ours = resize(to_tensor(image, CPU), (50, 70), antialias=False)
    theirs = cv2.resize(image, (70, 50), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours.permute(1, 2, 0).numpy() * 255 - theirs).max() <= 1


def test_antialiasing_averages_what_it_leaves_out():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    grey = resize(to_tensor(stripes, CPU), (16, 16), antialias=True)
    # At the border the filter is cut off, between two stripes.
    assert (grey[..., 1:-1] - 0.5).abs().max() < 0.02
    assert (resize(to_tensor(stripes[:, :63], CPU), (16, 16), antialias=False) - 0.5).abs().max() \
        > 0.2


def test_antialiased_pixels_are_within_a_grey_level_of_exact_arithmetic():
    image = to_tensor(picture(97, 131), CPU)
    exact = torch.nn.functional.interpolate(image[None].double(), size=(33, 57), mode="bilinear",
                                            align_corners=False, antialias=True)[0] / 255
    ours = resize(image, (33, 57))
    assert ours.dtype == torch.float32
    assert ours.min() >= 0 and ours.max() <= 1
    assert (ours - exact).abs().max() * 255 <= 1.0


def test_normalised_pixels_have_the_statistics_taken_out():
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    pixels = torch.tensor([mean, tuple(m + s for m, s in zip(mean, std, strict=True))])
    result = normalise(pixels[:, :, None, None].expand(2, 3, 5, 7), mean, std)
    assert torch.allclose(result[0], torch.zeros(3, 5, 7), atol=1e-6)
    assert torch.allclose(result[1], torch.ones(3, 5, 7), atol=1e-6)
