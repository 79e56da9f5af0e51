"""What may be done with the frames of a film: each way of labelling them is a row of the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.temporal.footage import Take
from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.segmentation.backbones.preprocessing import resize, to_tensor
from sclip_seg_ros.segmentation.scores.labelling import Labelling
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.temporal import Memory, TemporalSettings
from sclip_seg_ros.temporal.evidence import INTERVAL

KEY = "film"
ASIDE = 3  # pixels


@dataclass(frozen=True)
class Judge:
    """Decides labels from scores, as the segmentor does.

    Attributes:
        settings: of refinement and decision.
        logit_scale: inverse softmax temperature.
    """

    settings: SegmentorSettings
    logit_scale: float

    def __call__(self, take: Take, index: int, scores: ScoreMap) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence (H, W) uint8 of a frame of a film."""
        return self.decide(take.images[index], scores, take.words)

    def decide(self, image: np.ndarray, scores: ScoreMap,
               words: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence (H, W) uint8 of an image (H, W, 3)."""
        labels, confidence = self._labelling(words).decide(
            0, to_tensor(image, torch.device("cpu")), self.refine(image, scores, words))
        return labels.numpy(), confidence.numpy()

    def refine(self, image: np.ndarray, scores: ScoreMap, words: Vocabulary) -> ScoreMap:
        """Return scores of an image (H, W, 3) after PAMR, where the settings have it."""
        if not self.settings.use_pamr:
            return scores
        working = resize(to_tensor(image, torch.device("cpu")), scores.size,
                         self.settings.antialias)
        return self._labelling(words).refine([working], [scores])[0]

    def _labelling(self, words: Vocabulary) -> Labelling:
        return Labelling(self.settings, self.logit_scale, words, Stopwatch(), None, 1)


Row = Callable[[Take, Judge], Iterator[np.ndarray]]


def per_frame(take: Take, judge: Judge) -> Iterator[np.ndarray]:
    """Label every frame alone."""
    for index, scores in enumerate(take.scores):
        yield judge(take, index, scores)[0]


def aside(take: Take, judge: Judge) -> Iterator[np.ndarray]:
    """Give the true labels, all moved by ASIDE pixels: wrong at the outlines, and never flickering.

    What flips nevertheless is the measure's own.
    """
    for labels in take.labels:
        yield np.roll(labels, ASIDE, axis=1)


def smoothed_in_place(weight: float) -> Row:
    """Smooth the scores of each pixel exponentially, as if nothing moved."""
    def label(take: Take, judge: Judge) -> Iterator[np.ndarray]:
        kept = None
        for index, scores in enumerate(take.scores):
            kept = scores.values if kept is None else torch.lerp(scores.values, kept, weight)
            yield judge(take, index, ScoreMap(kept, scores.rows, scores.columns))[0]

    return label


def held(every: int) -> Row:
    """Score every n-th frame, and repeat its labels in between."""
    def label(take: Take, judge: Judge) -> Iterator[np.ndarray]:
        for index in range(len(take)):
            if index % every == 0:
                labels = judge(take, index, take.scores[index])[0]
            yield labels

    return label


def remembered(settings: TemporalSettings, every: int = 1, late: int = 0,
               keyframes: Judge | None = None) -> Row:
    """Carry scores along by a :class:`Memory`.

    Args:
        settings: of the memory.
        every: every n-th frame has scores of its own.
        late: frames that go by until they are there; the first frame's are there at once.
        keyframes: refines what it scores, as the node does beside the frames; None: nobody.
    """
    def label(take: Take, judge: Judge) -> Iterator[np.ndarray]:
        memory, waiting = Memory(settings), {}
        for index, image in enumerate(take.images):
            memory.observe(image, index * INTERVAL)
            if index % every == 0:
                scores = take.scores[index]
                if keyframes is not None:
                    scores = keyframes.refine(image, scores, take.words)
                waiting[index + (late if index else 0)] = memory.keyframe, scores
            if index in waiting:
                keyframe, scores = waiting.pop(index)
                memory.fuse(scores, KEY, keyframe)
            evidence = memory.evidence(KEY)
            if evidence is None:
                yield np.full(image.shape[:2], 255, np.uint8)
            else:
                yield evidence.settle(*judge(take, index, evidence.scores))[0]

    return label


def flickering(row: Row, share: float) -> Row:
    """Show another way of labelling frames whose brightness goes up and down by a share.

    The scores are those of steady light: what is measured is what time makes of the pictures.
    """
    def label(take: Take, judge: Judge) -> Iterator[np.ndarray]:
        gains = [1 + share * math.sin(2 * math.pi * index / 5) for index in range(len(take))]
        images = [np.clip(image * gain, 0, 255).astype(np.uint8)
                  for image, gain in zip(take.images, gains, strict=True)]
        yield from row(replace(take, images=np.stack(images)), judge)

    return label
