"""A pinhole camera in the room.

World axes: x to the right, y into the room, z up; units are metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NEAR = 0.05


@dataclass(frozen=True)
class Camera:
    """Position in metres; yaw (to the right), pitch (up) and horizontal field in radians."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    field_of_view: float

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the unit vectors right, up and forward."""
        sin_yaw, cos_yaw = math.sin(self.yaw), math.cos(self.yaw)
        sin_pitch, cos_pitch = math.sin(self.pitch), math.cos(self.pitch)
        right = np.array([cos_yaw, -sin_yaw, 0.0])
        forward = np.array([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch])
        return right, np.cross(right, forward), forward

    def focal(self, width: int) -> float:
        """Return the focal length in pixels for an image of that width."""
        return 0.5 * width / math.tan(0.5 * self.field_of_view)

    def rays(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ray through every pixel centre as three (height, width) float32 planes.

        A ray has length one along the optical axis, so a distance along it is a depth.
        """
        right, up, forward = (axis.astype(np.float32) for axis in self.axes())
        focal = self.focal(width)
        across = ((np.arange(width) + 0.5 - 0.5 * width) / focal).astype(np.float32)
        along = ((0.5 * height - np.arange(height) - 0.5) / focal).astype(np.float32)
        x, y, z = (
            (forward[k] + along * up[k])[:, None] + (across * right[k])[None, :] for k in range(3)
        )
        return x, y, z

    def project(self, points: np.ndarray, height: int, width: int) -> np.ndarray:
        """Project world points (N, 3) to (N, 3): column, row in pixels, and depth in metres."""
        right, up, forward = self.axes()
        relative = np.asarray(points, dtype=np.float64) - np.array(self.position)
        depth = relative @ forward
        scale = self.focal(width) / np.where(np.abs(depth) < NEAR, NEAR, depth)
        columns = 0.5 * width + (relative @ right) * scale
        rows = 0.5 * height - (relative @ up) * scale
        return np.stack([columns, rows, depth], axis=1)


def look_at(position: np.ndarray, target: np.ndarray, field_of_view: float) -> Camera:
    """Return a level camera at a position whose optical axis passes through the target."""
    x, y, z = (float(value) for value in np.asarray(target) - np.asarray(position))
    px, py, pz = (float(value) for value in position)
    return Camera((px, py, pz), math.atan2(x, y), math.atan2(z, math.hypot(x, y)), field_of_view)
