"""The room itself: walls, ceiling, camera, light, and what the camera does to the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.indoor.building import between
from sclip_research.scenes.primitives import Plane
from sclip_research.scenes.scene import Lighting, Look

ROBOT_HEIGHT, PERSON_HEIGHT = (0.25, 0.65), (1.25, 1.75)


@dataclass(frozen=True)
class Room:
    """Where the walls stand, metres from the camera; None for what is not there.

    The back wall lies ahead, left and right walls at x = -left and x = right.
    """

    back: float
    left: float | None
    right: float | None
    ceiling: float | None

    def planes(self, noun: str) -> list[Plane]:
        """List the endless planes that are the floor, the wall or the ceiling."""
        if noun == "floor":
            return [Plane(2, 0.0)]
        if noun == "ceiling":
            return [] if self.ceiling is None else [Plane(2, self.ceiling, facing=-1.0)]
        planes = [Plane(1, self.back, facing=-1.0)]
        if self.left is not None:
            planes.append(Plane(0, -self.left, facing=1.0))
        if self.right is not None:
            planes.append(Plane(0, self.right, facing=-1.0))
        return planes

    def holds(self, corners: np.ndarray, gap: float = 0.0) -> bool:
        """Tell whether a footprint (4, 2) lies within the walls."""
        x, y = corners[:, 0], corners[:, 1]
        return bool(
            y.max() <= self.back - gap
            and (self.left is None or x.min() >= -self.left + gap)
            and (self.right is None or x.max() <= self.right - gap)
        )


def draw_room(rng: np.random.Generator) -> tuple[Room, Camera]:
    """Draw a room, and a view from a robot's or a person's height."""
    back = between(rng, 2.6, 6.5)
    left = between(rng, 1.2, 3.2) if rng.random() < 0.6 else None
    right = between(rng, 1.2, 3.2) if rng.random() < 0.6 else None
    room = Room(back, left, right, between(rng, 2.3, 3.0) if rng.random() < 0.8 else None)
    draw = rng.random()
    low, high = ROBOT_HEIGHT if draw < 0.45 else PERSON_HEIGHT if draw < 0.85 else (0.65, 1.25)
    height = between(rng, low, high)
    aim, target = between(rng, 1.8, 4.0), between(rng, 0.0, 0.9)
    pitch = math.atan2(target - height, aim) + between(rng, -0.05, 0.08)
    field_of_view = math.radians(between(rng, 52.0, 78.0))
    return room, Camera((0.0, 0.0, height), between(rng, -0.6, 0.6), pitch, field_of_view)


def draw_light(rng: np.random.Generator, room: Room, camera: Camera, focus: float) -> Lighting:
    """Hang the lamp somewhere over the middle of the view, or let light come from one side."""
    yaw = camera.yaw
    angle = float(rng.uniform(-math.pi, math.pi))
    away = between(rng, 0.3, 2.2)
    x = focus * math.sin(yaw) + away * math.sin(angle)
    y = min(focus * math.cos(yaw) + away * math.cos(angle), room.back - 0.4)
    if room.left is not None:
        x = max(x, 0.3 - room.left)
    if room.right is not None:
        x = min(x, room.right - 0.3)
    top = (room.ceiling or 2.9) - 0.15
    fill = np.array([-math.sin(angle), -0.8, 0.5])
    fill /= np.linalg.norm(fill)
    return Lighting(
        (float(x), float(y), between(rng, 1.6, top)), between(rng, 0.05, 0.45),
        between(rng, 0.45, 1.0), (float(fill[0]), float(fill[1]), float(fill[2])),
        between(rng, 0.1, 0.35), between(rng, 0.3, 0.58),
    )  # fmt: skip


def draw_look(rng: np.random.Generator) -> Look:
    """Draw a camera: mostly a good one, at times out of focus, shaken, dark or noisy."""
    warm, tint = float(rng.normal(0.0, 0.05)), float(rng.normal(0.0, 0.02))
    smear = (0.0, 0.0)
    if rng.random() < 0.2:
        angle, reach = between(rng, 0.0, math.pi), between(rng, 2.0, 9.0)
        smear = (reach * math.cos(angle), reach * math.sin(angle))
    return Look(
        exposure=float(np.exp(rng.normal(0.0, 0.2))),
        white_balance=(1.0 + warm, 1.0 + tint, 1.0 - warm),
        blur=between(rng, 0.3, 0.9),
        vignette=between(rng, 0.0, 0.45),
        noise=float(np.exp(rng.uniform(math.log(0.003), math.log(0.03)))),
        noise_seed=int(rng.integers(2**31)),
        defocus=between(rng, 0.6, 2.2) if rng.random() < 0.15 else 0.0,
        smear=smear,
        chroma=between(rng, 0.003, 0.025) if rng.random() < 0.3 else 0.0,
    )
