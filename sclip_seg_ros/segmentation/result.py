"""What comes out of the segmentor for one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.scores.decoding.decoding import class_probabilities
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary

PROBABILITY_GRID = 8  # working pixels a cell of the probability grid


@dataclass(frozen=True, eq=False)
class DeviceView:
    """An image and its labels where they were computed, for those who go on working there.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8.
    """

    image: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """Labels of one image and how they came about.

    Attributes:
        labels: (H, W) uint8, class ids of the vocabulary; 255 = unlabelled.
        confidence: (H, W) uint8, 255 x probability of the winning class.
        coverage: (C,) float32, share of the pixels with each label.
        mean_confidence: (C,) float32, mean probability of those pixels, 0 where there are none.
        on_device: the image and its labels on the device; on a CPU they share the caller's
            memory and that of ``labels``.
        score_map: Q queries' cosine similarities, on the device.
        vocabulary: the words the ids stand for.
        logit_scale: inverse softmax temperature that was used.
        stage_ms: milliseconds by stage, in running order.
        refinements: iterations planned and run, by stage; images of a batch that were refined
            together share one.
    """

    labels: np.ndarray
    confidence: np.ndarray
    coverage: np.ndarray
    mean_confidence: np.ndarray
    on_device: DeviceView
    score_map: ScoreMap
    vocabulary: Vocabulary
    logit_scale: float
    stage_ms: Mapping[str, float]
    refinements: Mapping[str, Iterations] = field(default_factory=dict)

    @property
    def iterations(self) -> dict[str, int]:
        """Refinement iterations that ran, e.g. ``{"pamr": 4, "densecrf": 3}``.

        They are fewer than planned where the caller's ``keep_going`` said no.
        """
        return {stage: progress.ran for stage, progress in self.refinements.items()}

    @property
    def scores(self) -> Tensor:
        """Cosine similarities (Q, h, w) at the working size, computed at every access."""
        with torch.inference_mode():
            return self.score_map.dense()

    def class_probabilities(self, height: int | None = None,
                            width: int | None = None) -> np.ndarray:
        """Compute every class's probability on a small grid.

        Args:
            height, width: of the grid; by default an eighth of the working size.

        Returns:
            (C, height, width) float32.
        """
        working = self.score_map.size
        rows = height or max(1, working[0] // PROBABILITY_GRID)
        columns = width or max(1, working[1] // PROBABILITY_GRID)
        with torch.inference_mode():
            grid = self.score_map.dense((rows, columns), antialias=True)
            classes = class_probabilities(grid, self.vocabulary.query_class, self.logit_scale)
            return classes[:len(self.vocabulary)].cpu().numpy()


def unlabelled_share(coverage: np.ndarray) -> float:
    """Return the share of the pixels without a class; ``coverage`` is that of each class.

    Exactly 0 where it is no more than the rounding of those shares, which are float32.
    """
    share = 1.0 - float(np.sum(coverage, dtype=np.float64))
    return share if share > np.finfo(np.float32).eps / 2 else 0.0


def summarise(labels: np.ndarray, confidence: np.ndarray,
              classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each class's coverage and mean confidence, (C,) float32 both.

    Args:
        labels: (H, W) uint8.
        confidence: (H, W) uint8, 255 x probability.
        classes: C.
    """
    # One histogram over (label, confidence) pairs is many times faster than weighted counting.
    table = cv2.calcHist([labels, confidence], [0, 1], None, [256, 256], [0, 256, 0, 256])
    table = table[:classes].astype(np.int64)
    count = table.sum(axis=1)
    total = table @ np.arange(256)
    mean = np.divide(total, 255.0 * count, out=np.zeros(classes), where=count > 0)
    return (count / labels.size).astype(np.float32), mean.astype(np.float32)
