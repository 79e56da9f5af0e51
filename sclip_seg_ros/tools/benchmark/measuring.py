"""Segment every image of a data set and write down what each adds to the scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.vocabulary import Vocabulary
from sclip_seg_ros.tools.benchmark.boundary import boundary_counts
from sclip_seg_ros.tools.benchmark.datasets import Dataset, Sample
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.loading import load_ahead
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.metrics import confusion_table


class Meter:
    """Measure one image after the other with one configuration."""

    def __init__(self, segmentor: SCLIPSegmentor, vocabulary: Vocabulary | None) -> None:
        """Hold what is measured; without a vocabulary every image brings its own classes."""
        self._segmentor = segmentor
        self._vocabulary = vocabulary
        self._warm = False

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """Return the record of one image."""
        words = self._vocabulary or self._segmentor.vocabulary(sample.classes)
        if not self._warm:  # the first pass through a model allocates and chooses kernels
            self._segmentor.predict_dense(sample.image, words)
            self._warm = True
        record = {"image": sample.name, **measure_image(self._segmentor, words, sample)}
        return {**record, "classes": list(words.names)} if sample.classes else record


def measure(meter: Callable[[Sample], Mapping[str, Any]], dataset: Dataset,
            indices: Sequence[int], journal: Journal, workers: int) -> None:
    """Measure the images that the journal does not hold yet.

    Args:
        meter: makes an image's record.
        dataset: where the images come from.
        indices: of the images.
        journal: where the records go, in the order of the indices.
        workers: threads that read images.

    Raises:
        DatasetError: an image cannot be read. What was measured is in the journal.
    """
    left = indices[len(journal.images):]
    with tqdm(total=len(indices), initial=len(journal.images), unit=" image", bar_format=BAR,
              disable=None) as progress:
        for sample in load_ahead(dataset, left, workers):
            journal.append(meter(sample))
            progress.update()


def measure_image(segmentor: SCLIPSegmentor, words: Vocabulary, sample: Sample) -> dict[str, Any]:
    """Segment one image; return its counts (zeros left out) and times."""
    start = time.perf_counter()
    result = segmentor.predict_dense(sample.image, words)
    seconds = time.perf_counter() - start
    table = confusion_table(result.labels, sample.truth, len(words))
    contours = boundary_counts(result.labels, sample.truth, len(words))
    return {
        "confusion": [[*map(int, cell), int(table[tuple(cell)])] for cell in np.argwhere(table)],
        "boundaries": [[index, *map(int, contours[index])]
                       for index in np.flatnonzero(contours.any(axis=1)).tolist()],
        "seconds": round(seconds, 6),
        "stage_ms": {stage: round(value, 3) for stage, value in result.stage_ms.items()},
    }
