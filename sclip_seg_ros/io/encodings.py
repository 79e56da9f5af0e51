"""The pixels of image messages as RGB, whatever library the messages come from.

A message is anything with the fields of ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``:
rclpy's classes and those of the rosbags library alike.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Between compressed pixels neither a stuffed zero nor a restart is a marker.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_TIFF_STARTS = (b"II*\0", b"MM\0*")
PNG_START, PNG_END = b"\x89PNG\r\n", b"IEND"
_TAIL = 4096  # bytes searched for the end marker; some cameras pad their JPEG images


class ImageError(ValueError):
    """An image message cannot be read; the message names the value and the remedy."""


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory, and how it becomes RGB.

    Attributes:
        channels: values of a pixel.
        bits: of a value, 8 or 16.
        to_rgb: from (H, W) or (H, W, C) uint8 to (H, W, 3) uint8 RGB.
        subsampling: width and height must be multiples of these.
        rows: rows in memory for two rows of the image; 3 for planar 4:2:0.
    """

    channels: int
    bits: int
    to_rgb: Callable[[np.ndarray], np.ndarray]
    subsampling: tuple[int, int] = (1, 1)
    rows: int = 2


def _convert(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return partial(_cv_convert, code)


def _cv_convert(code: int, pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, code)


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


# OpenCV names a Bayer pattern by the second and third pixel of its second row.
_BAYER = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB,
          "gbrg": cv2.COLOR_BayerGR2RGB, "grbg": cv2.COLOR_BayerGB2RGB}
_GRAY, _BGR = _convert(cv2.COLOR_GRAY2RGB), _convert(cv2.COLOR_BGR2RGB)
_RGBA, _BGRA = _convert(cv2.COLOR_RGBA2RGB), _convert(cv2.COLOR_BGRA2RGB)
_UYVY = _Layout(2, 8, _convert(cv2.COLOR_YUV2RGB_UYVY), (2, 1))
_YUYV = _Layout(2, 8, _convert(cv2.COLOR_YUV2RGB_YUY2), (2, 1))

# The names of sensor_msgs/image_encodings.hpp, and "nv12", which it lacks but drivers use.
_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(3, 8, _as_is), "bgr8": _Layout(3, 8, _BGR),
    "rgba8": _Layout(4, 8, _RGBA), "bgra8": _Layout(4, 8, _BGRA),
    "rgb16": _Layout(3, 16, _as_is), "bgr16": _Layout(3, 16, _BGR),
    "rgba16": _Layout(4, 16, _RGBA), "bgra16": _Layout(4, 16, _BGRA),
    "mono8": _Layout(1, 8, _GRAY), "mono16": _Layout(1, 16, _GRAY),
    # Raw OpenCV types come from OpenCV programs, whose channel order is blue, green, red.
    "8UC1": _Layout(1, 8, _GRAY), "8UC3": _Layout(3, 8, _BGR), "8UC4": _Layout(4, 8, _BGRA),
    **{f"bayer_{pattern}{bits}": _Layout(1, bits, _convert(code))
       for pattern, code in _BAYER.items() for bits in (8, 16)},
    "yuv422": _UYVY, "uyvy": _UYVY, "yuv422_yuy2": _YUYV, "yuyv": _YUYV,
    "nv12": _Layout(1, 8, _convert(cv2.COLOR_YUV2RGB_NV12), (2, 2), rows=3),
    "nv21": _Layout(1, 8, _convert(cv2.COLOR_YUV2RGB_NV21), (2, 2), rows=3),
}
ENCODINGS = tuple(_LAYOUTS)


