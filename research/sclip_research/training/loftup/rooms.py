"""Rendered rooms as training images: their masks are exact, and come for nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sclip_research.training.loftup.views import random_view
from sclip_research.training.scene_pool import HEIGHT, ScenePool, relight

SMALLEST_VIEW = 0.75    # of a room: things then look up to a third larger than they were rendered


class Rooms:
    """Random squares of a pool of rendered rooms; every thing is a mask, the walls too."""

    def __init__(self, folder: Path, count: int, seed: int, world: str = "toy",
                 height: int = HEIGHT) -> None:
        """Open the pool in a folder, rendering what is missing.

        Raises:
            ValueError: no rooms, or no such world.
        """
        if count < 1:
            raise ValueError(f"rooms={count} is too few; give 1 or more")
        self._arguments = (folder, count, seed, world, height)
        self._pool = ScenePool(folder, count, seed, world=world, height=height)

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self._pool)

    def __reduce__(self) -> tuple:
        """Let another process open the same pool instead of receiving its pixels."""
        return Rooms, self._arguments

    def crop(self, index: int, side: int,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random square and its label map."""
        crop = self._pool.crop(index, side, rng)
        return crop.image, crop.mask.astype(np.int32) + 1

    def view(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return a random part of a room, of a size."""
        return relight(random_view(self._pool.image(index), size, SMALLEST_VIEW, rng), rng)
