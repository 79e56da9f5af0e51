"""Grids and images of any size, for every upsampler."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import interpolate


def checked_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Return a patch grid, or refuse one without patches."""
    if min(grid) < 1:
        raise ValueError(f"patch grid {tuple(grid)} is empty; enlarge the image")
    return grid


def upsampled_size(grid: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return (rows, columns) of a grid enlarged by a factor, each rounded to nearest, half up.

    Raises:
        ValueError: an empty grid or a factor below 1.
    """
    if not 1.0 <= factor < math.inf:
        raise ValueError(f"upsampling factor {factor} is out of range; give 1 or more")
    rows, columns = (math.floor(side * factor + 0.5) for side in checked_grid(grid))
    return rows, columns


def upsample_bilinear(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate (B, D, h, w) to (B, D, *size); corners are not aligned."""
    return interpolate(features, size=size, mode="bilinear", align_corners=False)


def resize_guidance(guidance: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (B, 3, H, W) to the output grid in float32, bilinear with antialiasing."""
    return interpolate(guidance.float(), size=size, mode="bilinear", align_corners=False,
                       antialias=True)
