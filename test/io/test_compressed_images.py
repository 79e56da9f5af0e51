"""What `format` of a compressed image says is honoured: depth, Bayer patterns, order of colours."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.io.compression import CompressedFormat
from sclip_seg_ros.io.encodings import DepthError, ImageError
from sclip_seg_ros.ros.images import to_rgb

Y, X = np.mgrid[0:32, 0:48]
SCENE = np.stack([40 + 4 * X, 220 - 5 * Y, 60 + 2 * (X + Y)], axis=-1).astype(np.uint8)


def message(pixels: np.ndarray, form: str, suffix: str = ".png") -> CompressedImage:
    """Compress an array as it is, as image_transport does."""
    data = cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, 100] if suffix == ".jpg"
                        else [])[1]
    return CompressedImage(format=form, data=array.array("B", data.tobytes()))


def mosaic_of(pattern: str) -> np.ndarray:
    """Return the scene as a sensor behind a colour filter sees it."""
    mosaic = np.empty(SCENE.shape[:2], np.uint8)
    for index, letter in enumerate(pattern):
        places = np.s_[index // 2::2, index % 2::2]
        mosaic[places] = SCENE[places][..., "rgb".index(letter)]
    return mosaic


@pytest.mark.parametrize("text, encoding, codec, order", [
    ("rgb8; jpeg compressed bgr8", "rgb8", "jpeg", "bgr8"),
    ("16UC1; png compressed ", "16UC1", "png", ""),
    ("32FC1; compressedDepth png", "32FC1", "compressedDepth", ""),
    ("bayer_rggb8;jpeg compressed", "bayer_rggb8", "jpeg", ""),
    ("jpeg", "", "jpeg", ""), ("bgr8", "bgr8", "", ""), ("16UC1", "16UC1", "", ""),
    ("mono8; png", "mono8", "png", ""), ("", "", "", ""), (";", "", "", ""),
    ("RGB8; JPEG Compressed BGR8", "rgb8", "JPEG", "bgr8"), ("8uc1; png", "8UC1", "png", ""),
    (" bgr8 ; compresseddepth PNG", "bgr8", "compressedDepth", "")])
def test_a_format_is_taken_apart(text, encoding, codec, order):
    assert CompressedFormat.parse(text) == CompressedFormat(encoding, codec, order)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_is_the_scene_as_of_the_raw_one(pattern, suffix):
    mosaic = mosaic_of(pattern)
    result = to_rgb(message(mosaic, f"bayer_{pattern}8; {suffix[1:]} compressed ", suffix))
    raw = Image(height=32, width=48, step=48, encoding=f"bayer_{pattern}8",
                data=array.array("B", mosaic.tobytes()))
    assert np.abs(result.astype(int) - to_rgb(raw)).max() <= (0 if suffix == ".png" else 12)
    assert np.abs(result[2:-2, 2:-2].astype(int) - SCENE[2:-2, 2:-2]).mean() < 4


def test_a_mosaic_of_16_bits_and_one_that_was_made_colours_before():
    mosaic = mosaic_of("rggb")
    expected = to_rgb(message(mosaic, "bayer_rggb8; png compressed "))
    deep = message(mosaic.astype(np.uint16) << 8, "bayer_rggb16; png compressed ")
    np.testing.assert_array_equal(to_rgb(deep), expected)
    coloured = message(SCENE[..., ::-1], "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(to_rgb(coloured), SCENE)
    with pytest.raises(ImageError, match="'bayer_rgbw8' is unknown; publish one of rgb8"):
        to_rgb(message(mosaic, "bayer_rgbw8; png compressed "))


@pytest.mark.parametrize("form, stored", [
    ("rgb8; png compressed bgr8", "bgr"), ("bgr8; png compressed bgr8", "bgr"),
    ("bgra8; png compressed bgr8", "bgr"), ("png", "bgr"), ("rgb8; png compressed ", "bgr"),
    ("rgb8; png compressed rgb8", "rgb"), ("bgr8; png compressed rgb8", "rgb"),
    ("RGB8; PNG compressed RGB8", "rgb"), ("RGB8; PNG compressed BGR8", "bgr")])
def test_the_order_of_the_colours_is_honoured(form, stored):
    pixels = SCENE[..., ::-1] if stored == "bgr" else SCENE
    np.testing.assert_array_equal(to_rgb(message(pixels, form)), SCENE)
    alpha = np.dstack([pixels, np.full((32, 48), 9, np.uint8)])
    np.testing.assert_array_equal(to_rgb(message(alpha, form)), SCENE)
    np.testing.assert_array_equal(to_rgb(message(pixels.astype(np.uint16) << 8, form)), SCENE)


@pytest.mark.parametrize("form", ["yuv422_yuy2; jpeg compressed mono8", "yuv422; jpeg compressed ",
                                  "nv12; jpeg compressed mono8", "rgb8; jpeg compressed mono8"])
def test_colours_that_were_not_compressed_are_told_of_once(form, caplog):
    for _ in range(3):
        image = to_rgb(message(SCENE[..., 1], form, ".jpg"))
        assert (image == image[..., :1]).all(), "labelled all the same"
    [said] = caplog.messages
    assert f"(format '{form}')" in said and "take the raw images, or have the driver" in said


@pytest.mark.parametrize("form, pixels", [
    ("mono8; jpeg compressed ", SCENE[..., 1]), ("jpeg", SCENE[..., 1]), ("", SCENE[..., 1]),
    ("8UC1; jpeg compressed ", SCENE[..., 1]), ("bayer_rggb8; jpeg compressed ", SCENE[..., 1]),
    ("rgb8; jpeg compressed bgr8", np.repeat(SCENE[..., :1], 3, 2)),
    ("yuv422_yuy2; jpeg compressed bgr8", SCENE)])
def test_grey_cameras_and_grey_scenes_are_not_told_of(form, pixels, caplog):
    to_rgb(message(pixels, form, ".jpg"))
    assert not caplog.messages


@pytest.mark.parametrize("form", ["16UC1; png compressed ", "16UC1", "32FC1; png compressed ",
                                  "16SC1; png compressed ", "16UC1; compressedDepth png",
                                  "16uc1; PNG compressed", "mono16; compresseddepth"])
def test_depth_is_refused_by_name(form):
    depth = np.linspace(300, 6000, 48, dtype=np.uint16).reshape(6, 8)
    with pytest.raises(DepthError, match=f"'{form}' tells of depth .* the camera's colour topic"):
        to_rgb(message(depth, form))


def test_grey_of_16_bits_is_a_picture_where_the_format_says_so():
    grey = (np.arange(48, dtype=np.uint16) * 1300).reshape(6, 8)
    result = to_rgb(message(grey, "mono16; png compressed "))
    np.testing.assert_array_equal(result, np.repeat((grey >> 8)[..., None], 3, 2))
    np.testing.assert_array_equal(to_rgb(message(grey, "MONO16; PNG compressed")), result)


@pytest.mark.parametrize("form", ["png", "", "z16; png compressed ", "depth; png"])
def test_grey_of_16_bits_may_be_depth_where_the_format_does_not_say_so(form):
    grey = (np.arange(48, dtype=np.uint16) * 1300).reshape(6, 8)
    with pytest.raises(DepthError, match="may hold depth; .* say 'mono16; png compressed '"):
        to_rgb(message(grey, form))


@pytest.mark.parametrize("height, width", [(1, 1), (2, 2), (2, 48), (32, 1)])
def test_a_mosaic_too_small_to_have_colours_is_refused(height, width):
    mosaic = np.full((height, width), 200, np.uint8)
    raw = Image(height=height, width=width, step=width, encoding="bayer_rggb8",
                data=array.array("B", mosaic.tobytes()))
    for each in (raw, message(mosaic, "bayer_rggb8; png compressed ")):
        with pytest.raises(ImageError, match=f"{width}x{height} pixels are too few"):
            to_rgb(each)


def test_an_orientation_tag_turns_no_camera_image(tmp_path):
    from PIL import Image as Photo

    exif = Photo.Exif()
    exif[0x0112] = 6
    Photo.fromarray(SCENE).save(tmp_path / "a.png", exif=exif)
    data = array.array("B", (tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(to_rgb(CompressedImage(format="png", data=data)), SCENE)
