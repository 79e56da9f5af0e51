"""Every stage alone and all together on the same images, one after the other on each image.

Each image passes through all configurations before the next one comes, and every image starts with
another of them, so that a computer that slows down for a while slows all rows alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.benchmark.datasets import Sample
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.measuring import measure_image
from sclip_seg_ros.tools.benchmark.memory import peak_during
from sclip_seg_ros.tools.benchmark.results import image_miou, score, speed
from sclip_seg_ros.tools.figures.configurations import PLAIN, Row


class AblationMeter:
    """Measure one image after the other with every configuration that can run."""

    def __init__(self, segmentor: SCLIPSegmentor, rows: Sequence[Row],
                 vocabulary: Vocabulary | None) -> None:
        """Hold a model; without a vocabulary every image brings its own classes."""
        self._segmentor = segmentor
        self._rows = [row for row in rows if row.pipeline is not None]
        self._vocabulary = vocabulary
        self._turn = 0

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """Return one image's counts and times by configuration; the first has memory too."""
        words = self._vocabulary or self._segmentor.vocabulary(sample.classes)
        record: dict[str, Any] = {"image": sample.name}
        if not self._turn:
            record["memory_mib"] = self._warm_up(sample, words)
        counts = {}
        for row in self._in_turn():
            counts[row.configuration.key] = measure_image(row.able, words, sample)
        self._turn += 1
        record["configurations"] = counts
        return {**record, "classes": list(words.names)} if sample.classes else record

    def _in_turn(self) -> list[Row]:
        start = self._turn % len(self._rows)
        return self._rows[start:] + self._rows[:start]

    def _warm_up(self, sample: Sample, words: Vocabulary) -> dict[str, float | None]:
        """Run every configuration twice; return the second run's largest memory in MiB."""
        peaks = {}
        for row in self._rows:
            def run(pipeline: Pipeline = row.able) -> None:
                pipeline.predict([sample.image], words)

            run()
            peaks[row.configuration.key] = peak_during(run, row.able.device)
        return peaks


def describe_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Name what the counts of every configuration depend on."""
    return [{"key": row.configuration.key,
             "settings": asdict(row.settings) if row.settings else None,
             "skipped": row.reason} for row in rows]


def compare(journal: Journal, rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Gather the journal of an ablation into one row of results a configuration.

    Args:
        journal: of the run.
        rows: of the ablation; the first is the plain method.
        names: of the classes, for records that bring none of their own.

    Returns:
        images: their names, in the order of each row's `miou_by_image`.
        configurations: scores, speed, memory, and both as compared with the plain method.
    """
    memory = next(journal.records())["memory_mib"]
    results = [_row(journal, row, memory, names) for row in rows]
    plain = results[0]
    for row in results:
        if row["scores"]:
            row["compared"] = _compared(journal, row, plain)
    return {"images": list(journal.images), "configurations": results}


def records_of(journal: Journal, key: str) -> Iterator[dict[str, Any]]:
    """Yield the records of one configuration as if it had been measured alone."""
    for record in journal.records():
        own = record["configurations"][key]
        yield {**own, "image": record["image"],
               **({"classes": record["classes"]} if "classes" in record else {})}


def _row(journal: Journal, row: Row, memory: Mapping[str, float | None],
         names: Sequence[str]) -> dict[str, Any]:
    key = row.configuration.key
    result = {"key": key, "title": row.configuration.title, "skipped": row.reason,
              "expected": dict(row.configuration.expected),
              "settings": asdict(row.settings) if row.settings else None,
              "scores": None, "compared": None}
    if row.settings is None:
        return result
    return {**result, **score(records_of(journal, key), names),
            "speed": speed(records_of(journal, key)), "memory_mib": memory[key],
            "miou_by_image": [_rounded(image_miou(record, names))
                              for record in records_of(journal, key)]}


def _compared(journal: Journal, row: Mapping[str, Any],
              plain: Mapping[str, Any]) -> dict[str, float | None]:
    """Return gains over the plain method (shares of 1), and speed and memory over its own.

    The speed is the median of the images' own ratios, which a disturbed image cannot move.
    """
    ratios = [record["configurations"][PLAIN]["seconds"]
              / record["configurations"][row["key"]]["seconds"] for record in journal.records()]
    used, base = row["memory_mib"], plain["memory_mib"]
    gains = {f"{name}_gain": None if value is None else value - plain["scores"][name]
             for name, value in row["scores"].items()}
    return {**gains, "speed": median(ratios), "memory": used / base if used and base else None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
