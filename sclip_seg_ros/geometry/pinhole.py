"""A pinhole camera, by the numbers of a calibration.

Pixel centres have whole coordinates, as in ROS and OpenCV: the first pixel reaches from -0.5 to
0.5. So an image's size changes about its corner, not about its first pixel's centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]  # height, width in pixels


def resizing(size: Size, target: Size) -> np.ndarray:
    """Return the (3, 3) matrix from pixel coordinates in an image to those at another size."""
    (height, width), (rows, columns) = size, target
    down, across = rows / height, columns / width
    return np.array([[across, 0.0, 0.5 * across - 0.5], [0.0, down, 0.5 * down - 0.5],
                     [0.0, 0.0, 1.0]])


def cropping(left: int, top: int) -> np.ndarray:
    """Return the (3, 3) matrix from pixel coordinates in an image to those in a part of it."""
    return np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point of an image, in pixels.

    Attributes:
        fx, fy: focal lengths.
        cx, cy: principal point.
        size: (H, W) of the image.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: Size

    @classmethod
    def of(cls, projection: Sequence[float] | np.ndarray, size: Size) -> Pinhole:
        """Take the numbers from a matrix, (3, 3) or (3, 4), as one row after the other.

        Raises:
            ValueError: a focal length that is none, as of a camera without calibration.
        """
        matrix = np.asarray(projection, np.float64).reshape(3, -1)
        fx, fy = float(matrix[0, 0]), float(matrix[1, 1])
        if not (np.isfinite(matrix).all() and fx > 0 and fy > 0):
            raise ValueError(f"focal lengths of {fx:g} and {fy:g} pixels are none; calibrate the "
                             "camera")
        return cls(fx, fy, float(matrix[0, 2]), float(matrix[1, 2]), size)

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x/z of every column (W,) and y/z of every row (H,), float32."""
        height, width = self.size
        return (((np.arange(width) - self.cx) / self.fx).astype(np.float32),
                ((np.arange(height) - self.cy) / self.fy).astype(np.float32))
