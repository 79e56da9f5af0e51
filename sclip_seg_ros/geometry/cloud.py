"""A semantic point cloud: positions, colours, labels and confidence, point by point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from sclip_seg_ros.geometry.depth import Positions

# A point as it is published. The colour is 0x00RRGGBB, as PCL and RViz read the field rgb.
POINT = np.dtype({"names": ["x", "y", "z", "rgb", "confidence", "label"],
                  "formats": ["<f4", "<f4", "<f4", "<u4", "<f4", "u1"],
                  "offsets": [0, 4, 8, 12, 16, 20], "itemsize": 24})
# Name, offset and datatype (sensor_msgs/PointField) of its fields; the colour goes as a float.
FIELDS = tuple((name, POINT.fields[name][1], 2 if name == "label" else 7) for name in POINT.names)
_WHOLE = np.dtype("V24")  # a point in one piece, which NumPy selects fastest
_FLOATS = POINT.itemsize // 4
_FEW = 0.25             # share of the points that are picked one by one
_NAN_BITS = 0x7FC00000  # added to a number's bits they make it NaN, faster than choosing


@dataclass(frozen=True)
class Thinning:
    """Which of the points are kept.

    Attributes:
        stride: of every so many rows and columns, the first.
        voxel: side of a cube, in metres, that keeps one point, the first by rows; 0: all.
        organised: whether points that are left out stay as NaN, so that the cloud has rows.
    """

    stride: int = 1
    voxel: float = 0.0
    organised: bool = False


class Pixels(NamedTuple):
    """What the pixels of an image say.

    Attributes:
        colours: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, values as they are published.
        confidence: (H, W) uint8, 255 x probability.
    """

    colours: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray


def semantic_cloud(positions: Positions, pixels: Pixels, thinning: Thinning,
                   wanted: np.ndarray | None = None) -> np.ndarray:
    """Join positions with what pixels say.

    Args:
        positions: of the pixels.
        pixels: of the same size.
        thinning: which are kept.
        wanted: (256,) uint8, 1 for the labels whose points are kept; None for all.

    Returns:
        (h, w) of :data:`POINT` where organised, else (1, N).
    """
    if thinning.stride > 1:
        every = np.s_[::thinning.stride, ::thinning.stride]
        positions = Positions(*(np.ascontiguousarray(plane[every]) for plane in positions))
        pixels = Pixels(*(np.ascontiguousarray(plane[every]) for plane in pixels))
    valid = positions.valid
    if wanted is not None:
        valid = valid & cv2.LUT(pixels.labels, wanted).astype(bool)
    if thinning.voxel:
        valid = _first_in_voxels(positions, valid, thinning.voxel)
    kept = int(np.count_nonzero(valid))
    if thinning.organised:
        return _interleaved(_blanked(positions, valid), pixels).view(POINT)[..., 0]
    if kept < _FEW * valid.size:
        chosen = np.flatnonzero(valid)
        return _interleaved(Positions(*(plane.reshape(1, -1).take(chosen, 1)
                                        for plane in positions)),
                            Pixels(pixels.colours.reshape(1, -1, 3).take(chosen, 1),
                                   *(plane.reshape(1, -1).take(chosen, 1)
                                     for plane in pixels[1:]))).view(POINT)[..., 0]
    points = _interleaved(positions, pixels)
    if kept == valid.size:
        return points.reshape(1, -1, _FLOATS).view(POINT)[..., 0]
    return points.view(_WHOLE)[..., 0][valid].view(POINT)[None]


def _blanked(positions: Positions, valid: np.ndarray) -> Positions:
    """Return positions that are NaN where they are not valid."""
    blank = (~valid).astype(np.int32)
    blank *= _NAN_BITS
    x, y, z = ((plane.view(np.int32) | blank).view(np.float32) for plane in positions[:3])
    return Positions(x, y, z, valid)


def _interleaved(positions: Positions, pixels: Pixels) -> np.ndarray:
    """Return (H, W, 6) float32: the bytes of the points, whose last ones are zero."""
    height, width = pixels.labels.shape
    if not height * width:
        return np.empty((1, 0, _FLOATS), np.float32)
    colours = np.zeros((height, width, 4), np.uint8)  # blue, green, red, nothing: low byte first
    cv2.mixChannels([pixels.colours], [colours], [0, 2, 1, 1, 2, 0])
    confidence = pixels.confidence.astype(np.float32)
    confidence *= np.float32(1 / 255)
    planes = (*positions[:3], colours.view(np.float32)[..., 0], confidence,
              pixels.labels.astype("<u4").view(np.float32))
    return cv2.merge(planes)  # a third of the time that assigning the planes one by one takes


def _first_in_voxels(positions: Positions, valid: np.ndarray, side: float) -> np.ndarray:
    """Return which of the valid points are the first, row by row, in their cube of a grid."""
    cells = [plane * np.float32(1 / side) for plane in positions[:3]]
    for cell in cells:
        np.floor(cell, out=cell)
    first = valid.copy()
    # A point beside or below one of the same cube is not the first; few others are left to sort.
    x, y, z = cells
    first[:, 1:] &= ((x[:, 1:] != x[:, :-1]) | (y[:, 1:] != y[:, :-1])
                     | (z[:, 1:] != z[:, :-1]) | ~valid[:, :-1])
    first[1:] &= (x[1:] != x[:-1]) | (y[1:] != y[:-1]) | (z[1:] != z[:-1]) | ~valid[:-1]
    left = np.flatnonzero(first)
    key = np.zeros(len(left), np.int64)
    for cell in cells:  # 21 bits each: cubes repeat after two million of them
        key = (key << 21) | (cell.ravel()[left].astype(np.int64) & 0x1FFFFF)
    _, chosen = np.unique(key, return_index=True)
    result = np.zeros(valid.size, bool)
    result[left[chosen]] = True
    return result.reshape(valid.shape)
