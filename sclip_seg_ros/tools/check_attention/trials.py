"""Attention rules tried on pictures with known labels, and whether one is surely better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.figures.metrics import confusion_table

LEAST_PICTURES = 10     # fewer cannot tell chance from merit
DOUBT = 0.05            # of the whole recommendation; the rules share it
RESAMPLES = 2000


@dataclass(eq=False)
class Trial:
    """One rule, and what it did to each picture.

    Attributes:
        attention: the rule.
        residual: whether the last block's residual is kept; True for rules that have none.
        pipeline: that labels so; None where it cannot run.
        reason: why it cannot.
        pictures: right, true and predicted pixels of each class, by picture.
        milliseconds: of the image tower, by picture.
    """

    attention: str
    residual: bool
    pipeline: Pipeline | None = None
    reason: str = ""
    pictures: list[dict[str, np.ndarray]] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        """How it is named in tables."""
        dropped = "" if self.residual else ", residual: false"
        return f"{self.attention}{dropped}"

    def measure(self, image: np.ndarray, truth: np.ndarray, vocabulary: Vocabulary) -> None:
        """Label one picture and count it."""
        assert self.pipeline is not None
        result = self.pipeline.predict([image], vocabulary)[0]
        self.milliseconds.append(result.stage_ms["encode"])
        table = confusion_table(result.labels, truth, len(vocabulary))
        counts = np.stack([table.diagonal(), table.sum(1), table[:, :-1].sum(0)], axis=1)
        self.pictures.append({name: row for name, row in zip(vocabulary.names, counts, strict=True)
                              if row.any()})


def trials_of(segmentor: SCLIPSegmentor, names: Sequence[str]) -> list[Trial]:
    """Prepare the rule in force and the others, with and without residual where that matters.

    Args:
        segmentor: with the settings that all share; its own rule comes first.
        names: rules to try besides.
    """
    settings = segmentor.decide(segmentor.settings)
    wanted = [(settings.attention, settings.residual)]
    wanted += [(name, residual) for name in names for residual in (True, False)]
    unique = dict.fromkeys((name, residual or ATTENTIONS[name].tokens is not None)
                           for name, residual in wanted)
    return [_prepared(segmentor, settings, Trial(*pair)) for pair in unique]


def _prepared(segmentor: SCLIPSegmentor, settings: SegmentorSettings, trial: Trial) -> Trial:
    try:
        trial.pipeline = segmentor.prepare(settings.with_changes(
            attention=trial.attention, residual=trial.residual))
    except ValueError as error:
        trial.reason = str(error)
    return trial


@dataclass(frozen=True)
class Verdict:
    """How one rule compares with the one in force.

    Attributes:
        score: mean over the classes, of all pictures.
        gain: the score's, over the rule in force.
        surely: share of the resampled sets of pictures in which it is better.
        time: of the tower's, the rule in force = 1.
    """

    score: float
    gain: float
    surely: float
    time: float


def verdicts(trials: Sequence[Trial], iou: bool) -> list[Verdict]:
    """Compare trials of the same pictures with the first one, by a paired bootstrap over pictures.

    Args:
        trials: all that could run.
        iou: score by intersection over union; else by the share of a class's pixels that are
            right, as suits single points.
    """
    classes = sorted({name for trial in trials for picture in trial.pictures for name in picture})
    counts = np.zeros((len(trials), len(trials[0].pictures), len(classes), 3))
    for index, trial in enumerate(trials):
        for place, picture in enumerate(trial.pictures):
            for name, row in picture.items():
                counts[index, place, classes.index(name)] = row
    scores = mean_scores(counts.sum(1), iou)
    pictures = counts.shape[1]
    draws = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures),
                                                 RESAMPLES)
    better = np.zeros(len(trials))
    for draw in draws:
        drawn = mean_scores(np.tensordot(counts, draw, axes=(1, 0)), iou)
        better += drawn > drawn[0]
    times = [median(trial.milliseconds) for trial in trials]
    return [Verdict(float(score), float(score - scores[0]), float(share), time / times[0])
            for score, share, time in zip(scores, better / RESAMPLES, times, strict=True)]


def mean_scores(counts: np.ndarray, iou: bool) -> np.ndarray:
    """Return the mean over the classes that occur in the truth.

    Args:
        counts: (..., C, 3) right, true and predicted pixels.
        iou: intersection over union; else the share of the true pixels that are right.

    Returns:
        (...) float64.
    """
    right, true, predicted = np.moveaxis(counts, -1, 0)
    of = true + predicted - right if iou else true
    occurs = true > 0
    values = np.divide(right, of, out=np.zeros_like(right, dtype=float), where=occurs)
    return values.sum(-1) / np.maximum(occurs.sum(-1), 1)


def recommendation(trials: Sequence[Trial], found: Sequence[Verdict], pictures: int) -> str:
    """Say in one line which rule to take, and how sure that is."""
    present = trials[0].title
    if pictures < LEAST_PICTURES:
        return (f"cannot say from {pictures} pictures: give {LEAST_PICTURES} or more; until then "
                f"keep {present}")
    best = max(range(len(trials)), key=lambda index: found[index].score)
    if not best:
        return f"keep attention: {present}, which nothing beats here"
    gain, surely = (f"{100 * share:.1f}" for share in (found[best].gain, found[best].surely))
    if found[best].surely < 1 - DOUBT / (len(trials) - 1):
        return (f"keep attention: {present}; {trials[best].title} is ahead by {gain} points, which "
                "may be chance: more pictures would tell")
    return (f"take attention: {trials[best].title}, which is {gain} points better than {present} "
            f"and stays better in {surely}% of the resampled sets of pictures")
