"""Whether a thing may stand where it was put: no collision, well in view, not hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sclip_research.scenes.camera import NEAR, Camera
from sclip_research.scenes.furniture import Model, turn

REFERENCE_HEIGHT, REFERENCE_WIDTH = 480, 640
GAP = 0.03
Frame = tuple[float, float, float, float]
FLAT_NOUNS = ("rug", "cable")
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
    frame: Frame | None = None

    def framed(self, camera: Camera) -> Placed:
        """Return the same with its frame: left, top, right, bottom in the reference image."""
        points = camera.project(self.corners(), REFERENCE_HEIGHT, REFERENCE_WIDTH)
        if points[:, 2].min() < 5 * NEAR:
            return self
        (left, top), (right, bottom) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        return replace(self, frame=(float(left), float(top), float(right), float(bottom)))

    def size_fits(self) -> bool:
        """Check extent in pixels and the share inside the image, kinder to furniture."""
        if self.frame is None:
            return False
        left, top, right, bottom = self.frame
        width, height = right - left, bottom - top
        whole = (0.0, 0.0, float(REFERENCE_WIDTH), float(REFERENCE_HEIGHT))
        share = _overlap(self.frame, whole) / max(_area(self.frame), 1.0)
        if self.noun in LARGE_NOUNS:
            least = {"door": 0.3, "lamp": 0.75, "chair": 0.75}.get(self.noun, 0.6)
            return max(width, height) < 620 and min(width, height) > 35 and share > least
        return 62 <= max(width, height) <= 240 and min(width, height) >= 34 and share > 0.88

    @cached_property
    def footprint(self) -> np.ndarray:
        """The four corners (4, 2) of the footprint in world coordinates."""
        x, y = self.model.half
        corners = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        return corners @ turn(self.yaw)[:2, :2].T + np.array(self.position[:2])

    def contact_half(self) -> tuple[float, float]:
        """Return half the sides of the part of the footprint that touches the ground."""
        shrink = {"ball": 0.35, "lamp": 0.6, "bowl": 0.45, "cup": 0.85}.get(self.noun, 1.0)
        return self.model.half[0] * shrink, self.model.half[1] * shrink

    def corners(self) -> np.ndarray:
        """Return the eight corners (8, 3) of the upright box around the model."""
        ground = self.footprint
        low, high = self.position[2], self.position[2] + self.model.height
        return np.concatenate([
            np.column_stack([ground, np.full(4, level)]) for level in (low, high)
        ])  # fmt: skip


def collides(first: Placed, second: Placed) -> bool:
    """Tell whether two things touch, by separating axes of their footprints and by height."""
    if first.noun in FLAT_NOUNS or second.noun in FLAT_NOUNS:
        return {first.noun, second.noun} <= {*FLAT_NOUNS, "door"}
    if first.support == second.index or second.support == first.index:
        return False
    low = max(first.position[2], second.position[2])
    high = min(first.position[2] + first.model.height, second.position[2] + second.model.height)
    if low > high:
        return False
    corners = first.footprint, second.footprint
    for yaw in (first.yaw, second.yaw):
        for angle in (yaw, yaw + 0.5 * math.pi):
            axis = np.array([math.cos(angle), math.sin(angle)])
            one, two = corners[0] @ axis, corners[1] @ axis
            if one.max() + GAP < two.min() or two.max() + GAP < one.min():
                return False
    return True


def well_seen(candidate: Placed, others: Sequence[Placed], eye: tuple[float, float, float]) -> bool:
    """Tell whether the candidate, seen from the eye, neither is hidden nor hides another."""
    if candidate.noun == "rug":
        return True
    upright = [other for other in others if other.noun != "rug"]
    if hidden(candidate, upright, eye):
        return False
    return not any(
        hidden(other, [candidate, *(o for o in upright if o is not other)], eye)
        for other in upright
        if other.noun != "door"
    )


def hidden(thing: Placed, others: Sequence[Placed], eye: tuple[float, float, float],
           most: float | None = None) -> bool:  # fmt: skip
    """Tell whether nearer things cover too much of the thing's frame.

    Args:
        most: the share of the frame that may be covered; None goes by the noun.
    """
    if thing.frame is None or thing.noun == "door":
        return False
    depth = math.dist(thing.position[:2], eye[:2])
    covered = sum(
        _overlap(thing.frame, other.frame)
        for other in others
        if other.frame is not None
        and math.dist(other.position[:2], eye[:2]) < depth
        and other.support != thing.index
        and thing.support != other.index
    )
    if most is None:
        most = 0.65 if thing.noun in LARGE_NOUNS else 0.4
    return covered > most * _area(thing.frame)


def _area(frame: Frame) -> float:
    """Return the area of a frame in square pixels."""
    return (frame[2] - frame[0]) * (frame[3] - frame[1])


def _overlap(first: Frame, second: Frame) -> float:
    """Return the area that two frames share, in square pixels."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
