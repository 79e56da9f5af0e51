"""Neighbours of every pixel as shifted views, for filters that weigh a ring of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def ring_offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Return the (dy, dx) of the 8 neighbours at every distance, distance by distance."""
    return [(step * dy, step * dx) for step in dilations for dy, dx in DIRECTIONS]


class EdgePadded:
    """Maps with their edges repeated once, so that a shift of them is a view and not a copy."""

    def __init__(self, maps: Tensor, reach: int) -> None:
        """Repeat the edges of (..., H, W) maps as far as shifts of up to ``reach`` pixels need.

        A shift by the whole side or more reads the edge everywhere, as does one by the side less
        1. So no more than that is padded, whatever the reach.
        """
        self.height, self.width = maps.shape[-2:]
        self.reach_y, self.reach_x = min(reach, self.height - 1), min(reach, self.width - 1)
        self.data = _repeat_edges(maps, self.reach_y, self.reach_x)

    def shift(self, dy: int, dx: int) -> Tensor:
        """Return the view (..., H, W) whose pixel (y, x) is the map's (y + dy, x + dx)."""
        top = self.reach_y + max(-self.reach_y, min(dy, self.reach_y))
        left = self.reach_x + max(-self.reach_x, min(dx, self.reach_x))
        return self.data[..., top:top + self.height, left:left + self.width]


def _repeat_edges(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Pad by replication; on a CPU several times faster than torch's own."""
    height, width = maps.shape[-2:]
    bottom, right = rows + height, columns + width
    padded = maps.new_empty(*maps.shape[:-2], bottom + rows, right + columns)
    middle = padded[..., rows:bottom, :]
    middle[..., columns:right] = maps
    middle[..., :columns] = maps[..., :1]
    middle[..., right:] = maps[..., -1:]
    padded[..., :rows, :] = middle[..., :1, :]
    padded[..., bottom:, :] = middle[..., -1:, :]
    return padded
