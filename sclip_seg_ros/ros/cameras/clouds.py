"""Semantic clouds to messages."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from sclip_seg_ros.geometry.cloud import FIELDS, POINT, Pixels, semantic_cloud
from sclip_seg_ros.geometry.depth import Positions
from sclip_seg_ros.ros.parameters.point_options import PointOptions
from sclip_seg_ros.segmentation import SegmentationResult

_FIELDS = [PointField(name=name, offset=offset, datatype=datatype, count=1)
           for name, offset, datatype in FIELDS]


def pixels_of(result: SegmentationResult, options: PointOptions) -> Pixels:
    """Return what a result says of its pixels, with labels as they are published."""
    labels, ids = result.labels, result.vocabulary.ids
    if options.class_colours:
        table = np.full((256, 1, 3), 128, np.uint8)  # grey without a class
        table[:len(result.vocabulary), 0] = result.vocabulary.colours
        picture = cv2.LUT(cv2.merge((labels, labels, labels)), table)
    else:
        picture = np.ascontiguousarray(result.on_device.image.cpu().numpy())
    return Pixels(picture, ids.publish(labels), result.confidence)


def cloud_message(positions: Positions, result: SegmentationResult, options: PointOptions,
                  header: Header) -> PointCloud2:
    """Return the semantic cloud of a labelled image.

    Args:
        positions: of its pixels.
        result: its labels.
        options: which points are kept, and how.
        header: of the depth.
    """
    points = semantic_cloud(positions, pixels_of(result, options), options.thinning,
                            options.table(result.vocabulary))
    height, width = points.shape
    message = PointCloud2(header=header, height=height, width=width, fields=_FIELDS,
                          point_step=POINT.itemsize, row_step=width * POINT.itemsize,
                          is_bigendian=False, is_dense=not options.thinning.organised)
    # Past the setter, which copies since Jazzy, even an array.array; publishing takes any buffer.
    message._data = memoryview(points.view(np.uint8).reshape(-1))
    return message
