"""Resample a small grid of scores along a backward flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

BEYOND = 1.0  # cells outside the picture up to which its outermost scores still hold


@dataclass(frozen=True, eq=False)
class Path:
    """Where the cells of a grid lay in an earlier frame.

    Attributes:
        places: (h, w, 2) float32, (x, y) in that frame, each -1..1 from rim to rim.
        gate: (h, w) float32 in 0..1, how well a cell looks like its place; 0 outside the picture.
        inside: (h, w) bool, whether the place lies in that picture.
    """

    places: np.ndarray
    gate: np.ndarray
    inside: np.ndarray

    @classmethod
    def over(cls, flow: np.ndarray, agreement: np.ndarray, grid: tuple[int, int]) -> Path:
        """Average a flow (H, W, 2) in pixels and its agreement (H, W) to a grid (h, w)."""
        height, width = agreement.shape
        cells = cv2.resize(flow, grid[::-1], interpolation=cv2.INTER_AREA)
        places = cells * np.array([2 / width, 2 / height], np.float32) + _centres(grid)
        beyond, across = np.abs(places), 1 + 2 * BEYOND / np.array(grid[::-1], np.float32)
        inside = (beyond[..., 0] <= across[0]) & (beyond[..., 1] <= across[1])
        gate = cv2.resize(agreement, grid[::-1], interpolation=cv2.INTER_AREA)
        gate *= (beyond[..., 0] <= 1) & (beyond[..., 1] <= 1)
        return cls(places, gate, inside)


def warp(values: Tensor, path: Path) -> Tensor:
    """Return values (Q, h, w) at their new places, bilinearly; those outside are the rim's."""
    places = torch.from_numpy(path.places).to(values.device)
    return grid_sample(values[None], places[None], mode="bilinear", padding_mode="border",
                       align_corners=False)[0]


@lru_cache(maxsize=8)
def _centres(grid: tuple[int, int]) -> np.ndarray:
    """Return the (x, y) of every cell's centre, (h, w, 2) float32, -1..1 from rim to rim.

    Do not write into it.
    """
    rows, columns = ((2 * np.arange(cells, dtype=np.float32) + 1) / cells - 1 for cells in grid)
    return np.stack(np.meshgrid(columns, rows), axis=-1)
