"""Accuracy and steadiness of one way of labelling, over many films."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.temporal.footage import Take
from sclip_seg_ros.temporal.consistency import Consistency
from sclip_seg_ros.tools.figures.metrics import confusion_table

THINNING = slice(None, None, 2)  # rows and columns that are counted: each second


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
        right = np.diag(table)
        union = table.sum(1) + table[:, :classes].sum(0) - right
        iou = right / np.maximum(union, 1)
        film = {"miou": iou[table.sum(1) > 0].mean(), "flips": steadiness.flips,
                "flips_exact": steadiness.changed / steadiness.counted, "tc": steadiness.tc,
                "unlabelled": table[:, classes].sum() / table.sum()}
        if take.mover is not None:
            film["mover_iou"] = iou[take.mover]
        self._films.append(film)

    def result(self) -> dict[str, float]:
        """Return the means over the films, in percent."""
        return {key: 100 * float(np.mean([film[key] for film in self._films]))
                for key in self._films[0]}
