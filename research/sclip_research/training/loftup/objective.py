"""What a network is trained for, in either stage, as a sum of weighted losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sclip_research.training.loftup.crops import Batch, StepPlan
from sclip_research.training.loftup.distillation import (
    CropPlan,
    plan_crop,
    student_view,
    teacher_labels,
    teacher_view,
    to_student_size,
)
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.losses import (
    affinity_error,
    contrast_error,
    direction_error,
    squared_error,
)
from sclip_research.training.loftup.settings import TrainingSettings
from sclip_research.training.loftup.targets import refined_target
from sclip_seg_ros.segmentation.upsamplers.sizes import resize_guidance

Upsample = Callable[[Tensor, Tensor, None], Tensor]


class Objective:
    """Losses of a batch; the teacher is needed in stage 2 alone."""

    def __init__(self, settings: TrainingSettings, featurizer: Featurizer,
                 teacher: nn.Module | None = None) -> None:
        """Join settings, backbone and teacher.

        Raises:
            ValueError: stage 2 without a teacher.
        """
        if settings.stage == 2 and teacher is None:
            raise ValueError("stage 2 needs a teacher; start it from a stage-1 checkpoint")
        self._settings, self._featurizer, self._teacher = settings, featurizer, teacher

    def __call__(self, network: Upsample, batch: Batch, plan: StepPlan) -> dict[str, Tensor]:
        """Return the losses that have a weight, by name.

        Args:
            network: the student.
            batch: images at :meth:`TrainingSettings.large_side`.
            plan: sizes of this step.
        """
        settings, side = self._settings, plan.side
        images = batch.images.float() / 255
        whole = resize_guidance(images, (side, side)) if images.shape[-1] != side else images
        size = self._featurizer.output_size(side, plan.factor)
        features = self._features(whole)
        output = network(features, resize_guidance(whole, size), None).float()
        losses: dict[str, Tensor] = {}
        weights = settings.weights()
        if any(weights[name] for name in ("mask", "direction", "contrast")):
            losses |= self._compare(output, features, batch.labels)
        if settings.stage == 2 and (weights["affinity"] or weights["teacher"]):
            crop = plan_crop(images.shape[-1], side, size[0], plan.rng)
            losses |= self._distil(output, images, batch.labels, crop, plan)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Add the losses up with their weights."""
        weights = self._settings.weights()
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _compare(self, output: Tensor, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Hold the output against the features that masks refine."""
        settings, weights = self._settings, self._settings.weights()
        size = tuple(output.shape[-2:])
        target = refined_target(features, labels, size, settings.alpha, settings.balance)
        losses = {}
        if weights["mask"]:
            losses["mask"] = squared_error(output, target.features, target.weights)
        if weights["direction"]:
            losses["direction"] = direction_error(output, target.features, target.weights)
        if weights["contrast"] and len(target.means):
            losses["contrast"] = contrast_error(output, target.features, target.means,
                                                settings.contrast_scale, target.weights)
        return losses

    def _distil(self, output: Tensor, images: Tensor, labels: Tensor, crop: CropPlan,
                plan: StepPlan) -> dict[str, Tensor]:
        settings, weights = self._settings, self._settings.weights()
        with torch.no_grad():
            view = teacher_view(images, crop, plan.side)
            size = self._featurizer.output_size(plan.side, plan.factor)
            taught = self._teacher(self._features(view), resize_guidance(view, size), None).float()
            if settings.teacher_alpha:
                owners = teacher_labels(labels, crop, plan.side)
                taught = refined_target(taught, owners, size, settings.teacher_alpha).features
            taught = to_student_size(taught, crop)
        seen = student_view(output, crop)
        losses = {}
        if weights["affinity"]:
            places = draw_places(crop.side ** 2, settings.affinity_pixels, plan.rng)
            losses["affinity"] = affinity_error(seen, taught, places)
        if weights["teacher"]:
            losses["teacher"] = squared_error(seen, taught)
        return losses

    def _features(self, images: Tensor) -> Tensor:
        return self._featurizer(images)


def draw_places(pixels: int, most: int, rng: np.random.Generator) -> Tensor | None:
    """Draw the pixels that an affinity matrix compares; None for all of them."""
    if pixels <= most:
        return None
    return torch.from_numpy(np.sort(rng.choice(pixels, most, replace=False)))
