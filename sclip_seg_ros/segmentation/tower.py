"""The image tower with one way to run its last block, shared by all settings that want the same.

Sharing saves memory on a GPU, where each tower may hold its kernels as a graph, and lets a change
of settings further down the pipeline keep the graphs that were recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sclip_seg_ros.segmentation.attention import attention_rule, neighbourhood_bias
from sclip_seg_ros.segmentation.backbone import DenseBackbone
from sclip_seg_ros.segmentation.replay import Replayed
from sclip_seg_ros.segmentation.settings import SegmentorSettings

_DEFAULTS = SegmentorSettings()


@dataclass(frozen=True)
class LastBlock:
    """How the last block makes patch tokens.

    Attributes:
        values: the projected values alone, without attention; the others are then without effect.
        attention: name of the attention's rule.
        residual: keep the block's residual and feed-forward network.
        naclip_sigma: width of the rule "naclip", patches.
    """

    values: bool
    attention: str = _DEFAULTS.attention
    residual: bool = _DEFAULTS.residual
    naclip_sigma: float = _DEFAULTS.naclip_sigma

    @classmethod
    def of(cls, settings: SegmentorSettings, values: bool) -> LastBlock:
        """Return what settings ask for; all that mean the same are equal."""
        if values:
            return cls(True)
        sigma = (settings if settings.attention == "naclip" else _DEFAULTS).naclip_sigma
        return cls(False, settings.attention, settings.residual, sigma)


def shared_tower(backbone: DenseBackbone, last: LastBlock) -> Replayed:
    """Return the function from normalised images (N, 3, H, W) to (N, h*w, D) patch tokens.

    There is one for each way to run the last block, kept by the backbone.
    """
    if last not in backbone.towers:
        tower = _Tower(backbone, last)
        backbone.towers[last] = Replayed(tower.patch_tokens, lambda: backbone.place, tower.bias)
    return backbone.towers[last]


class _Tower:
    def __init__(self, backbone: DenseBackbone, last: LastBlock) -> None:
        self._backbone = backbone
        self._last = last
        self._rule = attention_rule(last.attention, last.naclip_sigma)

    def patch_tokens(self, images: Tensor) -> Tensor:
        penultimate = self._backbone.penultimate(images)
        if self._last.values:
            return self._backbone.value_tokens(penultimate, class_token=False)
        return self._backbone.last_block(penultimate, self._rule, self._last.residual,
                                         class_token=False)

    def bias(self, images: Tensor) -> Tensor | None:
        """Return what is added to the attention between patches, which a graph must keep alive."""
        if self._last.values or self._last.attention != "naclip":
            return None
        grid = self._backbone.grid(*images.shape[-2:])
        return neighbourhood_bias(*grid, self._last.naclip_sigma, images.device)
