"""A picture to warm up with, and to keep a node busy."""

from __future__ import annotations

import numpy as np

_AREAS = (6, 8)  # rows and columns
_NOISE = 6.0     # standard deviation in grey levels


def patchwork(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an (H, W, 3) uint8 image with areas, edges and some noise, as a camera's has."""
    generator = np.random.default_rng(seed)
    rows, columns = _AREAS
    areas = generator.integers(0, 256, (rows, columns, 3))
    image = areas.repeat(-(-height // rows), axis=0).repeat(-(-width // columns), axis=1)
    image = image[:height, :width]
    return np.clip(image + generator.normal(0, _NOISE, image.shape), 0, 255).astype(np.uint8)
