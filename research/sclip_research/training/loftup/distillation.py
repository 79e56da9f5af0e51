"""Self-distillation: a teacher that sees part of the image larger, and how it follows the student.

Huang et al., LoftUp, ICCV 2025, section 3.2, eq. 3.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class CropPlan:
    """Where the teacher looks.

    Attributes:
        top, left, side: the crop in pixels of the student's output.
        pixels: the same crop in pixels of the large image: (top, left, bottom, right).
    """

    top: int
    left: int
    side: int
    pixels: tuple[int, int, int, int]


def plan_crop(large: int, small: int, output: int, rng: np.random.Generator) -> CropPlan:
    """Choose a square of the large image that falls on whole pixels of the student's output.

    Args:
        large: side of the image that the teacher crops from.
        small: side that the student's whole image, and the teacher's crop, have.
        output: side of the student's output.

    Raises:
        ValueError: no larger image, or an output too small to hold the crop.
    """
    side = round(output * small / large)
    if not small < large or side < 1:
        raise ValueError(f"a teacher's image of {large} pixels is not larger than the student's "
                         f"of {small}; enlarge it")
    top, left = (int(rng.integers(0, output - side + 1)) for _ in range(2))
    scale = large / output
    corners = (top, left, top + side, left + side)
    return CropPlan(top, left, side, tuple(round(corner * scale) for corner in corners))


def teacher_view(images: Tensor, plan: CropPlan, small: int) -> Tensor:
    """Cut the teacher's crop out of (B, 3, H, W) and bring it to the student's input size."""
    top, left, bottom, right = plan.pixels
    return interpolate(images[..., top:bottom, left:right], size=(small, small), mode="bilinear",
                       align_corners=False, antialias=True)


def teacher_labels(labels: Tensor, plan: CropPlan, small: int) -> Tensor:
    """Cut the same crop out of a label map (B, H, W)."""
    top, left, bottom, right = plan.pixels
    crop = labels[:, None, top:bottom, left:right].float()
    return interpolate(crop, size=(small, small), mode="nearest")[:, 0].to(labels.dtype)


def student_view(features: Tensor, plan: CropPlan) -> Tensor:
    """Cut the crop out of the student's output (B, D, H, W)."""
    return features[..., plan.top:plan.top + plan.side, plan.left:plan.left + plan.side]


def to_student_size(features: Tensor, plan: CropPlan) -> Tensor:
    """Shrink the teacher's output to the size of the student's crop."""
    return interpolate(features.float(), size=(plan.side, plan.side), mode="bilinear",
                       align_corners=False, antialias=True)


class MovingAverage:
    """Weights that follow another network's: w <- decay * w + (1 - decay) * w', every few steps.

    Attributes:
        network: the averaged copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float, every: int = 1,
                 warm_up: bool = False) -> None:
        """Copy a network.

        Args:
            decay: share kept at an update.
            every: steps between two updates.
            warm_up: keep less at first, so that the start is forgotten: (n + 1) / (n + 20).
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay, self._every, self._warm_up = decay, every, warm_up

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow a network after an optimiser step, counted from 0; buffers are copied."""
        if (step + 1) % self._every:
            return
        decay = min(self._decay, (step + 1) / (step + 20)) if self._warm_up else self._decay
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()),
                             1 - decay)
        for slow, fast in zip(self.network.buffers(), network.buffers(), strict=True):
            slow.copy_(fast)  # batch norm's statistics are averages already
