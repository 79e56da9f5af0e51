"""Notice image sizes that keep coming."""

from __future__ import annotations

from collections.abc import Sequence

TIMES = 3  # batches of the same sizes in a row that are taken for a habit
MOST = 8   # habits; whoever has more of them has none

Size = tuple[int, int]  # height and width, pixels


class SteadySizes:
    """Tell once of every batch of images whether its sizes have come to stay.

    What is prepared for a size (a CUDA graph, say) is worth its time and memory only then: a camera
    keeps its size, but several cameras meet in batches of every combination, and nobody prevents a
    publisher from sending another size each time.
    """

    def __init__(self) -> None:
        """Begin without any habit."""
        self._habits: set[tuple[Size, ...]] = set()
        self._last: tuple[Size, ...] = ()
        self._times = 0  # that it came in a row

    def news(self, sizes: Sequence[Size]) -> bool:
        """Count a batch; return whether its sizes have just become a habit."""
        batch = tuple(sorted(sizes))
        if batch in self._habits or len(self._habits) >= MOST:
            return False
        self._times = self._times + 1 if batch == self._last else 1
        self._last = batch
        if self._times < TIMES:
            return False
        self._habits.add(batch)
        return True
