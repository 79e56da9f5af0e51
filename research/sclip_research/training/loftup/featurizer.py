"""The frozen backbone: features under either contract."""

from __future__ import annotations

import torch
from torch import Tensor

from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import feature_map
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalise,
)
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.sizes import upsampled_size


class Featurizer:
    """Images in, the features out that the segmentor would feed LoftUp.

    Attributes:
        contract: backbone, layer and normalisation, as the checkpoint will state them.
        dimension: channels of the features.
    """

    def __init__(self, clip: ClipModel, layer: str, normalisation: str,
                 attention: str = "sclip", residual: bool = True) -> None:
        """Wrap a loaded CLIP model.

        Args:
            clip: any open_clip model with a plain vision transformer.
            layer: "value" or "attended", see :class:`FeatureContract`.
            normalisation: "clip", the model's own statistics, or "imagenet".
            attention, residual: of the last block, for "attended" alone.

        Raises:
            ValueError: a contract that the segmentor could not keep, or a tower without blocks.
        """
        if layer == "attended" and normalisation != "clip":
            raise ValueError(f"normalisation='{normalisation}' does not go with attended features, "
                             "which the segmentor takes from images in the model's own "
                             "statistics; choose 'clip'")
        self.contract = FeatureContract(clip.name, layer, normalisation)
        self._backbone = backbone_of(clip.model.visual)
        self._rule = attention_rule(attention)
        self._residual = residual
        self._statistics = (clip.mean, clip.std) if normalisation == "clip" \
            else (IMAGENET_MEAN, IMAGENET_STD)

    @property
    def dimension(self) -> int:
        """Length D of a feature."""
        return self._backbone.dimension

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self._backbone.patch_size

    @property
    def device(self) -> torch.device:
        """Where the backbone computes."""
        return next(self._backbone.visual.parameters()).device

    @property
    def bytes(self) -> int:
        """Size of the backbone's weights."""
        return sum(value.numel() * value.element_size()
                   for value in self._backbone.visual.parameters())

    def output_size(self, side: int, factor: float) -> tuple[int, int]:
        """Return (rows, columns) that features of a square image have after upsampling.

        Raises:
            ValueError: an image smaller than a patch, or an output larger than the image.
        """
        size = upsampled_size(self._backbone.grid(side, side), factor)
        if max(size) > side:
            raise ValueError(f"factor {factor:g} makes {size[0]} pixels of an image of {side}; "
                             f"give at most {self.patch_size}")
        return size

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return features (B, D, h, w) float32, not normalised, of images (B, 3, H, W) in 0..1."""
        backbone = self._backbone
        before = backbone.penultimate(normalise(images, *self._statistics))
        tokens = backbone.value_tokens(before) if self.contract.layer == "value" \
            else backbone.last_block(before, self._rule, self._residual)
        return feature_map(tokens, before.grid).float()
