"""How well outlines fit: boundary F1 and boundary IoU.

Pixels that count nowhere are taken out of every class, in labels and truth alike, so that what is
predicted there does not matter and an outline along them always fits. Where everything around the
objects counts nowhere (VOC20), these scores therefore say little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from sclip_seg_ros.tools.figures.metrics import IGNORE

TOLERANCE = 0.0075  # of the diagonal; Csurka et al., BMVC 2013
BAND = 0.02         # of the diagonal; Cheng et al., CVPR 2021
COUNTS = ("contour", "contour_fits", "true_contour", "true_contour_fits", "band", "true_band",
          "band_intersection")


def boundary_counts(labels: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Count contour and band pixels of every class in one image.

    A contour pixel has a neighbour (of four, inside the image) of another class; it fits when the
    other image has a contour pixel of the same class within TOLERANCE of the diagonal, at least
    one pixel. The band of a class is what lies within BAND of the diagonal of its inner edge, the
    image's border included (Cheng et al., eq. 1).

    Args:
        labels: (H, W) predicted ids; `count` or more is not a class.
        truth: (H, W) true ids; 255 is left out.
        count: number of classes, C, at most 254.

    Returns:
        (C, 7) int64, columns as in COUNTS.
    """
    ignored = truth == IGNORE
    predicted = np.where(ignored, count, np.minimum(labels, count)).astype(np.uint8)
    actual = np.where(ignored, count, truth).astype(np.uint8)
    diagonal = float(np.hypot(*truth.shape))
    tolerance, width = (max(1, round(share * diagonal)) for share in (TOLERANCE, BAND))
    contour, true_contour = _contour(predicted, count), _contour(actual, count)
    band, true_band = _band(predicted, width), _band(actual, width)
    columns = (
        contour[contour != count],
        _fitting(contour, true_contour, tolerance, count),
        true_contour[true_contour != count],
        _fitting(true_contour, contour, tolerance, count),
        predicted[band],
        actual[true_band],
        actual[band & true_band & (predicted == actual)],
    )
    return np.stack([np.bincount(ids, minlength=count + 1)[:count] for ids in columns], axis=1)


class Boundaries:
    """Contour and band pixels by class name, gathered over images with any vocabularies.

    Csurka et al. average the F1 over images; here its counts are gathered over all images first,
    as for the IoU, so that small things in few images do not decide.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._counts: dict[str, np.ndarray] = {}

    def add(self, counts: np.ndarray, names: Sequence[str]) -> None:
        """Add one image's counts (C, 7) of `boundary_counts`."""
        self.add_rows(((index, *row) for index, row in enumerate(counts)), names)

    def add_rows(self, rows: Iterable[Sequence[int]], names: Sequence[str]) -> None:
        """Add single classes: (id, seven counts)."""
        for index, *row in rows:
            known = self._counts.setdefault(names[index], np.zeros(len(COUNTS), np.int64))
            known += np.asarray(row, np.int64)

    def f1(self) -> dict[str, float]:
        """Return the boundary F1 of every class that has a contour in the truth."""
        scores = {}
        for name, row in sorted(self._counts.items()):
            contour, fits, true_contour, true_fits = (int(value) for value in row[:4])
            if true_contour:
                precision, recall = fits / contour if contour else 0.0, true_fits / true_contour
                total = precision + recall
                scores[name] = 2 * precision * recall / total if total else 0.0
        return scores

    def iou(self) -> dict[str, float]:
        """Return the boundary IoU of every class that occurs in the truth."""
        return {name: int(both) / int(band + true_band - both)
                for name, (*_, band, true_band, both) in sorted(self._counts.items()) if true_band}


def _contour(ids: np.ndarray, outside: int) -> np.ndarray:
    """Keep the ids of pixels of which one of four neighbours has another; `outside` elsewhere."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.where(cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, cross), ids, np.uint8(outside))


def _band(ids: np.ndarray, width: int) -> np.ndarray:
    """Mark the pixels at most `width` (chessboard distance) from another id or from outside."""
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, square, borderType=cv2.BORDER_CONSTANT,
                            borderValue=255) > 0  # no id is 255


def _fitting(contour: np.ndarray, other: np.ndarray, tolerance: int, outside: int) -> np.ndarray:
    """Return the ids of the contour pixels that have their like in the other contour nearby.

    Near places are tried first and pixels that fit are dropped, so that good outlines are fast:
    a distance transform for each class finds the same and takes six times as long.
    """
    around = np.pad(other, tolerance, constant_values=outside)
    rows, columns = np.nonzero(contour != outside)
    ids, fitting = contour[rows, columns], []
    for row, column in _disc(tolerance):
        fits = around[rows + row + tolerance, columns + column + tolerance] == ids
        fitting.append(ids[fits])
        rows, columns, ids = rows[~fits], columns[~fits], ids[~fits]
    return np.concatenate(fitting)


def _disc(radius: int) -> list[tuple[int, int]]:
    """Return the steps (rows, columns) of at most `radius` length, the shortest first."""
    steps = [(row, column) for row in range(-radius, radius + 1)
             for column in range(-radius, radius + 1) if row**2 + column**2 <= radius**2]
    return sorted(steps, key=lambda step: step[0]**2 + step[1]**2)
