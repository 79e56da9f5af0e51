"""Image messages to RGB arrays, label arrays back to image messages, and their calibration."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.geometry.pinhole import Size
from sclip_seg_ros.geometry.sensors import image_from_sensor, image_size
from sclip_seg_ros.io.encodings import ImageError, decode, unpack

__all__ = ["ImageError", "resized_info", "to_message", "to_rgb"]


def to_rgb(message: Image | CompressedImage) -> np.ndarray:
    """Return an image message's pixels as (H, W, 3) uint8 RGB.

    An ``rgb8`` image is a view of the message's data.

    Raises:
        ImageError: the message cannot be read.
    """
    return decode(message) if isinstance(message, CompressedImage) else unpack(message)


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Wrap (H, W) or (H, W, C) pixels in an image message with a given header.

    The message's data is a view of the pixels, which must not change before it is published.
    """
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels[:1].nbytes)
    message.header = header
    # Past the setter, which copies since Jazzy, even an array.array; publishing takes any buffer.
    message._data = memoryview(np.ascontiguousarray(pixels)).cast("B")
    return message


def resized_info(info: CameraInfo, size: Size, target: Size, header: Header) -> CameraInfo | None:
    """Return a camera_info for an image brought to another size.

    Args:
        info: of the camera.
        size: (H, W) of its image.
        target: (H, W) of the labels.
        header: of the image.

    Returns:
        Without region and binning, which are worked into its matrices; None where ``info`` is of
        images of another size.
    """
    if image_size(info) != tuple(size):
        return None
    change = image_from_sensor(info, target)
    return CameraInfo(
        header=header, height=target[0], width=target[1],
        distortion_model=info.distortion_model, d=info.d, r=info.r,
        k=(change @ np.reshape(info.k, (3, 3))).ravel().tolist(),
        p=(change @ np.reshape(info.p, (3, 4))).ravel().tolist())
