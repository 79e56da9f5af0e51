"""The pixels of image messages as RGB, whatever library the messages come from.

A message is anything with the fields of ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``:
rclpy's classes and those of the rosbags library alike.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import numpy as np

from sclip_seg_ros.io.compression import (
    CompressedFormat,
    decompress,
    decompress_as_stored,
    is_jpeg_or_png,
)
from sclip_seg_ros.io.layouts import ENCODINGS, LAYOUTS, ImageError, Layout, is_measure, usual_name

__all__ = ["ENCODINGS", "DepthError", "ImageError", "decode", "decompress", "unpack"]

_log = logging.getLogger(__name__)
_STORED = {1: "mono", 3: "bgr", 4: "bgra"}  # what a decoder gives, by the number of channels


class DepthError(ImageError):
    """The image holds depth or other measurements, and no picture."""


def unpack(message: Any) -> np.ndarray:
    """Return a raw image message's pixels as (H, W, 3) uint8 RGB.

    Of 16-bit values the upper of the bits in use are taken, see
    :func:`~sclip_seg_ros.io.layouts.as_bytes`. An ``rgb8`` image is a view of the message's data.

    Raises:
        ImageError: the message cannot be read.
        DepthError: its encoding is none of pictures.
    """
    encoding = usual_name(message.encoding)
    layout = LAYOUTS.get(encoding)
    if layout is None:
        if is_measure(message.encoding):
            raise DepthError(f"encoding '{message.encoding}' is unknown among those of pictures, "
                             "because it tells of depth or other measurements; choose the "
                             "camera's colour topic")
        raise ImageError(f"encoding '{message.encoding}' is unknown; publish one of "
                         f"{', '.join(ENCODINGS)}")
    _check(message, layout)
    return layout.to_rgb(_planar_444(message, _step(message, layout)) if layout.full_chroma
                         else _strided(message, layout), encoding)


def decode(message: Any) -> np.ndarray:
    """Decompress a JPEG or PNG message to (H, W, 3) uint8 RGB, as its raw image would be.

    The part of ``format`` before the semicolon tells depth, which is refused, from pictures, and
    names the pattern of a Bayer mosaic. As in image_transport, ``compressed rgb8`` tells of red
    and blue that were exchanged before compression. Of colours that it tells of and that were not
    compressed, as image_transport does to those of YUV, is warned once.

    Raises:
        ImageError: another format, or data that is cut short or damaged.
        DepthError: what was compressed is not a picture.
    """
    data, form = memoryview(message.data).cast("B"), CompressedFormat.parse(message.format)
    if form.is_depth:
        raise DepthError(f"compressed image of format '{message.format}' tells of depth or "
                         "other measurements; choose the camera's colour topic")
    if not is_jpeg_or_png(data):
        raise ImageError(f"compressed image of format '{message.format}' with {len(data)} bytes is "
                         "neither JPEG nor PNG; publish one of these")
    try:
        pixels = decompress_as_stored(data)
    except ImageError as error:
        raise ImageError(f"compressed {error}; check the link to the camera") from error
    channels, bits = (1 if pixels.ndim == 2 else pixels.shape[2]), 8 * pixels.dtype.itemsize
    if channels == 1 and bits == 16 and not form.tells_a_picture:
        raise DepthError(f"compressed image of format '{message.format}' with 16-bit grey may "
                         "hold depth; where it is a picture, say 'mono16; png compressed ' in "
                         "its format")
    stored = f"{_STORED[channels]}{bits}"
    if channels == 1 and form.is_bayer:
        stored = form.encoding
    elif channels == 1 and form.tells_colours:
        _tell_of_lost_colours(message.format)
    elif channels > 1 and form.red_first:
        stored = stored.replace("bgr", "rgb")
    if stored not in LAYOUTS:
        raise ImageError(f"encoding '{stored}' is unknown; publish one of {', '.join(ENCODINGS)}")
    return LAYOUTS[stored].to_rgb(pixels, stored)


@lru_cache(maxsize=64)
def _tell_of_lost_colours(form: str) -> None:
    """Warn of a format once: labels come, and words with colours in them mean nothing."""
    _log.warning("the camera's images lost their colours when they were compressed (format '%s'), "
                 "as image_transport does to those of YUV; take the raw images, or have the driver "
                 "publish rgb8 (usb_cam: pixel_format yuyv2rgb)", form)


def _strided(message: Any, layout: Layout) -> np.ndarray:
    """Return a view of the pixels as they lie in memory, without the rows' padding."""
    itemsize = layout.bits // 8
    shape: tuple[int, ...] = message.height * layout.rows // 2, message.width
    strides: tuple[int, ...] = _step(message, layout), layout.channels * itemsize
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, itemsize)
    order = ">" if message.is_bigendian else "<"
    return np.ndarray(shape, f"{order}u{itemsize}", _buffer(message), strides=strides)


def _planar_444(message: Any, step: int) -> np.ndarray:
    """Return (H, W, 3) YUV of a plane of brightness and one of both colours, as V4L2's NV24.

    A row of colours is as long as two rows of brightness, their padding included.
    """
    height, width, data = message.height, message.width, _buffer(message)
    luma = np.ndarray((height, width, 1), np.uint8, data, strides=(step, 1, 1))
    chroma = np.ndarray((height, width, 2), np.uint8, data, offset=height * step,
                        strides=(2 * step, 2, 1))
    return np.concatenate([luma, chroma], axis=2)


def _check(message: Any, layout: Layout) -> None:
    """Refuse a size, step or length that contradicts the encoding."""
    width, height, step = message.width, message.height, _step(message, layout)
    if not width or not height:
        raise ImageError(f"image of {width}x{height} pixels is empty; check the camera's settings")
    if width % layout.subsampling[0] or height % layout.subsampling[1]:
        raise ImageError(f"image of {width}x{height} pixels cannot be '{message.encoding}', which "
                         "shares colours between neighbours; use an even size")
    row = _row(message, layout)
    if step < row:
        raise ImageError(f"step {step} is too small for {width} pixels of '{message.encoding}'; "
                         f"set it to {row} or more")
    # The padding of the last row may be left out.
    needed = (height * layout.rows // 2 - 2) * step + 2 * row if layout.full_chroma \
        else (height * layout.rows // 2 - 1) * step + row
    if len(message.data) < needed:
        raise ImageError(f"image data has {len(message.data)} bytes where {width}x{height} pixels "
                         f"of '{message.encoding}' need {needed}; send the whole image")


def _row(message: Any, layout: Layout) -> int:
    return message.width * layout.channels * layout.bits // 8


def _step(message: Any, layout: Layout) -> int:
    """Return the bytes of a row; of a driver that leaves them at 0, where there is no padding."""
    row = _row(message, layout)
    packed = len(message.data) == message.height * layout.rows // 2 * row
    return row if message.step == 0 and packed else message.step


def _buffer(message: Any) -> memoryview:
    return memoryview(message.data).cast("B")
