"""From the counts of single images to scores and speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sclip_seg_ros.tools.benchmark.boundary import BAND, TOLERANCE, Boundaries
from sclip_seg_ros.tools.figures.metrics import Confusion

DEFINITIONS = {
    "miou": "intersection over union, pixels gathered over all images, mean over the classes that "
            "occur in the truth",
    "pixel_accuracy": "share of all pixels that have the right class",
    "mean_accuracy": "share of each class's pixels that have it, mean over classes",
    "frequency_weighted_iou": "mean of the classes' IoU, weighted with their shares of the truth",
    "boundary_f1": f"contours fit within {TOLERANCE:.2%} of the diagonal, at least 1 pixel; pixels "
                   "gathered over all images, mean over classes",
    "boundary_iou": f"IoU of the bands inside the contours, {BAND:.0%} of the diagonal wide, mean "
                    "over classes",
}
OF_FILMS = {
    "tc": "temporal consistency: IoU between a label image and the next one brought back along the "
          "motion, pixels gathered over all frames, mean over the classes that occur",
    "flips": "share of pixels whose label is found nowhere within a pixel of where they moved to, "
             "though the true label stays",
}
UNLABELLED = "(unlabelled)"  # a class of its own in temporal consistency


def score(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Gather the counts of all images into scores.

    Args:
        records: of a journal.
        names: of the classes, for records that bring none of their own.

    Returns:
        scores: by the names in DEFINITIONS, None where there is nothing to score.
        by_class: the same for every class in the truth, with its share of the truth's pixels.
    """
    confusion, boundaries = Confusion(), Boundaries()
    steadiness, flips = Confusion(), np.zeros(2, np.int64)
    for record in records:
        classes = record.get("classes", names)
        if "pairs" in record:
            steadiness.add_cells(record["pairs"], [*classes, UNLABELLED])
            flips += record["flips"]
        confusion.add_cells(record["confusion"], classes)
        boundaries.add_rows(record["boundaries"], classes)
    pixels, columns = confusion.true_pixels(), {
        "iou": confusion.iou(), "accuracy": confusion.accuracy(),
        "boundary_f1": boundaries.f1(), "boundary_iou": boundaries.iou()}
    order = [name for name in names if name in pixels] or sorted(pixels)
    total = sum(pixels.values())
    return {
        "scores": {
            "miou": _mean(columns["iou"]),
            "pixel_accuracy": confusion.pixel_accuracy(),
            "mean_accuracy": _mean(columns["accuracy"]),
            "frequency_weighted_iou": confusion.frequency_weighted_iou(),
            "boundary_f1": _mean(columns["boundary_f1"]),
            "boundary_iou": _mean(columns["boundary_iou"]),
            **({"tc": _mean(steadiness.iou()), "flips": float(flips[0] / flips[1])}
               if flips[1] else {}),
        },
        "by_class": {name: {**{key: column.get(name) for key, column in columns.items()},
                            "share_of_truth": pixels[name] / total} for name in order},
    }


def speed(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the throughput of the segmentor alone: without reading, scoring and words."""
    stages: Counter[str] = Counter()
    seconds, count = 0.0, 0
    for record in records:
        seconds += record["seconds"]
        stages.update(record["stage_ms"])
        count += 1
    return {"images_per_second": count / seconds if seconds else None,
            "milliseconds_per_image": 1e3 * seconds / count if count else None,
            "stage_ms": {stage: value / count for stage, value in stages.items()}}


def image_miou(record: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """Return one image's mean IoU over the classes in its truth; None where nothing counts."""
    confusion = Confusion()
    confusion.add_cells(record["confusion"], record.get("classes", names))
    return _mean(confusion.iou())


def _mean(scores: Mapping[str, float]) -> float | None:
    return float(np.mean(list(scores.values()))) if scores else None
