"""Accuracy and steadiness of one way of labelling, over many films."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.temporal.footage import Take
from sclip_seg_ros.temporal.consistency import Consistency
from sclip_seg_ros.tools.figures.metrics import confusion_table

THINNING = slice(None, None, 2)  # rows and columns that are counted: each second


def iou_of(table: np.ndarray) -> np.ndarray:
    """Return (C,) intersections over union of a `confusion_table`; NaN of a class not in truth."""
    right, true = np.diag(table), table.sum(1)
    return np.where(true > 0, right / np.maximum(true + table[:, :-1].sum(0) - right, 1), np.nan)


class Measures:
    """Gathers films; each has words of its own, so scores are means over the films."""

    def __init__(self) -> None:
        """Start empty."""
        self._films: list[dict[str, float]] = []

    def add(self, take: Take, labels: Iterable[np.ndarray]) -> None:
        """Count the labels of one film's frames."""
        classes = len(take.words)
        table = np.zeros((classes, classes + 1), np.int64)
        steadiness, before = Consistency(classes), None
        for index, now in enumerate(labels):
            table += confusion_table(now[THINNING, THINNING],
                                     take.labels[index][THINNING, THINNING], classes)
            if before is not None:
                steadiness.add(before[THINNING, THINNING], now,
                               take.following[index - 1][THINNING, THINNING],
                               take.labels[index - 1][THINNING, THINNING], take.labels[index])
            before = now
        iou = iou_of(table)
        film = {"miou": np.nanmean(iou), "flips": steadiness.flips,
                "flips_exact": steadiness.changed / steadiness.counted, "tc": steadiness.tc,
                "unlabelled": table[:, classes].sum() / table.sum()}
        if take.mover is not None:
            film["mover_iou"] = iou[take.mover]
        self._films.append(film)

    def result(self) -> dict[str, float]:
        """Return the means over the films, in percent."""
        return {key: 100 * float(np.mean([film[key] for film in self._films]))
                for key in self._films[0]}
