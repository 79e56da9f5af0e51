"""Which class was taken for which, gathered over images whose vocabularies differ, and scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np

IGNORE = 255  # truth value of pixels that count nowhere
NONE = ""     # name of the column for pixels that got no class


def confusion_table(labels: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Count the pixels of each pair of true and predicted class.

    Args:
        labels: (H, W) predicted ids; `count` or more is not a class.
        truth: (H, W) true ids; 255 is left out.
        count: number of classes, C.

    Returns:
        (C, C + 1) int64: rows are true, columns predicted classes, the last one "no class".

    Raises:
        ValueError: images of different sizes, or a true id without a class.
    """
    if labels.shape != truth.shape:
        raise ValueError(f"labels of shape {labels.shape} cannot be compared with truth of shape "
                         f"{truth.shape}; resize one of them first")
    valid = truth != IGNORE
    actual = truth[valid].astype(np.int64)
    if actual.size and actual.max() >= count:
        raise ValueError(f"truth holds id {actual.max()}, but there are {count} names; name it, or "
                         f"mark its pixels {IGNORE}")
    predicted = np.minimum(labels[valid].astype(np.int64), count)
    pairs = np.bincount(actual * (count + 1) + predicted, minlength=count * (count + 1))
    return pairs.reshape(count, count + 1)


class Confusion:
    """Pixels by true and predicted class name, gathered over images with any vocabularies.

    Scores are means over the classes that occur in the truth. On a complete validation split these
    are all classes, and the mean IoU is mmsegmentation's.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._pixels: Counter[tuple[str, str]] = Counter()

    def add(self, table: np.ndarray, names: Sequence[str]) -> None:
        """Add one image's table (C, C + 1) of `confusion_table`."""
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


class IouMeter:
    """Intersection over union of label images, gathered and image by image."""

    def __init__(self) -> None:
        """Start empty."""
        self._gathered = Confusion()
        self._images: list[dict[str, float]] = []

    def add(self, labels: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> None:
        """Count one image.

        Args:
            labels: (H, W) uint8 predicted ids; a value beyond the names is not a class.
            truth: (H, W) uint8 true ids; 255 is left out.
            names: the ids' names.

        Raises:
            ValueError: images of different sizes, or a true id without a name.
        """
        table, image = confusion_table(labels, truth, len(names)), Confusion()
        for confusion in (self._gathered, image):
            confusion.add(table, names)
        self._images.append(image.iou())

    def by_class(self) -> dict[str, float]:
        """Return the IoU of every class that occurs in some truth, gathered over all images."""
        return self._gathered.iou()

    def mean(self, names: Collection[str] | None = None) -> float:
        """Return the mean IoU over classes (mIoU), or over some of them; NaN without any."""
        values = [iou for name, iou in self.by_class().items() if names is None or name in names]
        return float(np.mean(values)) if values else float("nan")

    def mean_by_image(self, names: Collection[str] | None = None) -> float:
        """Return the mean over images of the mean IoU of the classes present in each."""
        means = []
        for image in self._images:
            values = [iou for name, iou in image.items() if names is None or name in names]
            if values:
                means.append(np.mean(values))
        return float(np.mean(means)) if means else float("nan")
