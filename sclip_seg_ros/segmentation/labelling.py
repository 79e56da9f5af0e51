"""From a batch's scores to labels: PAMR, DenseCRF, decoding at each image's own size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.decoding import (
    decide,
    decode,
    decoding_size,
    enlarged_probabilities,
    large_enough,
    repeat_pixels,
)
from sclip_seg_ros.segmentation.refinement.anytime import Iterations, KeepGoing
from sclip_seg_ros.segmentation.refinement.dense_crf import dense_crf, planned_iterations
from sclip_seg_ros.segmentation.refinement.pamr import pamr
from sclip_seg_ros.segmentation.score_map import ScoreMap
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.stopwatch import Stopwatch
from sclip_seg_ros.segmentation.vocabulary import Vocabulary


class Labelling:
    """Refine and decide the images of one batch.

    Attributes:
        refinements: of each image, by stage; images that are refined together share one.
    """

    def __init__(self, settings: SegmentorSettings, logit_scale: float, vocabulary: Vocabulary,
                 watch: Stopwatch, keep_going: KeepGoing | None, images: int) -> None:
        """Begin a batch.

        Args:
            settings: of the refinements and the decision.
            logit_scale: inverse softmax temperature.
            vocabulary: the scores belong to.
            watch: takes the stage times.
            keep_going: asked before every iteration, see :class:`Iterations`.
            images: in the batch.
        """
        self.refinements: list[dict[str, Iterations]] = [{} for _ in range(images)]
        self._settings = settings
        self._logit_scale = logit_scale
        self._vocabulary = vocabulary
        self._watch = watch
        self._keep_going = keep_going

    def refine(self, working: Sequence[Tensor], scores: Sequence[ScoreMap]) -> list[ScoreMap]:
        """Run PAMR, if it is on, on all images of one working size together.

        Args:
            working: (3, h, w) RGB of each image at its working size.
            scores: of each image.
        """
        refined, settings = list(scores), self._settings.pamr
        if not self._settings.use_pamr:
            return refined
        with self._watch.stage("pamr"):
            for indices in _by_shape(working):
                progress = Iterations(settings.steps, self._keep_going, working[indices[0]].device)
                if progress.may_start():
                    batch = pamr(torch.stack([working[index] for index in indices]),
                                 torch.stack([scores[index].dense() for index in indices]),
                                 settings.steps, settings.dilations, keep_going=progress)
                    for index, score in zip(indices, batch, strict=True):
                        refined[index] = ScoreMap.of(score)
                for index in indices:
                    self.refinements[index]["pamr"] = progress
        return refined

    def decide(self, index: int, image: Tensor, scores: ScoreMap) -> tuple[Tensor, Tensor]:
        """Return labels and confidence, both (H, W) uint8, of an image (3, H, W) of the batch."""
        settings, vocabulary = self._settings, self._vocabulary
        probabilities = self._densecrf(index, image, scores) if settings.use_densecrf else None
        with self._watch.stage("decode"):
            if probabilities is None:
                size = decoding_size(image.shape[1:], settings.decode_resolution)
                labels, confidence = decode(scores, vocabulary.query_class, self._logit_scale,
                                            size, vocabulary.background,
                                            settings.probability_threshold, settings.area_threshold)
            else:
                keep = None
                if settings.area_threshold > 0:
                    keep = large_enough(probabilities.argmax(0), len(vocabulary),
                                        vocabulary.background, settings.area_threshold)
                labels, confidence = decide(probabilities, vocabulary.background,
                                            settings.probability_threshold, keep)
            confidence = (confidence.clamp(0, 1) * 255).round().to(torch.uint8)
            return tuple(repeat_pixels(part, image.shape[1:]) for part in (labels, confidence))

    def _densecrf(self, index: int, image: Tensor, scores: ScoreMap) -> Tensor | None:
        """Return class probabilities (C, H, W) along the image's edges; None if time is up."""
        settings, probabilities = self._settings.crf, None
        progress = Iterations(planned_iterations(settings, len(self._vocabulary)),
                              self._keep_going, image.device)
        with self._watch.stage("densecrf"):
            if progress.may_start():
                unary = enlarged_probabilities(scores, self._vocabulary.query_class,
                                               self._logit_scale, tuple(image.shape[1:]))
                probabilities = dense_crf(image.permute(1, 2, 0), unary, settings, progress)
        self.refinements[index]["densecrf"] = progress
        return probabilities


def _by_shape(images: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of images, those of one shape together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(index)
    return list(groups.values())
