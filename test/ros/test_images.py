"""Image messages become RGB, whatever camera they come from; bad ones are refused with a reason."""

from __future__ import annotations

import array
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.io.encodings import ENCODINGS, DepthError, decompress, unpack
from sclip_seg_ros.io.layouts import LAYOUTS
from sclip_seg_ros.ros.images import ImageError, to_message, to_rgb


def smooth_scene(height: int = 32, width: int = 48) -> np.ndarray:
    """Return an RGB image without sharp edges, so that subsampled colours come back closely."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 4 * x, 220 - 5 * y, 60 + 2 * (x + y)], axis=-1).astype(np.uint8)


def message_of(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False,
               height: int | None = None) -> Image:
    """Pack pixels by hand, with a row padding of 0xAA and a byte order."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = [row.tobytes() + b"\xaa" * padding for row in stored]
    message = Image(height=height or pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=len(rows[0]), is_bigendian=int(big_endian))
    message.data = array.array("B", b"".join(rows))
    return message


def channels(rgb: np.ndarray, order: str) -> np.ndarray:
    """Return channels in an order such as "bgra"; alpha is 7."""
    planes = {"r": rgb[..., 0], "g": rgb[..., 1], "b": rgb[..., 2],
              "a": np.full(rgb.shape[:2], 7, rgb.dtype)}
    return np.stack([planes[letter] for letter in order], axis=-1)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding, order", [("rgb8", "rgb"), ("bgr8", "bgr"), ("rgba8", "rgba"),
                                             ("bgra8", "bgra"), ("8UC3", "bgr"), ("8UC4", "bgra")])
def test_colour_channels_in_any_order(encoding, order, padding):
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    result = to_rgb(message_of(channels(rgb, order), encoding, padding))
    np.testing.assert_array_equal(result, rgb)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding, order", [("rgb16", "rgb"), ("bgr16", "bgr"),
                                             ("rgba16", "rgba"), ("bgra16", "bgra")])
def test_sixteen_bit_colour_keeps_the_upper_byte(encoding, order, big_endian):
    rgb = np.random.default_rng(1).integers(0, 65536, (6, 5, 3), np.uint16)
    result = to_rgb(message_of(channels(rgb, order), encoding, 4, big_endian))
    np.testing.assert_array_equal(result, rgb >> 8)


