"""How the scores of a pixel become its label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED


@dataclass(frozen=True)
class DecodingRule:
    """Which query may win a pixel, and how sure it must be.

    Attributes:
        query_class: (Q,) class id of each query, ascending.
        logit_scale: inverse softmax temperature.
        background: class of pixels below the threshold; without one they are unlabelled (255).
        probability_threshold: least probability of a label.
        keep: (C,) bool, classes that may win; None for all.
    """

    query_class: Tensor
    logit_scale: float
    background: int | None = None
    probability_threshold: float = 0.0
    keep: Tensor | None = None

    @property
    def least(self) -> float:
        """Least probability of a label: above zero, which no class of a pixel may have."""
        return max(self.probability_threshold, torch.finfo(torch.float32).tiny)

    @property
    def fallback(self) -> int:
        """Label of a pixel whose best class is not probable enough."""
        return UNLABELLED if self.background is None else self.background

    @property
    def selective(self) -> bool:
        """Whether a pixel's best class may be not probable enough."""
        return self.probability_threshold > 0 or self.keep is not None

    def allowed(self) -> Tensor | None:
        """Return which queries may win, (Q,) bool; None for all."""
        return None if self.keep is None else self.keep[self.query_class]
