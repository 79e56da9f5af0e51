"""Which words compete for the pixels of one image, and what the winners are called.

Classes that no place of an image makes probable can be left out before their scores are refined and
decided ("prompt denoising", as RADSeg, CVPR 2026, and class pruning in S2C2Seg, CVPR 2026, do): a
long vocabulary then costs less, and rare words take no probability from the right ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores.decoding.decoding import class_probabilities
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary

MOST_CELLS = 20_000  # that are asked for a class: those of a third of 448x336, as of PAMR
FAR_BELOW = 100.0   # in the softmax's exponent: what a word left out lies below all others


@dataclass(frozen=True, eq=False)
class Competition:
    """The words that compete in one image.

    Attributes:
        query_class: (Q',) class of each, counted among those that compete, ascending.
        background: that class which takes uncertain pixels; None leaves them unlabelled.
        classes: number of classes that compete.
        queries: (Q',) rows of the vocabulary's words; None for all of them.
        positions: (256,) uint8, from a class among those that compete to its label; None where
            they are the same.
    """

    query_class: Tensor
    background: int | None
    classes: int
    queries: Tensor | None = None
    positions: np.ndarray | None = None

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Competition:
        """Let all words compete.

        Negative words without a background to belong to are a class of their own, which also takes
        uncertain pixels; its pixels are unlabelled.
        """
        if not vocabulary.rejects:
            return cls(vocabulary.query_class, vocabulary.background, len(vocabulary))
        positions = np.arange(UNLABELLED + 1, dtype=np.uint8)
        positions[len(vocabulary)] = UNLABELLED
        return cls(vocabulary.query_class, len(vocabulary), len(vocabulary) + 1, None, positions)

    def among(self, scores: ScoreMap, logit_scale: float, bound: float) -> Competition:
        """Leave out classes whose highest probability in any cell of any window is below a bound.

        Of maps that are finer one cell in so many is asked, each way.

        The background stays; where no other class would, all do.
        """
        values = scores.values
        step = math.ceil((values.shape[0] * values.shape[2] / MOST_CELLS) ** 0.5) or 1
        probabilities = class_probabilities(values[::step, :, ::step].transpose(0, 1),
                                            self.query_class, logit_scale)
        keep = probabilities.flatten(1).amax(1) >= bound
        if self.background is not None:
            keep[self.background] = False
        if not bool(keep.any()):
            return self
        if self.background is not None:
            keep[self.background] = True
        kept = keep.nonzero()[:, 0]
        queries = keep[self.query_class].nonzero()[:, 0]
        if len(queries) == len(self.query_class):
            return self
        place = keep.cumsum(0) - 1
        known = np.arange(UNLABELLED + 1, dtype=np.uint8) if self.positions is None \
            else self.positions
        positions = np.full(UNLABELLED + 1, UNLABELLED, np.uint8)
        positions[:len(kept)] = known[kept.cpu().numpy()]
        background = None if self.background is None else int(place[self.background])
        return Competition(place[self.query_class[queries]], background, len(kept), queries,
                           positions)

    def narrowed(self, scores: ScoreMap) -> ScoreMap:
        """Return the scores of the words that compete."""
        if self.queries is None:
            return scores
        return ScoreMap(scores.values[:, self.queries], scores.rows, scores.columns)

    def rejoined(self, every: ScoreMap, refined: ScoreMap) -> ScoreMap:
        """Return refined scores, on their own grid, with the words left out as they were before."""
        if self.queries is None:
            return refined
        if (refined.rows, refined.columns) == (every.rows, every.columns):
            values = every.values.clone()  # as they lay: nothing refined them
            values[:, self.queries] = refined.values
            return ScoreMap(values, every.rows, every.columns)
        grid = refined.values.shape[0], refined.values.shape[2]
        scores = every.dense(grid, antialias=True).clone()
        scores[self.queries] = refined.dense(grid)
        return ScoreMap.of_cells(scores, refined.size)

    def widened(self, scores: ScoreMap, queries: int, logit_scale: float) -> ScoreMap:
        """Return scores of all words again; those left out lie far below all others."""
        if self.queries is None:
            return scores
        values = scores.values
        low = float(values.min()) - FAR_BELOW / max(logit_scale, 1e-6)
        every = values.new_full((values.shape[0], queries, values.shape[2]), low)
        every[:, self.queries] = values
        return ScoreMap(every, scores.rows, scores.columns)

    def labels(self, labels: Tensor) -> Tensor:
        """Turn classes among those that compete, uint8, into labels."""
        if self.positions is None:
            return labels
        if labels.device.type == "cpu":
            return torch.from_numpy(cv2.LUT(labels.numpy(), self.positions))
        return torch.from_numpy(self.positions).to(labels.device)[labels.long()]
