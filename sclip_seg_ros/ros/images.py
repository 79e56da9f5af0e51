"""Image messages to RGB arrays, and label arrays back to image messages."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.io.encodings import ImageError, decode, unpack

__all__ = ["ImageError", "to_message", "to_rgb"]


def to_rgb(message: Image | CompressedImage) -> np.ndarray:
    """Return an image message's pixels as (H, W, 3) uint8 RGB.

    An ``rgb8`` image is a view of the message's data.

    Raises:
        ImageError: the message cannot be read.
    """
    return decode(message) if isinstance(message, CompressedImage) else unpack(message)


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Wrap (H, W) or (H, W, C) uint8 pixels in an image message with a given header.

    The message's data is a view of the pixels, which must not change before it is published.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels.shape[1] * channels)
    message.header = header
    # Past the setter, which copies since Jazzy, even an array.array; publishing takes any buffer.
    message._data = memoryview(np.ascontiguousarray(pixels)).cast("B")
    return message
