"""The worst and the best images of a run, segmented once more to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.benchmark.bench import Bench
from sclip_seg_ros.tools.benchmark.datasets import Sample
from sclip_seg_ros.tools.benchmark.page.pictures import confidence_uri, image_uri, labels_uri
from sclip_seg_ros.tools.figures.metrics import IGNORE

SHOWN = 10


@dataclass(frozen=True)
class Picture:
    """A picture with what it shows, and a further line under it."""

    caption: str
    uri: str
    note: str = ""


@dataclass(frozen=True)
class Example:
    """One image of the data set, side by side with what was made of it.

    Attributes:
        name: of the image.
        miou: mean IoU over the classes in its truth.
        pictures: input, truth, predictions, confidence.
        legend: name and colour of every class in truth or predictions.
    """

    name: str
    miou: float
    pictures: tuple[Picture, ...]
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rendering:
    """Settings to show, with each image's mIoU under them.

    Attributes:
        caption: over the picture.
        settings: to segment with.
        mious: one an image, None where nothing counts.
        confidence: show the confidence too.
    """

    caption: str
    settings: SegmentorSettings
    mious: Sequence[float | None]
    confidence: bool = False


def extremes(mious: Sequence[float | None]) -> tuple[list[int], list[int]]:
    """Return the places of the worst (worst first) and of the best (best first), ten each.

    No image is in both; images without a score are in none.
    """
    order = sorted((place for place, value in enumerate(mious) if value is not None),
                   key=lambda place: (mious[place], place))
    worst = order[:min(SHOWN, len(order) // 2)]
    return worst, order[len(worst):][-SHOWN:][::-1]


class Examples:
    """Segment single images again."""

    def __init__(self, bench: Bench, renderings: Sequence[Rendering]) -> None:
        """Hold what examples are made of; the first rendering gives their score."""
        self._bench = bench
        self._renderings = renderings

    def make(self, place: int) -> Example:
        """Make one example.

        Args:
            place: of the image among those measured.

        Raises:
            ValueError: nothing counts in it.
        """
        miou = self._renderings[0].mious[place]
        if miou is None:
            raise ValueError(f"image {place} of the run has no score")
        sample = self._bench.dataset.load(self._bench.indices[place])
        words = self._bench.vocabulary or self._bench.segmentor.vocabulary(sample.classes)
        pictures = [Picture("input", image_uri(sample.image)),
                    Picture("truth", labels_uri(sample.truth, words.colours))]
        seen = set(np.unique(sample.truth).tolist())
        for rendering in self._renderings:
            made, ids = self._render(rendering, place, sample, words)
            pictures += made
            seen |= ids
        legend = tuple((words.names[index], "#{:02x}{:02x}{:02x}".format(*words.colours[index]))
                       for index in sorted(seen - {IGNORE}) if index < len(words))
        return Example(sample.name, miou, tuple(pictures), legend)

    def _render(self, rendering: Rendering, place: int, sample: Sample,
                words: Vocabulary) -> tuple[list[Picture], set[int]]:
        pipeline = self._bench.segmentor.prepare(rendering.settings)
        [result] = pipeline.predict([sample.image], words)
        miou = rendering.mious[place]
        made = [Picture(rendering.caption, labels_uri(result.labels, words.colours),
                        "" if miou is None else f"{100 * miou:.1f}")]
        if rendering.confidence:
            made.append(Picture("confidence", confidence_uri(result.confidence),
                                f"mean {result.confidence.mean() / 2.55:.0f} %"))
        return made, set(np.unique(result.labels).tolist())
