"""Depth images: values as cameras publish them, and where in space their pixels lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sclip_seg_ros.geometry.pinhole import Pinhole

_KINDS = {"16UC1": np.dtype("u2"), "32FC1": np.dtype("f4")}
MILLIMETRE = np.float32(0.001)


class Positions(NamedTuple):
    """Where pixels lie: three planes (H, W) float32 in metres, and which of them are known.

    Attributes:
        x, y, z: coordinates; of any value where they are not known.
        valid: (H, W) bool.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    valid: np.ndarray


def read_depth(data, encoding: str, height: int, width: int, step: int,
               is_bigendian: bool = False) -> np.ndarray:
    """Return a depth image's metres along the optical axis, (H, W) float32.

    Args:
        data: bytes of the rows.
        encoding: "16UC1", millimetres, or "32FC1", metres.
        height, width: in pixels.
        step: bytes from one row to the next.
        is_bigendian: order of the bytes.

    Raises:
        ValueError: another encoding, or not as many bytes as that takes.
    """
    kind = _KINDS.get(encoding)
    if kind is None:
        raise ValueError(f"depth has encoding '{encoding}'; publish 16UC1 (millimetres) or 32FC1 "
                         "(metres)")
    if is_bigendian:
        kind = kind.newbyteorder(">")
    if step < width * kind.itemsize or len(data) < step * (height - 1) + width * kind.itemsize:
        raise ValueError(f"depth of {width}x{height} in {encoding} with {step} bytes a row has "
                         f"{len(data)} bytes, too few; look at its driver")
    values = np.ndarray((height, width), kind, np.frombuffer(data, np.uint8),
                        strides=(step, kind.itemsize))
    metres = values.astype(np.float32)
    if encoding == "16UC1":
        metres *= MILLIMETRE
    return metres


def positions_of(metres: np.ndarray, camera: Pinhole) -> Positions:
    """Return where the pixels of a depth image lie, in the camera's optical frame.

    Args:
        metres: (H, W) float32 along the optical axis; 0, below it and not finite are not depth.
        camera: of an image of that size.
    """
    across, down = camera.slopes()
    with np.errstate(invalid="ignore"):
        valid = (metres > 0) & (metres < np.inf)
        return Positions(metres * across, metres * down[:, None], metres, valid)


def read_positions(data, fields: dict[str, tuple[int, int]], height: int, width: int,
                   point_step: int, row_step: int) -> Positions:
    """Return where the points of an organised cloud lie, in the cloud's own frame.

    Where there is no depth, drivers publish a point that is not finite, or (0, 0, 0), the camera
    itself, as librealsense does.

    Args:
        data: bytes, low ones first.
        fields: offset and datatype (sensor_msgs/PointField) by name.
        height, width: in points.
        point_step, row_step: bytes from a point, and a row, to the next; 0 for rows one behind
            the other, as of publishers that leave it out.

    Raises:
        ValueError: no organised cloud of 32-bit x, y and z, or too few bytes.
    """
    if height < 2:
        raise ValueError(f"the cloud is {width}x{height}; publish an organised one, with a point "
                         "for each pixel")
    float32 = 7
    if any(fields.get(name, (0, 0))[1] != float32 for name in "xyz"):
        raise ValueError("the cloud has no x, y and z of 32 bits; publish FLOAT32 fields")
    row_step = row_step or width * point_step
    if row_step < width * point_step:
        raise ValueError(f"a cloud of {width}x{height} with {point_step} bytes a point has "
                         f"{row_step} bytes a row, too few; look at its publisher")
    planes = []
    for name in "xyz":
        offset, _ = fields[name]
        if len(data) < offset + row_step * (height - 1) + point_step * (width - 1) + 4:
            raise ValueError(f"a cloud of {width}x{height} has {len(data)} bytes, too few; look "
                             "at its publisher")
        planes.append(np.ascontiguousarray(np.ndarray(
            (height, width), "<f4", np.frombuffer(data, np.uint8), offset,
            (row_step, point_step))))
    x, y, z = planes
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    return Positions(x, y, z, finite & ((x != 0) | (y != 0) | (z != 0)))
