"""From a batch's scores to labels: refinements, decoding at each image's own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.segmentation.refinement import Context, Refinement, refinements_of
from sclip_seg_ros.segmentation.refinement.anytime import Iterations, KeepGoing
from sclip_seg_ros.segmentation.scores.competition import Competition
from sclip_seg_ros.segmentation.scores.decoding.decoding import (
    decide,
    decode,
    decoding_size,
    enlarged_probabilities,
    in_bytes,
    large_enough,
    repeat_pixels,
)
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary


class Labelling:
    """Refine and decide the images of one batch.

    Attributes:
        refinements: of each image, by stage; images that are refined together share one.
    """

    def __init__(self, settings: SegmentorSettings, logit_scale: float, vocabulary: Vocabulary,
                 watch: Stopwatch, keep_going: KeepGoing | None, images: int,
                 context: Context | None = None) -> None:
        """Begin a batch.

        Args:
            settings: of the refinements and the decision.
            logit_scale: inverse softmax temperature.
            vocabulary: the scores belong to.
            watch: takes the stage times.
            keep_going: asked before every iteration, see :class:`Iterations`.
            images: in the batch.
            context: for refinements that want more than images and scores.
        """
        self.refinements: list[dict[str, Iterations]] = [{} for _ in range(images)]
        self._settings = settings
        self._logit_scale = logit_scale
        self._vocabulary = vocabulary
        self._watch = watch
        self._keep_going = keep_going
        self._context = context
        self._competitions = [Competition.of(vocabulary)] * images

    def narrow(self, scores: Sequence[ScoreMap]) -> list[ScoreMap]:
        """Leave out the classes that an image makes nowhere probable, if that is on."""
        bound = self._settings.prune_below
        if not bound:
            return list(scores)
        with self._watch.stage("prune"):
            self._competitions = [
                competition.among(score, self._logit_scale, bound)
                for competition, score in zip(self._competitions, scores, strict=True)]
            return [competition.narrowed(score)
                    for competition, score in zip(self._competitions, scores, strict=True)]

    def rejoin(self, index: int, every: ScoreMap, refined: ScoreMap) -> ScoreMap:
        """Put refined scores back among those of all words of an image of the batch."""
        return self._competitions[index].rejoined(every, refined)

    def widen(self, index: int, scores: ScoreMap) -> ScoreMap:
        """Return scores of all words again, for an image of the batch."""
        return self._competitions[index].widened(scores, len(self._vocabulary.query_class),
                                                 self._logit_scale)

    @property
    def refines_scores(self) -> bool:
        """Whether a refinement of scores is on."""
        return bool(self._wanted(of_probabilities=False))

    def refine(self, working: Sequence[Tensor], scores: Sequence[ScoreMap]) -> list[ScoreMap]:
        """Run the refinements of scores that are on, on all images of one working size together.

        Args:
            working: (3, h, w) RGB of each image at its working size.
            scores: of each image.
        """
        refined = list(scores)
        for refinement in self._wanted(of_probabilities=False):
            with self._watch.stage(refinement.name):
                for indices in self._alike(working):
                    words = self._words_of(indices[0])
                    settings = getattr(self._settings, refinement.group)
                    size = (working[indices[0]].shape[1], working[indices[0]].shape[2])
                    grid = refinement.grid(settings, size)
                    progress = self._begin(refinement, len(words), working[indices[0]].device,
                                           indices)
                    if progress.may_start():
                        batch = self._in_context(refinement, words)(
                            torch.stack([working[index] for index in indices]),
                            torch.stack([refined[index].dense(grid, antialias=True)
                                         for index in indices]),
                            settings, progress)
                        for index, score in zip(indices, batch, strict=True):
                            refined[index] = ScoreMap.of_cells(score, size)
        return refined

    def decide(self, index: int, image: Tensor, scores: ScoreMap) -> tuple[Tensor, Tensor]:
        """Return labels and confidence, both (H, W) uint8, of an image (3, H, W) of the batch."""
        settings, competition = self._settings, self._competitions[index]
        probabilities = self._refined_probabilities(index, image, scores)
        with self._watch.stage("decode"):
            if probabilities is None:
                size = decoding_size(image.shape[1:], settings.decode_resolution)
                labels, confidence = decode(scores, competition.query_class, self._logit_scale,
                                            size, competition.background,
                                            settings.probability_threshold, settings.area_threshold)
            else:
                keep = None
                if settings.area_threshold > 0:
                    keep = large_enough(probabilities.argmax(0), competition.classes,
                                        competition.background, settings.area_threshold)
                labels, confidence = decide(probabilities, competition.background,
                                            settings.probability_threshold, keep)
            labels = competition.labels(labels)
            confidence = in_bytes(confidence)
            return tuple(repeat_pixels(part, image.shape[1:]) for part in (labels, confidence))

    def _refined_probabilities(self, index: int, image: Tensor, scores: ScoreMap) -> Tensor | None:
        """Return class probabilities (C, H, W) along the image's edges; None where none were."""
        probabilities, competition = None, self._competitions[index]
        for refinement in self._wanted(of_probabilities=True):
            with self._watch.stage(refinement.name):
                progress = self._begin(refinement, competition.classes, image.device, [index])
                if progress.may_start():
                    if probabilities is None:
                        probabilities = enlarged_probabilities(
                            scores, competition.query_class, self._logit_scale,
                            tuple(image.shape[1:]))
                    probabilities = refinement(image[None], probabilities[None],
                                               getattr(self._settings, refinement.group),
                                               progress)[0]
        return probabilities

    def _wanted(self, of_probabilities: bool) -> list[Refinement]:
        return [refinement for refinement in refinements_of(self._settings)
                if refinement.of_probabilities == of_probabilities]

    def _in_context(self, refinement: Refinement, words: Tensor) -> Refinement:
        if self._context is None:
            return refinement
        return refinement.in_context(replace(self._context, words=words))

    def _words_of(self, index: int) -> Tensor:
        """Return the embeddings of the words that compete in an image."""
        queries = self._competitions[index].queries
        words = self._vocabulary.embeddings
        return words if queries is None else words[queries]

    def _alike(self, images: Sequence[Tensor]) -> list[list[int]]:
        """Return the indices of images, those of one shape and with the same words together."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, image in enumerate(images):
            queries = self._competitions[index].queries
            words = None if queries is None else tuple(queries.tolist())
            groups.setdefault((tuple(image.shape), words), []).append(index)
        return list(groups.values())

    def _begin(self, refinement: Refinement, maps: int, device: torch.device,
               indices: Sequence[int]) -> Iterations:
        """Count a refinement's iterations, in the books of the images it works on."""
        settings = getattr(self._settings, refinement.group)
        progress = Iterations(refinement.iterations(settings, maps), self._keep_going, device)
        for index in indices:
            self.refinements[index][refinement.name] = progress
        return progress
