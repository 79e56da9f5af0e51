"""A grid of the floor on which labelled points vote: a small semantic costmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

CELL = 0.1          # metres
MOST_CELLS = 400    # along each side of the grid, which lies around the origin
LEAST_POINTS = 10   # that a cell needs before it counts as observed
_NOBODY = -1


class SemanticGrid:
    """Let each image vote once a cell, as Nav2's semantic layer does, by the names of classes.

    Of an image's points in a cell the dearest class votes, and of its points the most confident
    (``use_cost_selection: true``): so a table is there, though the floor is seen below its top.
    A cell belongs to the class with most votes; where another takes it over, all others lose theirs
    there. Votes belong to names and not to ids, so that they stay right when ids get other
    meanings.
    """

    def __init__(self, cost: Callable[[str], float]) -> None:
        """Begin with an empty grid.

        Args:
            cost: of a class by its name, as the layer's file states it.
        """
        self.names: list[str] = []
        self._cost = cost
        self._costs = np.zeros(0)
        self._votes = np.zeros((0, MOST_CELLS**2), int)
        self._owner = np.full(MOST_CELLS**2, _NOBODY)
        self._points = np.zeros(MOST_CELLS**2, int)

    def add(self, points: np.ndarray, labels: np.ndarray, confidence: np.ndarray,
            names: dict[int, str]) -> None:
        """Let an image's points vote.

        Args:
            points: (N, 3) in metres, z up; outside the grid they are left out.
            labels: (N,) ids; one without a name has no vote.
            confidence: (N,).
            names: by id.
        """
        steps = np.floor(points[:, :2] / CELL).astype(int) + MOST_CELLS // 2
        inside = ((steps >= 0) & (steps < MOST_CELLS)).all(axis=1)
        cells = steps[inside] @ (MOST_CELLS, 1)
        np.add.at(self._points, cells, 1)
        table = np.full(256, _NOBODY)
        for value, name in names.items():
            table[value] = self._row_of(name)
        rows, confidence = table[labels[inside]], confidence[inside]
        named = rows != _NOBODY
        cells, rows, confidence = cells[named], rows[named], confidence[named]
        order = np.lexsort((-confidence, -self._costs[rows], cells))
        cells, first = np.unique(cells[order], return_index=True)
        self._vote(cells, rows[order[first]])

    @property
    def observed(self) -> np.ndarray:
        """The cells that enough points fell into: (N, 2), lower corners in sides of a cell."""
        found = np.flatnonzero(self._points >= LEAST_POINTS)
        return np.stack(np.divmod(found, MOST_CELLS), -1) - MOST_CELLS // 2

    def belongs(self, cells: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Tell which cells belong to one of some classes, (N,)."""
        rows = [self.names.index(name) for name in names if name in self.names]
        return np.isin(self._owner[(cells + MOST_CELLS // 2) @ (MOST_CELLS, 1)], rows)

    def _vote(self, cells: np.ndarray, rows: np.ndarray) -> None:
        """Count one vote for the class of a row in each of some different cells."""
        self._votes[rows, cells] += 1
        owner = self._owner[cells]
        most = np.where(owner == _NOBODY, 0, self._votes[owner, cells])
        taken = (owner != rows) & (self._votes[rows, cells] > most)
        cells, rows = cells[taken], rows[taken]
        kept = self._votes[rows, cells]
        self._votes[:, cells] = 0
        self._votes[rows, cells] = kept
        self._owner[cells] = rows

    def _row_of(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
            self._costs = np.append(self._costs, self._cost(name))
            self._votes = np.concatenate([self._votes, np.zeros((1, MOST_CELLS**2), int)])
        return self.names.index(name)
