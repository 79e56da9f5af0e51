"""An image tower that learns to see in one forward what it sees in windows.

Wu et al., "CLIPSelf: Vision Transformer Distills Itself for Open-Vocabulary Dense Prediction",
ICLR 2024, have a tower's dense features follow what it says of crops. Here the crops are the
segmentor's own windows, as SPAR (CVPR 2026) has them: the teacher is the tower as it was, its
features put together as the segmentor puts scores together, and the student sees the image whole.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sclip_research.training.loftup.crops import Batch, StepPlan
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.losses import contrast_error, direction_error
from sclip_research.training.loftup.settings import TrainingSettings
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import feature_map
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.preprocessing import normalise
from sclip_seg_ros.segmentation.scores.windows import cut, stitch, window_boxes

PLACES = 256  # patches of a batch that stand for words in the contrast


class Tower(nn.Module):
    """The student: a copy of an image tower, all of whose weights may change.

    Attributes:
        visual: open_clip's image tower.
    """

    def __init__(self, clip: ClipModel, attention: str = "sclip", residual: bool = True) -> None:
        """Copy a model's image tower.

        Args:
            clip: any open_clip model with a plain vision transformer; it stays as it is.
            attention, residual: of the last block.
        """
        super().__init__()
        self.visual = copy.deepcopy(clip.model.visual).float().requires_grad_(True)
        self._backbone = backbone_of(self.visual)
        self._rule, self._residual = attention_rule(attention), residual
        self._statistics = clip.mean, clip.std

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D, h, w) of images (B, 3, H, W) in 0..1, not normalised."""
        before = self._backbone.penultimate(normalise(images, *self._statistics))
        tokens = self._backbone.last_block(before, self._rule, self._residual, class_token=False)
        return feature_map(tokens, before.grid)


class WindowTeacher:
    """Images in, the mean of their windows' features out, on the grid of the whole image."""

    def __init__(self, featurizer: Featurizer, crop: int, stride: int) -> None:
        """Hold the tower as it was, and how windows are laid over an image.

        Raises:
            ValueError: windows that are not whole patches.
        """
        _refuse_remainder("crop", (crop,), featurizer)
        self._featurizer, self._crop, self._stride = featurizer, crop, stride

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, D, h, w) float32; its cosines with texts are the windows' mean scores.

        Where windows overlap, each counts less towards its rims, as in the segmentor.

        Args:
            images: (B, 3, H, W) in 0..1.
        """
        height, width = images.shape[-2:]
        boxes = window_boxes(height, width, self._crop, self._stride)
        features = normalize(self._featurizer(cut(images, boxes)), dim=1)
        patch = self._featurizer.patch_size
        grid = (height // patch, width // patch)
        return torch.stack([stitch(own, boxes, (height, width), taper=True).dense(grid)
                            for own in features.split(len(boxes))])


class WindowObjective:
    """How far a tower that sees images whole is from itself in windows."""

    def __init__(self, settings: TrainingSettings, featurizer: Featurizer) -> None:
        """Make a teacher of the tower as it was.

        Raises:
            ValueError: images or windows that are not whole patches.
        """
        _refuse_remainder("size", settings.size, featurizer)
        self._teacher = WindowTeacher(featurizer, settings.crop, settings.stride)
        self._weights = {"windows": 1.0, "contrast": settings.contrast_weight}
        self._scale = settings.contrast_scale

    def __call__(self, network: nn.Module, batch: Batch, plan: StepPlan) -> dict[str, Tensor]:
        """Return the losses by name.

        ``windows`` is 1 - cosine, the direction being all that words see; ``contrast`` compares
        what each patch resembles among some patches of the batch, as it will be compared with
        words (see :func:`contrast_error`).
        """
        images = batch.images.float() / 255
        found, wanted = network(images).float(), self._teacher(images)
        losses = {"windows": direction_error(found, wanted)}
        if self._weights["contrast"]:
            every = wanted.movedim(1, -1).flatten(0, 2)
            places = plan.rng.choice(len(every), min(PLACES, len(every)), replace=False)
            losses["contrast"] = contrast_error(
                found, wanted, every[torch.from_numpy(places).to(every.device)], self._scale)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return what is minimised."""
        return torch.stack([self._weights[name] * loss for name, loss in losses.items()]).sum()


def _refuse_remainder(name: str, sides: tuple[int, ...], featurizer: Featurizer) -> None:
    patch = featurizer.patch_size
    if any(side % patch for side in sides):
        raise ValueError(f"{name}={' '.join(map(str, sides))} is not in whole patches of {patch} "
                         f"pixels; give multiples of {patch}")
