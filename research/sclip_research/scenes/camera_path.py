"""The small loop that a camera travels through a scene for a demonstration."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.camera import Camera, look_at
from sclip_research.scenes.scene import Scene


def camera_path(scene: Scene, frames: int) -> list[Camera]:
    """Return a smooth closed loop around the scene's own view, one camera a frame.

    The camera sways sideways, dollies gently and keeps its eye on the middle of the scene;
    the frame after the last is the first again.

    Raises:
        ValueError: frames is below one.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; a path needs at least 1")
    start = scene.camera
    right, _, forward = start.axes()
    ahead = np.array([forward[0], forward[1], 0.0])
    ahead /= np.linalg.norm(ahead)
    reach = scene.focus_distance
    target = np.array(start.position) + reach * forward
    path = []
    for frame in range(frames):
        phase = 2.0 * math.pi * frame / frames
        sway = 0.14 * reach * math.sin(phase)
        dolly = 0.05 * reach * (math.cos(phase) - 1.0) + 0.02 * reach * math.sin(2.0 * phase)
        rise = 0.03 * reach * (1.0 - math.cos(phase))
        position = np.array(start.position) + sway * right + dolly * ahead
        position[2] += rise
        path.append(look_at(position, target, start.field_of_view))
    # Looking at the target gives back the first view only up to rounding.
    return [start, *path[1:]]
