"""Segment every image of a data set and write down what each adds to the scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.vocabulary import Vocabulary
from sclip_seg_ros.tools.metrics import confusion_table

from .boundary import boundary_counts
from .datasets import Dataset, Sample
from .journal import Journal
from .loading import load_ahead


def measure(segmentor: SCLIPSegmentor, vocabulary: Vocabulary | None, dataset: Dataset,
            indices: Sequence[int], journal: Journal, workers: int) -> None:
    """Measure the images that the journal does not hold yet.

    Args:
        segmentor: what is measured.
        vocabulary: classes of all images; None where every image brings its own.
        dataset: where the images come from.
        indices: of the images.
        journal: where the counts of each image go, in the order of the indices.
        workers: threads that read images.

    Raises:
        DatasetError: an image cannot be read. What was measured is in the journal.
    """
    left = indices[len(journal.images):]
    warm = False
    with tqdm(total=len(indices), initial=len(journal.images), unit="image") as progress:
        for sample in load_ahead(dataset, left, workers):
            words = vocabulary or segmentor.vocabulary(sample.classes)
            if not warm:  # the first pass through a model allocates and chooses kernels
                segmentor.predict_dense(sample.image, words)
                warm = True
            journal.append(_record(segmentor, words, sample))
            progress.update()


def _record(segmentor: SCLIPSegmentor, words: Vocabulary, sample: Sample) -> dict[str, Any]:
    """Segment one image; return its counts (zeros left out) and times."""
    start = time.perf_counter()
    result = segmentor.predict_dense(sample.image, words)
    seconds = time.perf_counter() - start
    table = confusion_table(result.labels, sample.truth, len(words))
    contours = boundary_counts(result.labels, sample.truth, len(words))
    record = {
        "image": sample.name,
        "confusion": [[*map(int, cell), int(table[tuple(cell)])] for cell in np.argwhere(table)],
        "boundaries": [[index, *map(int, contours[index])]
                       for index in np.flatnonzero(contours.any(axis=1)).tolist()],
        "seconds": round(seconds, 6),
        "stage_ms": {stage: round(value, 3) for stage, value in result.stage_ms.items()},
    }
    return {**record, "classes": list(words.names)} if sample.classes else record
