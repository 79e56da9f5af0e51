"""How well outlines fit: boundary F1 and boundary IoU.

Pixels that count nowhere are taken out of every class, in labels and truth alike, so that what is
predicted there does not matter and an outline along them always fits. Where everything around the
objects counts nowhere (VOC20), these scores therefore say little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from sclip_seg_ros.tools.metrics import IGNORE

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
        labels: (H, W) predicted ids; `count` or more is no class.
        truth: (H, W) true ids; 255 is left out.
        count: number of classes, C.

    Returns:
        (C, 7) int64, columns as in COUNTS.
    """
    ignored = truth == IGNORE
    predicted = np.where(ignored, count, np.minimum(labels, count)).astype(np.int32)
    actual = np.where(ignored, count, truth).astype(np.int32)
    diagonal = float(np.hypot(*truth.shape))
    tolerance, width = (max(1, round(share * diagonal)) for share in (TOLERANCE, BAND))
    edges, true_edges = _edges(predicted), _edges(actual)
    counts = np.zeros((count, len(COUNTS)), np.int64)
    for index in np.union1d(predicted, actual):
        if index == count:
            continue
        window = _window((predicted == index) | (actual == index))
        mask, true_mask = predicted[window] == index, actual[window] == index
        contour, true_contour = mask & edges[window], true_mask & true_edges[window]
        band, true_band = _band(mask, width), _band(true_mask, width)
        counts[index] = (contour.sum(), _fitting(contour, true_contour, tolerance),
                         true_contour.sum(), _fitting(true_contour, contour, tolerance),
                         band.sum(), true_band.sum(), (band & true_band).sum())
    return counts


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


def _edges(ids: np.ndarray) -> np.ndarray:
    """Mark the pixels of which one of four neighbours has another id."""
    edges = np.zeros(ids.shape, bool)
    rows, columns = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    edges[1:] |= rows
    edges[:-1] |= rows
    edges[:, 1:] |= columns
    edges[:, :-1] |= columns
    return edges


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the smallest rectangle around a mask that is not empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _band(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels of a mask at most `width` (chessboard distance) from what is outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    return mask & (distance <= width)


def _fitting(contour: np.ndarray, other: np.ndarray, tolerance: float) -> int:
    """Count the contour pixels that have one of the other contour within the tolerance."""
    if not contour.any() or not other.any():
        return 0
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2,
                                     cv2.DIST_MASK_PRECISE)
    return int((distance[contour] <= tolerance).sum())