def unpack(message: Any) -> np.ndarray:
    """Return a raw image message's pixels as (H, W, 3) uint8 RGB.

    Sixteen-bit values keep their upper byte. An ``rgb8`` image is a view of the message's data.

    Raises:
        ImageError: the message cannot be read.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError(f"encoding '{message.encoding}' is unknown; publish one of "
                         f"{', '.join(ENCODINGS)}")
    _check(message, layout)
    rows = message.height * layout.rows // 2
    itemsize = layout.bits // 8
    shape, strides = (rows, message.width), (message.step, layout.channels * itemsize)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, itemsize)
    order = ">" if message.is_bigendian else "<"
    pixels = np.ndarray(shape, f"{order}u{itemsize}", _buffer(message.data), strides=strides)
    if layout.bits == 16:
        pixels = (pixels >> 8).astype(np.uint8)
    try:
        return layout.to_rgb(pixels)
    except cv2.error as error:
        raise ImageError(f"{message.width}x{message.height} pixels of '{message.encoding}' cannot "
                         f"be converted ({error.err}); publish a larger image") from error


def decode(message: Any) -> np.ndarray:
    """Decompress a JPEG or PNG message to (H, W, 3) uint8 RGB.

    Raises:
        ImageError: another format, or data that is cut short or damaged.
    """
    data = _buffer(message.data)
    if not is_jpeg_or_png(data):
        raise ImageError(f"compressed image of format '{message.format}' with {len(data)} bytes is "
                         "neither JPEG nor PNG; publish one of these")
    try:
        # Labels belong to the pixels as sent, so an orientation tag must not turn the image.
        return decompress(data, upright=False)
    except ImageError as error:
        raise ImageError(f"compressed {error}; check the link to the camera") from error


def is_jpeg_or_png(data: memoryview | bytes) -> bool:
    """Tell JPEG and PNG from anything else by the first bytes."""
    return bytes(data[:8]).startswith((JPEG_START, PNG_START))


def decompress(data: memoryview | bytes, upright: bool) -> np.ndarray:
    """Decompress an image file to (H, W, 3) uint8 RGB.

    Args:
        data: of any format that OpenCV reads.
        upright: for photos: turn the image as its orientation tag says, and allow a film or other
            pictures behind it, as phones append.

    Raises:
        ImageError: no image, one that is cut short or damaged, or pixels of no supported type.
    """
    head = bytes(data[:8])
    if head.startswith(_TIFF_STARTS):
        _check_tiff(data)
    # The decoder would fill the missing rows of a JPEG image with grey and not tell.
    complete = not (head.startswith(JPEG_START) and not _is_whole_jpeg(data, upright)
                    or head.startswith(PNG_START) and not _is_whole_png(data))
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _imdecode(np.frombuffer(data, np.uint8), flags) if complete else None
    if pixels is None:
        raise ImageError(f"image of {len(data)} bytes is cut short or damaged")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _check(message: Any, layout: _Layout) -> None:
    """Refuse a size, step or length that contradicts the encoding."""
    width, height, step = message.width, message.height, message.step
    if not width or not height:
        raise ImageError(f"image of {width}x{height} pixels is empty; check the camera's settings")
    if width % layout.subsampling[0] or height % layout.subsampling[1]:
        raise ImageError(f"image of {width}x{height} pixels cannot be '{message.encoding}', which "
                         "shares colours between neighbours; use an even size")
    row = width * layout.channels * layout.bits // 8
    if step < row:
        raise ImageError(f"step {step} is too small for {width} pixels of '{message.encoding}'; "
                         f"set it to {row} or more")
    # The padding of the last row may be left out.
    needed = (height * layout.rows // 2 - 1) * step + row
    if len(message.data) < needed:
        raise ImageError(f"image data has {len(message.data)} bytes where {width}x{height} pixels "
                         f"of '{message.encoding}' need {needed}; send the whole image")


def _imdecode(data: np.ndarray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def _check_tiff(data: memoryview | bytes) -> None:
    """Refuse types of pixels that TIFF files alone have; a damaged file is left to the decoder."""
    pixels = _imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is not None and pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"image has pixels of type {pixels.dtype}, which is not supported; "
                         "convert it to 8 or 16 bits a channel")


def _is_whole_jpeg(data: memoryview | bytes, appended: bool) -> bool:
    """Find the end marker: near the end, or, with something appended, where the image ends."""
    if JPEG_END in bytes(data[-_TAIL:]):
        return True
    if not appended:
        return False
    data, position = bytes(data), 2
    while found := _JPEG_MARKER.search(data, position):
        marker, position = found[1], found.end()
        if marker == JPEG_END[1:]:
            return True
        if position + 2 > len(data):
            return False
        # A segment names its length; pixels follow a scan's, up to the next marker.
        position += struct.unpack_from(">H", data, position)[0]
    return False


def _is_whole_png(data: memoryview | bytes) -> bool:
    """Compare a PNG file's checksums; OpenCV would print about a wrong one on its own."""
    position = 8
    while position + 12 <= len(data):
        length, = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or struct.unpack_from(">I", data, end)[0] != zlib.crc32(
                data[position + 4:end]):
            return False
        if data[position + 4:position + 8] == PNG_END:
            return True
        position = end + 4
    return False


def _buffer(data) -> memoryview:
    return memoryview(data).cast("B")
