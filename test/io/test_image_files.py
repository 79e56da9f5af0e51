"""Image files are found and read alike by all programs; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.demo.footage import read_footage
from sclip_seg_ros.io.images import SUFFIXES, ImageFileError, find_images, images_below, read_image
from sclip_seg_ros.tools.segment.inputs import find_inputs

PIXELS = np.zeros((6, 8, 3), np.uint8)
PIXELS[:, 4:] = (200, 100, 0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Lay out a folder with pictures of several formats, one below, and something else."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("b.png", "a.TIF", "c.ppm", "below/d.bmp"):
        Image.fromarray(PIXELS).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_images_are_found_once_in_the_order_of_the_names(photos: Path) -> None:
    every = [photos / name for name in ("a.TIF", "b.png", "below/d.bmp", "c.ppm")]
    assert find_images([photos]) == every == images_below(photos)
    assert find_images([str(photos / "c.ppm"), photos]) == [every[3], *every[:3]]
    assert find_images([str(photos / "**/*.*")]) == every


def test_what_sclip_segment_takes_all_programs_take(photos: Path, tmp_path: Path) -> None:
    taken = [entry.path for entry in find_inputs([str(photos)], tmp_path / "out")]
    assert find_images([photos]) == taken
    assert read_footage(photos, 3).frames.shape == (3, *PIXELS.shape)


@pytest.mark.parametrize("name", ["a.TIF", "b.png", "c.ppm", "below/d.bmp"])
def test_pixels_are_rgb_whatever_the_format(name: str, photos: Path) -> None:
    np.testing.assert_array_equal(read_image(photos / name), PIXELS)


def test_an_orientation_tag_turns_the_image_unless_told_otherwise(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(PIXELS).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    assert read_image(tmp_path / "phone.jpg").shape == (8, 6, 3)
    assert read_image(tmp_path / "phone.jpg", upright=False).shape == (6, 8, 3)


@pytest.mark.parametrize(("name", "problem"), [
    ("absent.png", "'.*absent.png' does not exist"), ("notes.txt", "'.*notes.txt' is not an image"),
    ("*.jpg", "matches no image"), ("empty", "is a folder without images")])
def test_names_without_images_are_refused_with_what_would_do(name: str, problem: str,
                                                             photos: Path) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(ImageFileError, match=problem) as refusal:
        find_images([photos / name])
    assert all(suffix in str(refusal.value) for suffix in SUFFIXES)


def test_what_cannot_be_read_is_named_with_the_remedy(photos: Path) -> None:
    whole = (photos / "b.png").read_bytes()
    for content in (whole[:-20], b"rubbish", b""):
        (photos / "b.png").write_bytes(content)
        with pytest.raises(ImageFileError, match="b.png' cannot be read .*; copy it again"):
            read_image(photos / "b.png")
    for name in ("absent.png", "below"):
        with pytest.raises(ImageFileError, match=f"{name}' cannot be read .*; check its path"):
            read_image(photos / name)


def test_broken_footage_is_named_rather_than_left_out(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"rubbish")
    with pytest.raises(ImageFileError, match="broken.png' cannot be read"):
        read_footage(photos, 3)
