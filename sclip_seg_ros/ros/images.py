"""Image messages to RGB arrays, and label arrays back to image messages."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.io.encodings import ImageError, decode, unpack

__all__ = ["ImageError", "to_bytes", "to_message", "to_rgb"]


def to_rgb(message: Image | CompressedImage) -> np.ndarray:
    """Return an image message's pixels as (H, W, 3) uint8 RGB.

    Sixteen-bit values keep their upper byte. An ``rgb8`` image is a view of the message's data.

    Raises:
        ImageError: the message cannot be read.
    """
    return decode(message) if isinstance(message, CompressedImage) else unpack(message)


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Wrap (H, W) or (H, W, C) uint8 pixels in an image message with a given header."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels.shape[1] * channels)
    message.header = header
    message.data = to_bytes(pixels)
    return message


def to_bytes(pixels: np.ndarray) -> array.array:
    """Copy uint8 pixels into the one type that rclpy takes without looking at every element."""
    data = array.array("B")
    data.frombytes(memoryview(np.ascontiguousarray(pixels)).cast("B"))
    return data
