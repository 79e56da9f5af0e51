"""Fit a position embedding learnt on one patch grid to another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# DINO's guard against a scale factor that rounds one row short; SCLIP keeps it, and it shifts the
# result by several per cent, so parity with published scores needs it too.
_GUARD = 0.1


def interpolate_position_embedding(table: Tensor, native: tuple[int, int],
                                   grid: tuple[int, int], prefix: int = 1,
                                   guard: bool = True, antialias: bool = False) -> Tensor:
    """Interpolate a position embedding to a patch grid, as SCLIP's reference does.

    Bicubic with ``scale_factor = (side + 0.1) / native side``. The reference compares token
    *counts* and so gives a 7x28 grid the 14x14 table; grids are compared here, which differs from
    it in that one case and is right.

    Args:
        table: (prefix + n, W), the leading tokens' rows first.
        native: (rows, columns) of the grid the table was learnt on, n = rows * columns.
        grid: (rows, columns) wanted.
        prefix: number of leading tokens that have a row.
        guard: add the 0.1; without, the whole plane is stretched to the grid.
        antialias: smooth where the grid is coarser; without the guard alone.

    Returns:
        (prefix + rows*columns, W) in the table's dtype.

    Raises:
        ValueError: the table does not belong to the native grid, or the grid is empty.
    """
    needed = prefix + native[0] * native[1]
    if table.shape[0] != needed:
        leading = "a class token" if prefix == 1 else f"{prefix} leading tokens"
        raise ValueError(f"position embedding has {table.shape[0]} rows, a {native[0]}x{native[1]} "
                         f"grid with {leading} needs {needed}")
    if min(grid) < 1:
        raise ValueError(f"patch grid {grid[0]}x{grid[1]} is empty; give an image of at least one "
                         "patch")
    if grid == native:
        return table
    plane = table[prefix:].float().reshape(1, *native, -1).permute(0, 3, 1, 2)
    if guard:
        scale = ((grid[0] + _GUARD) / native[0], (grid[1] + _GUARD) / native[1])
        plane = interpolate(plane, scale_factor=scale, mode="bicubic", align_corners=False,
                            recompute_scale_factor=False)
    else:
        plane = interpolate(plane, size=grid, mode="bicubic", align_corners=False,
                            antialias=antialias)
    rows = plane.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1).to(table.dtype)
    return torch.cat([table[:prefix], rows])
