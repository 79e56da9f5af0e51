"""Intersection over union, gathered over images whose vocabularies differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

IGNORE = 255  # truth value of pixels that count nowhere


def confusion_table(labels: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Count the pixels of each pair of true and predicted class.

    Args:
        labels: (H, W) predicted ids; `count` or more is no class.
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


class IouMeter:
    """Gather intersections and unions by class name, over images with any vocabularies."""

    def __init__(self) -> None:
        """Start empty."""
        self._intersection: dict[str, int] = defaultdict(int)
        self._union: dict[str, int] = defaultdict(int)
        self._truth: dict[str, int] = defaultdict(int)
        self._images: list[dict[str, float]] = []

    def add(self, labels: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> None:
        """Count one image.

        Args:
            labels: (H, W) uint8 predicted ids; a value beyond the names is no class.
            truth: (H, W) uint8 true ids; 255 is left out.
            names: the ids' names.

        Raises:
            ValueError: images of different sizes, or a true id without a name.
        """
        table = confusion_table(labels, truth, len(names))
        image = {}
        for index, name in enumerate(names):
            intersection = int(table[index, index])
            union = int(table[index].sum() + table[:, index].sum() - intersection)
            self._intersection[name] += intersection
            self._union[name] += union
            self._truth[name] += int(table[index].sum())
            if table[index].any():
                image[name] = intersection / union
        self._images.append(image)

    def by_class(self) -> dict[str, float]:
        """Return the IoU of every class that occurs in some truth, gathered over all images."""
        return {name: self._intersection[name] / self._union[name]
                for name, count in self._truth.items() if count}

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
