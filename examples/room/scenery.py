"""A rendered room with a depth camera: what it sees, where it stands, and the true floor plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from sclip_research.scenes import Camera, RenderedScene, camera_path, render, sample_scene
from sclip_research.scenes.casting import hit_distance

FREE_NOUNS = ("floor", "rug")  # what a robot may drive on
CEILING = 2.2                  # metres: the plan is seen from there
SAMPLES = 5                    # along each side of a cell of the plan
# Along a side of a box a ray would divide by zero and miss it. It strays by less than 0.01 mm.
_ALMOST_DOWN = (1e-6, 3e-6, -1.0)


class Room:
    """A random room, filmed by a camera that moves through it.

    World axes: x to the right, y into the room, z up, in metres; the floor is at z = 0.
    """

    def __init__(self, seed: int, frames: int, size: tuple[int, int]) -> None:
        """Furnish the room.

        Args:
            seed: of the room.
            frames: of the camera's path.
            size: (H, W) of the images.
        """
        self.scene = sample_scene(np.random.default_rng(seed))
        self.cameras = camera_path(self.scene, frames)
        self.size = size
        self._shots: dict[int, RenderedScene] = {}

    def shot(self, index: int) -> RenderedScene:
        """Return what the camera sees at a place of its path."""
        index %= len(self.cameras)
        if index not in self._shots:
            self._shots[index] = render(self.scene, *self.size, camera=self.cameras[index])
        return self._shots[index]

    @cached_property
    def phrases(self) -> list[str]:
        """What the room's things are called, such as "red ball"."""
        return sorted({thing.phrase for thing in self.scene.things})

    def is_free(self, phrase: str) -> bool:
        """Tell whether a robot may drive on what a phrase names."""
        return phrase.rpartition(" ")[2] in FREE_NOUNS

    def cost(self, phrase: str) -> int:
        """Return the highest cost of a class, as in config/nav2_semantic_layer.yaml."""
        return 0 if self.is_free(phrase) else 254

    def occupied(self, cells: np.ndarray, side: float) -> np.ndarray:
        """Return whether a thing, or the wall, stands in cells of the floor; by the scene itself.

        Args:
            cells: (N, 2) whole numbers: x and y of the cells' lower corners, in sides.
            side: of a cell, in metres.
        """
        steps = np.linspace(0.0, 1.0, SAMPLES)
        across, ahead = (part.ravel() for part in np.meshgrid(steps, steps))
        x = ((cells[:, :1] + across) * side).astype(np.float32)
        y = ((cells[:, 1:] + ahead) * side).astype(np.float32)
        level, high = np.zeros_like(x), np.full_like(x, CEILING)
        down = [np.full_like(x, speed) for speed in _ALMOST_DOWN]
        nearest, owner = np.full(x.shape, np.inf, np.float32), np.full(x.shape, -1)
        behind_wall = np.zeros(x.shape, bool)
        position = self.scene.camera.position
        with np.errstate(all="ignore"):
            for part in self.scene.parts:
                if self.scene.things[part.thing].noun == "wall":
                    towards = (x - position[0], y - position[1], level)
                    distance, _ = hit_distance(part, position, towards)
                    behind_wall |= np.broadcast_to(distance, x.shape) < 1
                    continue
                distance, _ = hit_distance(part, (x, y, high), down)
                distance = np.broadcast_to(distance, x.shape)
                owner = np.where(distance < nearest, part.thing, owner)
                nearest = np.minimum(nearest, distance)
        free = np.array([self.is_free(thing.phrase) for thing in self.scene.things])
        return (behind_wall | (owner >= 0) & ~free[owner]).any(axis=1)


def to_world(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Bring points (N, 3) from the camera's optical frame (right, down, forward) to the world."""
    right, up, forward = camera.axes()
    return points @ np.stack([right, -up, forward]) + np.array(camera.position)


def focal_matrix(camera: Camera, size: Sequence[int]) -> list[float]:
    """Return the nine numbers of the camera's K, whose pixel centres are whole numbers."""
    height, width = size
    focal = camera.focal(width)
    return [focal, 0.0, width / 2 - 0.5, 0.0, focal, height / 2 - 0.5, 0.0, 0.0, 1.0]