@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_is_scaled_and_its_byte_order_honoured(big_endian):
    grey = np.array([[0x0000, 0x00ff, 0x1234], [0x8001, 0xfe00, 0xffff]], np.uint16)
    result = to_rgb(message_of(grey, "mono16", 2, big_endian))
    expected = np.array([[0, 0, 0x12], [0x80, 0xfe, 0xff]], np.uint8)
    np.testing.assert_array_equal(result, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("encoding, shape", [("mono16", (6, 5)), ("bayer_rggb16", (6, 6)),
                                             ("rgb16", (6, 5, 3)), ("rgba16", (6, 5, 4))])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_cameras_of_fewer_bits_give_the_same_picture(bits, encoding, shape):
    levels = np.random.default_rng(2).integers(128, 256, shape, np.uint16)
    levels[2, 2] = 255
    expected = to_rgb(message_of(levels << 8, encoding))
    pixels = levels << (bits - 8)
    if shape[-1] == 4:
        pixels[..., 3] = 0xffff  # says nothing of the colours
    for big_endian in (False, True):
        result = to_rgb(message_of(pixels, encoding, 2, big_endian))
        np.testing.assert_array_equal(result, expected)


def test_a_dark_image_stays_dark():
    grey = np.full((4, 4), 20, np.uint16)
    assert (to_rgb(message_of(grey, "mono16")) == 20).all()
    assert (to_rgb(message_of(0 * grey, "mono16")) == 0).all()


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_equal_channels(encoding):
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7)
    result = to_rgb(message_of(grey, encoding, 3))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_the_scene_back(pattern, bits):
    rgb = smooth_scene()
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for index, letter in enumerate(pattern):
        rows, columns = slice(index // 2, None, 2), slice(index % 2, None, 2)
        mosaic[rows, columns] = rgb[rows, columns, "rgb".index(letter)]
    raw = mosaic.astype(np.uint16) << 8 if bits == 16 else mosaic
    result = to_rgb(message_of(raw, f"bayer_{pattern}{bits}", 2))
    inner = np.s_[2:-2, 2:-2]
    assert np.abs(result[inner].astype(int) - rgb[inner]).max() <= 8


def yuv_planes(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return studio-range BT.601 Y, U, V at full size, by the standard's own matrix."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0],
                       [112.0, -93.786, -18.214]])
    yuv = rgb / 255.0 @ matrix.T + (16, 128, 128)
    return tuple(np.rint(yuv).astype(np.uint8).transpose(2, 0, 1))


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_packed_422_gives_the_scene_back(encoding):
    rgb = smooth_scene()
    y, u, v = yuv_planes(rgb)
    colour = np.where(np.arange(rgb.shape[1]) % 2, np.roll(v, 1, axis=1), u)
    luma_first = encoding in ("yuv422_yuy2", "yuyv")
    packed = np.stack([y, colour] if luma_first else [colour, y], axis=-1)
    result = to_rgb(message_of(packed, encoding, 6))
    assert np.abs(result.astype(int) - rgb).max() <= 10


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planar_420_gives_the_scene_back(encoding):
    rgb = smooth_scene()
    y, u, v = (plane.copy() for plane in yuv_planes(rgb))
    pair = [u[::2, ::2], v[::2, ::2]] if encoding == "nv12" else [v[::2, ::2], u[::2, ::2]]
    colours = np.stack(pair, axis=-1).reshape(rgb.shape[0] // 2, rgb.shape[1])
    result = to_rgb(message_of(np.vstack([y, colours]), encoding, height=rgb.shape[0]))
    assert result.shape == rgb.shape
    assert np.abs(result.astype(int) - rgb).max() <= 12


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("width", [48, 47])
def test_planar_444_gives_the_scene_back(width, padding):
    """As V4L2's NV24: a row of U and V is as long as two of Y, their padding included."""
    rgb = smooth_scene()[:31, :width]
    y, u, v = yuv_planes(rgb)
    colours = np.pad(np.stack([u, v], axis=-1).reshape(31, 2 * width), ((0, 0), (0, 2 * padding)))
    rows = np.vstack([np.pad(y, ((0, 0), (0, padding))), colours.reshape(62, width + padding)])
    message = Image(height=31, width=width, encoding="nv24", step=width + padding)
    message.data = array.array("B", rows.tobytes())
    assert np.abs(to_rgb(message).astype(int) - rgb).max() <= 4
    if padding:  # of the last row
        message.data = message.data[:-2 * padding]
        to_rgb(message)
    message.data = message.data[:-1]
    with pytest.raises(ImageError, match=f"where {width}x31 pixels of 'nv24' need"):
        to_rgb(message)


@pytest.mark.parametrize("written, usual", [("RGB8", "rgb8"), ("Mono8", "mono8"),
                                            ("bgr8 ", "bgr8"), ("8uc3", "8UC3"),
                                            ("BAYER_RGGB8", "bayer_rggb8"), ("YUYV", "yuyv")])
def test_an_encoding_may_be_spelled_otherwise(written, usual):
    layout = LAYOUTS[usual]
    pixels = np.random.default_rng(1).integers(
        0, 256, (8, 10, layout.channels)[:3 if layout.channels > 1 else 2], np.uint8)
    fields = {"height": 8, "width": 10, "step": pixels.strides[0], "is_bigendian": 0,
              "data": pixels.tobytes()}
    np.testing.assert_array_equal(unpack(SimpleNamespace(encoding=written, **fields)),
                                  unpack(SimpleNamespace(encoding=usual, **fields)))


def test_rgb8_is_not_copied():
    message = message_of(smooth_scene(), "rgb8", 8)
    result = to_rgb(message)
    message.data[0] ^= 0xFF
    assert result[0, 0, 0] == message.data[0]


def test_padding_of_the_last_row_may_be_missing():
    rgb = smooth_scene()
    message = message_of(rgb, "rgb8", 16)
    message.data = message.data[:-16]
    np.testing.assert_array_equal(to_rgb(message), rgb)


def test_every_encoding_reads_an_even_grey_image():
    for encoding in ENCODINGS:
        wide = 2 if encoding.endswith("16") else 1
        per_pixel = {"r": 3, "b": 3, "m": 1, "8": int(encoding[-1]) if encoding[0] == "8" else 0,
                     "y": 2, "u": 2, "n": 3 if encoding == "nv24" else 1.5}[encoding[0]]
        if encoding.startswith("bayer"):
            per_pixel = 1
        elif encoding[:4] in ("rgba", "bgra"):
            per_pixel = 4
        step = int(16 * wide * (1 if encoding[:2] == "nv" else per_pixel))
        size = int(16 * 16 * wide * per_pixel)
        message = Image(height=16, width=16, encoding=encoding, step=step)
        message.data = array.array("B", bytes([128]) * size)
        result = to_rgb(message)
        message.step = 0  # as some drivers leave it
        np.testing.assert_array_equal(to_rgb(message), result)
        assert result.shape == (16, 16, 3), encoding
        assert np.abs(result.astype(int) - 128).max() <= 8, encoding


def good_image() -> Image:
    return message_of(smooth_scene(), "rgb8")


def spoil(message: Image, **changes) -> Image:
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize("message, complaint", [
    (spoil(good_image(), width=0), "0x32 pixels is empty"),
    (spoil(good_image(), height=0), "48x0 pixels is empty"),
    (spoil(good_image(), step=143), r"step 143 is too small.*144 or more"),
    (spoil(message_of(smooth_scene(), "rgb8", 4), step=0), r"step 0 is too small"),
    (spoil(good_image(), data=array.array("B", bytes(100))), r"100 bytes where .* need 4608"),
    (spoil(good_image(), height=33), r"4608 bytes where 48x33 .* need 4752"),
    (spoil(good_image(), encoding="rgb9"), r"'rgb9' is unknown; publish one of rgb8, bgr8"),
    (spoil(good_image(), encoding="32FC1"), r"'32FC1' is unknown"),
    (spoil(good_image(), encoding=""), r"'' is unknown"),
    (spoil(good_image(), encoding="yuv422", width=47), r"47x32 .*even size"),
    (spoil(good_image(), encoding="nv12", height=31), r"48x31 .*even size"),
    (Image(), "unknown"),
])
def test_bad_images_are_refused_with_a_reason(message, complaint):
    with pytest.raises(ImageError, match=complaint):
        to_rgb(message)


def compressed(pixels: np.ndarray, suffix: str) -> CompressedImage:
    ok, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert ok
    return CompressedImage(format=f"rgb8; {suffix[1:]} compressed bgr8",
                           data=array.array("B", data.tobytes()))


def test_png_comes_back_exactly():
    rgb = smooth_scene()
    np.testing.assert_array_equal(to_rgb(compressed(rgb, ".png")), rgb)


def test_jpeg_comes_back_closely():
    rgb = smooth_scene()
    result = to_rgb(compressed(rgb, ".jpg"))
    assert np.abs(result.astype(int) - rgb).mean() < 4


def test_grey_png_becomes_rgb():
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    data = cv2.imencode(".png", grey)[1]
    result = to_rgb(CompressedImage(format="mono8; png", data=array.array("B", data.tobytes())))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_short_compressed_image_is_refused(suffix):
    message = compressed(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), suffix)
    message.data = message.data[:len(message.data) // 2]
    with pytest.raises(ImageError, match=r"is cut short or damaged"):
        to_rgb(message)


def jpeg(*flags: int, size: int = 64) -> bytes:
    """Return noise as a JPEG file, with a thumbnail that has an end marker of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    data = cv2.imencode(".jpg", noise, flags)[1].tobytes()
    thumbnail = cv2.imencode(".jpg", noise[:8, :8])[1].tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + data[2:]


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
                                   (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)])
def test_a_photo_with_a_film_behind_it_is_read_and_a_cut_one_refused(flags):
    photo = jpeg(*flags, size=256)
    film = b"ftypmp42" + np.random.default_rng(1).integers(0, 255, 9000, np.uint8).tobytes()
    np.testing.assert_array_equal(decompress(photo + film, upright=True),
                                  decompress(photo, upright=True))
    assert len(photo) > 20_000
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(ImageError, match="cut short or damaged"):
            decompress(photo[:int(share * len(photo))], upright=True)


def test_a_camera_message_with_much_behind_its_image_is_still_refused():
    message = CompressedImage(format="jpeg", data=array.array("B", jpeg() + bytes(9000)))
    with pytest.raises(ImageError, match="cut short or damaged"):
        to_rgb(message)


def test_pixels_of_a_type_without_colours_are_named():
    data = cv2.imencode(".tiff", np.zeros((9, 9), np.float32))[1].tobytes()
    with pytest.raises(ImageError, match="type float32, which is not supported; convert it to 8"):
        decompress(data, upright=True)
    grey = np.full((9, 9), 0x9234, np.uint16)
    assert (decompress(cv2.imencode(".tiff", grey)[1].tobytes(), upright=True) == 0x92).all()


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"GIF89a" + bytes(20)])
def test_other_compressed_data_is_refused(data):
    message = CompressedImage(format="16UC1; compressedDepth png", data=array.array("B", data))
    with pytest.raises(DepthError, match=r"compressedDepth.*tells of depth.*colour topic"):
        to_rgb(message)
    message.format = "h264"
    with pytest.raises(ImageError, match=r"h264.*neither JPEG nor PNG"):
        to_rgb(message)


def test_labels_become_a_message_that_reads_back():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::-1]
    header = Header(frame_id="camera")
    message = to_message(labels, "mono8", header)
    assert (message.width, message.height, message.step) == (4, 3, 4)
    assert message.header is header
    np.testing.assert_array_equal(to_rgb(message)[..., 0], labels)
    received = deserialize_message(serialize_message(message), Image)
    assert received.header == header and bytes(received.data) == labels.tobytes()


def test_a_message_shows_the_pixels_themselves():
    labels = np.zeros((3, 4), np.uint8)
    message = to_message(labels, "mono8", Header())
    labels[0, 0] = 7
    assert bytes(message.data)[0] == 7, "nothing was copied"
