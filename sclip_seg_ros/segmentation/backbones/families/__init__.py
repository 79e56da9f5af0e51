"""Families of image towers, a file each, and which of them a tower belongs to."""

from __future__ import annotations

from open_clip.timm_model import TimmModel
from torch import nn

from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.backbones.families.eva import EvaViT
from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT

FAMILIES: list[type[DenseBackbone]] = [TimmViT, EvaViT, ClipViT]


def backbone_of(visual: nn.Module, name: str = "") -> DenseBackbone:
    """Wrap the image tower of an open_clip model by the first family that knows it.

    Args:
        visual: the tower.
        name: of the model and its weights.

    Raises:
        ValueError: a tower that gives no dense tokens; the message names what can be used.
    """
    for family in FAMILIES:
        if family.holds(visual):
            return family(visual, name)
    trunk = visual.trunk if isinstance(visual, TimmModel) else visual
    raise ValueError(f"image tower {type(trunk).__name__} has no tokens of patches; choose a ViT, "
                     "e.g. 'ViT-B/16', 'ViT-B-16-SigLIP2', 'EVA02-B-16', 'PE-Core-B-16' or "
                     "'MobileCLIP2-B'")
