"""Which class was taken for which, and the scores that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

NONE = ""  # name of the column for pixels that got no class


class Confusion:
    """Pixels by true and predicted class name, gathered over images with any vocabularies.

    Scores are means over the classes that occur in the truth. On a complete validation split these
    are all classes, and the mean IoU is mmsegmentation's.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._pixels: Counter[tuple[str, str]] = Counter()

    def add(self, table: np.ndarray, names: Sequence[str]) -> None:
        """Add one image's table (C, C + 1) of `metrics.confusion_table`."""
        self.add_cells(((*cell, table[tuple(cell)]) for cell in np.argwhere(table)), names)

    def add_cells(self, cells: Iterable[Sequence[int]], names: Sequence[str]) -> None:
        """Add single cells of a table: (true id, predicted id, pixels)."""
        columns = (*names, NONE)
        for actual, predicted, pixels in cells:
            self._pixels[names[actual], columns[predicted]] += int(pixels)

    def true_pixels(self) -> dict[str, int]:
        """Return the number of pixels of every class that occurs in the truth."""
        return self._sums(0)

    def iou(self) -> dict[str, float]:
        """Return the intersection over union of every class that occurs in the truth."""
        predicted = self._sums(1)
        return {name: self._pixels[name, name]
                / (pixels + predicted.get(name, 0) - self._pixels[name, name])
                for name, pixels in self.true_pixels().items()}

    def accuracy(self) -> dict[str, float]:
        """Return the share of the pixels of every class in the truth that was recognised."""
        return {name: self._pixels[name, name] / pixels
                for name, pixels in self.true_pixels().items()}

    def pixel_accuracy(self) -> float | None:
        """Return the share of all pixels that was recognised; None without pixels."""
        total = self._pixels.total()
        right = sum(count for (actual, label), count in self._pixels.items() if actual == label)
        return right / total if total else None

    def frequency_weighted_iou(self) -> float | None:
        """Return the IoU weighted with the classes' shares of the truth; None without pixels."""
        iou, pixels = self.iou(), self.true_pixels()
        total = sum(pixels.values())
        return sum(pixels[name] * iou[name] for name in iou) / total if total else None

    def shares(self, rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        """Return what share of each row's true pixels was taken for each column's class."""
        pixels = self.true_pixels()
        return [[self._pixels[actual, label] / pixels[actual] for label in columns]
                for actual in rows]

    def _sums(self, axis: int) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for pair, count in self._pixels.items():
            sums[pair[axis]] += count
        return {name: count for name, count in sorted(sums.items()) if count and name != NONE}
