"""What a camera's messages say of where its pixels lie, whichever library has read them.

Messages are taken for what they hold: a sensor_msgs Image, PointCloud2 or CameraInfo of rclpy, or
of rosbags.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sclip_seg_ros.geometry.depth import Positions, positions_of, read_depth, read_positions
from sclip_seg_ros.geometry.pinhole import Pinhole, Size, cropping, resizing


def image_size(info: Any) -> Size:
    """Return (H, W) of the images that a camera_info describes: its region, binned."""
    region = info.roi
    height, width = region.height or info.height, region.width or info.width
    return height // max(1, info.binning_y), width // max(1, info.binning_x)


def pinhole_of(info: Any) -> Pinhole:
    """Return the pinhole of the images that a camera_info describes.

    It is that of the rectified image (P), which depth is registered to; K where P is empty.

    Raises:
        ValueError: no calibration.
    """
    size = image_size(info)
    matrix = np.reshape(info.p, (3, 4))
    if not matrix[0, 0]:
        matrix = np.reshape(info.k, (3, 3))
    return Pinhole.of(image_from_sensor(info, size) @ matrix, size)


def image_from_sensor(info: Any, target: Size) -> np.ndarray:
    """Return the (3, 3) matrix from the whole sensor's pixels to those of an image of it."""
    region = info.roi
    size = region.height or info.height, region.width or info.width
    return resizing(size, target) @ cropping(region.x_offset, region.y_offset)


def positions_in(depth: Any, info: Any, image: Any, size: Size) -> Positions:
    """Return where the pixels of labels lie, by a depth message that belongs to their image.

    Args:
        depth: a depth image, or an organised cloud.
        info: of a depth image's camera.
        image: header of the labels.
        size: (H, W) of the labels.

    Raises:
        ValueError: one sentence that names what does not fit, and the remedy.
    """
    if (depth.height, depth.width) != tuple(size):
        raise ValueError(f"depth of {depth.width}x{depth.height} does not lie on labels of "
                         f"{size[1]}x{size[0]}; have labels decided at that size (label_size, "
                         "--label-size), and see that the depth is registered to the camera")
    if hasattr(depth, "point_step"):
        if depth.is_bigendian:
            raise ValueError("the cloud has its high bytes first; publish low ones first")
        return read_positions(depth.data, {field.name: (field.offset, field.datatype)
                                           for field in depth.fields},
                              depth.height, depth.width, depth.point_step, depth.row_step)
    if depth.header.frame_id != image.frame_id:
        raise ValueError(f"depth has frame '{depth.header.frame_id}', the image "
                         f"'{image.frame_id}': it is not registered to this camera; take the "
                         "aligned depth of the driver, or run depth_image_proc's register node")
    metres = read_depth(depth.data, depth.encoding, depth.height, depth.width, depth.step,
                        bool(depth.is_bigendian))
    if info is None:
        raise ValueError("no camera_info of the depth has come; publish it beside the depth image, "
                         "or remap its topic")
    if image_size(info) != tuple(size):
        found = image_size(info)
        raise ValueError(f"the camera_info of the depth is of {found[1]}x{found[0]}, the depth has "
                         f"{depth.width}x{depth.height}; publish the one that belongs to it")
    try:
        return positions_of(metres, pinhole_of(info))
    except ValueError as error:
        raise ValueError(f"the camera_info of the depth cannot be used: {error}") from error
