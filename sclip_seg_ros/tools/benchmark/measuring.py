"""Segment every image of a data set and write down what each adds to the scores."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.temporal import FilmSegmentor, TemporalSettings
from sclip_seg_ros.temporal.consistency import Consistency, measure_following
from sclip_seg_ros.tools.benchmark.boundary import boundary_counts
from sclip_seg_ros.tools.benchmark.datasets import Dataset, Sample, film_of
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.figures.metrics import confusion_table

AHEAD = 2  # images read ahead by each thread; bounds the memory


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
        record = {"image": sample.name, **measure_image(self._segmentor.pipeline, words, sample)}
        return {**record, "classes": list(words.names)} if sample.classes else record


class FilmMeter:
    """Measure the frames of films, one after the other, each helped by those before."""

    def __init__(self, segmentor: SCLIPSegmentor, vocabulary: Vocabulary | None,
                 temporal: TemporalSettings) -> None:
        """Hold what is measured; without a vocabulary every film brings its own classes."""
        self._segmentor = segmentor
        self._vocabulary = vocabulary
        self._temporal = temporal
        self._film: str | None = None
        self._before: tuple[Sample, SegmentationResult] | None = None

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """Return the record of one frame, with its steadiness to the one before."""
        if film_of(sample.name) != self._film:
            self._film, self._before = film_of(sample.name), None
            self._words = self._vocabulary or self._segmentor.vocabulary(sample.classes)
            self._label = FilmSegmentor(self._segmentor, self._words, self._temporal)
        start = time.perf_counter()
        result = self._label(sample.image, sample.seconds)
        record = {"image": sample.name, **count(result, self._words, sample,
                                                time.perf_counter() - start)}
        if self._before is not None:
            record |= self._steadiness(*self._before, result, sample)
        self._before = sample, result
        return {**record, "classes": list(self._words.names)} if sample.classes else record

    def _steadiness(self, was: Sample, before: SegmentationResult, result: SegmentationResult,
                    sample: Sample) -> dict[str, Any]:
        """Count along the true motion, or the measured one."""
        following = was.following
        if following is None:
            following = measure_following(was.image, sample.image)
        steadiness = Consistency(len(self._words))
        steadiness.add(before.labels, result.labels, following, was.truth, sample.truth)
        pairs = steadiness.pairs
        return {"pairs": [[*map(int, cell), int(pairs[tuple(cell)])]
                          for cell in np.argwhere(pairs)],
                "flips": [steadiness.flipped, steadiness.counted]}


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
    done = len(journal.images)
    begin = done
    if isinstance(meter, FilmMeter) and done < len(indices):
        film = film_of(dataset.name(indices[done]))  # begun again, so that its past is the same
        while begin and film_of(dataset.name(indices[begin - 1])) == film:
            begin -= 1
    with tqdm(total=len(indices), initial=done, unit=" image", bar_format=BAR,
              disable=None) as progress:
        samples = load_ahead(dataset, indices[begin:], workers)
        for number, sample in enumerate(samples, begin):
            record = meter(sample)
            if number >= done:
                journal.append(record)
                progress.update()


def measure_image(pipeline: Pipeline, words: Vocabulary, sample: Sample) -> dict[str, Any]:
    """Segment one image; return its counts (zeros left out) and times."""
    start = time.perf_counter()
    [result] = pipeline.predict([sample.image], words)
    return count(result, words, sample, time.perf_counter() - start)


def count(result: SegmentationResult, words: Vocabulary, sample: Sample,
          seconds: float) -> dict[str, Any]:
    """Compare a result with the truth; return its counts (zeros left out) and times."""
    table = confusion_table(result.labels, sample.truth, len(words))
    contours = boundary_counts(result.labels, sample.truth, len(words))
    return {
        "confusion": [[*map(int, cell), int(table[tuple(cell)])] for cell in np.argwhere(table)],
        "boundaries": [[index, *map(int, contours[index])]
                       for index in np.flatnonzero(contours.any(axis=1)).tolist()],
        "seconds": round(seconds, 6),
        "stage_ms": {stage: round(value, 3) for stage, value in result.stage_ms.items()},
    }


def load_ahead(dataset: Dataset, indices: Sequence[int], workers: int) -> Iterator[Sample]:
    """Yield the samples of a data set in the order of the indices."""
    pending = iter(indices)
    with ThreadPoolExecutor(workers) as pool:
        queue = deque(pool.submit(dataset.load, index)
                      for index in islice(pending, AHEAD * workers))
        try:
            while queue:
                sample = queue.popleft().result()
                queue.extend(pool.submit(dataset.load, index) for index in islice(pending, 1))
                yield sample
        finally:
            for future in queue:
                future.cancel()
