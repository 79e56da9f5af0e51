"""A camera's calibration for labels of another size."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from sclip_seg_ros.geometry.pinhole import Size
from sclip_seg_ros.geometry.sensors import image_from_sensor, image_size


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
