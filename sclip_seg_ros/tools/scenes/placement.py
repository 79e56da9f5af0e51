"""Whether a thing may stand where it was put: no collision, well in view, not hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .camera import NEAR, Camera
from .furniture import Model, turn

REFERENCE_HEIGHT, REFERENCE_WIDTH = 480, 640
GAP = 0.03
LARGE_NOUNS = ("table", "chair", "lamp", "rug", "door")


@dataclass(frozen=True, eq=False)
class Placed:
    """A model at a position and yaw, on the floor or on the thing of index `support`."""

    index: int
    noun: str
    model: Model
    position: tuple[float, float, float]
    yaw: float
    support: int

    def footprint(self) -> np.ndarray:
        """Return the four corners (4, 2) of the footprint in world coordinates."""
        x, y = self.model.half
        corners = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        return corners @ turn(self.yaw)[:2, :2].T + np.array(self.position[:2])

    def contact_half(self) -> tuple[float, float]:
        """Return half the sides of the part of the footprint that touches the ground."""
        shrink = {"ball": 0.35, "lamp": 0.6, "bowl": 0.45, "cup": 0.85}.get(self.noun, 1.0)
        return self.model.half[0] * shrink, self.model.half[1] * shrink

    def corners(self) -> np.ndarray:
        """Return the eight corners (8, 3) of the upright box around the model."""
        ground = self.footprint()
        low, high = self.position[2], self.position[2] + self.model.height
        return np.concatenate([
            np.column_stack([ground, np.full(4, level)]) for level in (low, high)
        ])  # fmt: skip

    def frame(self, camera: Camera) -> tuple[float, float, float, float] | None:
        """Return left, top, right, bottom in the reference image; None if not all in front."""
        points = camera.project(self.corners(), REFERENCE_HEIGHT, REFERENCE_WIDTH)
        if points[:, 2].min() < 5 * NEAR:
            return None
        (left, top), (right, bottom) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        return float(left), float(top), float(right), float(bottom)


def collides(first: Placed, second: Placed) -> bool:
    """Tell whether two things touch, by separating axes of their footprints and by height."""
    if "rug" in (first.noun, second.noun):
        return {first.noun, second.noun} <= {"rug", "door"}
    if first.support == second.index or second.support == first.index:
        return False
    low = max(first.position[2], second.position[2])
    high = min(first.position[2] + first.model.height, second.position[2] + second.model.height)
    if low > high:
        return False
    corners = first.footprint(), second.footprint()
    for yaw in (first.yaw, second.yaw):
        for angle in (yaw, yaw + 0.5 * math.pi):
            axis = np.array([math.cos(angle), math.sin(angle)])
            one, two = corners[0] @ axis, corners[1] @ axis
            if one.max() + GAP < two.min() or two.max() + GAP < one.min():
                return False
    return True


def well_seen(candidate: Placed, others: Sequence[Placed], camera: Camera) -> bool:
    """Tell whether the candidate is large enough in view and neither hidden nor hiding."""
    frame = candidate.frame(camera)
    if frame is None or not _size_fits(candidate.noun, frame):
        return False
    ranked = [(other, other.frame(camera)) for other in others if other.noun != "rug"]
    if candidate.noun == "rug":
        return True
    frames = [(candidate, frame), *((o, f) for o, f in ranked if f is not None)]
    depths = {id(p): math.dist(p.position[:2], camera.position[:2]) for p, _ in frames}
    for thing, seen in frames:
        hidden = sum(
            _overlap(seen, cover)
            for other, cover in frames
            if depths[id(other)] < depths[id(thing)]
            and other.support != thing.index
            and thing.support != other.index
            and thing.noun != "door"
        )
        limit = 0.65 if thing.noun in LARGE_NOUNS else 0.4
        if hidden > limit * _area(seen):
            return False
    return True


def _size_fits(noun: str, frame: tuple[float, float, float, float]) -> bool:
    """Check extent in pixels and the share inside the image, kinder to furniture."""
    left, top, right, bottom = frame
    width, height = right - left, bottom - top
    inside = _overlap(frame, (0.0, 0.0, float(REFERENCE_WIDTH), float(REFERENCE_HEIGHT)))
    share = inside / max(_area(frame), 1.0)
    if noun in LARGE_NOUNS:
        least = {"door": 0.3, "lamp": 0.75, "chair": 0.75}.get(noun, 0.6)
        return max(width, height) < 620 and min(width, height) > 35 and share > least
    return 62 <= max(width, height) <= 240 and min(width, height) >= 34 and share > 0.88


def _area(frame: tuple[float, float, float, float]) -> float:
    return (frame[2] - frame[0]) * (frame[3] - frame[1])


def _overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Return the area that two frames share, in square pixels."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
