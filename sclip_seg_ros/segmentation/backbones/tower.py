"""The image tower with one way to run its last block, shared by all settings that want the same.

Sharing saves memory on a GPU, where each tower may hold its kernels as a graph, and lets a change
of settings further down the pipeline keep the graphs that were recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.cuda_graphs import Call, Replayed


@dataclass(frozen=True)
class LastBlock:
    """How the last block makes patch tokens.

    Attributes:
        values: the projected values alone, without attention; the others are then without effect.
        attention: name of the attention's rule.
        residual: keep the block's residual and feed-forward network.
        options: names and values of the settings that the rule depends on.
    """

    values: bool
    attention: str = "vanilla"
    residual: bool = True
    options: tuple[tuple[str, Any], ...] = ()


def shared_tower(backbone: DenseBackbone, last: LastBlock) -> Replayed:
    """Return the function from normalised images (N, 3, H, W) to (N, h*w, D) patch tokens.

    There is one for each way to run the last block, kept by the backbone.
    """
    if last not in backbone.towers:
        tower = _Tower(backbone, last)
        backbone.towers[last] = Replayed(tower.patch_tokens, lambda: backbone.place, tower.bias)
    return backbone.towers[last]


def shared_values(backbone: DenseBackbone) -> Replayed:
    """Return the function from normalised images to the last block's values of their patches.

    These are (N, heads, h*w, d); leading tokens' are left out. It is kept by the backbone.
    """
    def patch_values(images: Tensor) -> Tensor:
        penultimate = backbone.penultimate(images)
        values = backbone.values(backbone.depth - 1, penultimate.tokens, penultimate.grid)
        return values[:, :, backbone.prefix:]

    return _shared(backbone, "values", patch_values)


def shared_plain(backbone: DenseBackbone) -> Replayed:
    """Return the function from normalised images to patches before they get to the texts' space.

    These are (N, h*w, W), of the tower as it was trained. It is kept by the backbone.
    """
    return _shared(backbone, "plain",
                   lambda images: backbone.plain_tokens(backbone.penultimate(images)))


def _shared(backbone: DenseBackbone, name: str, call: Call) -> Replayed:
    if name not in backbone.towers:
        backbone.towers[name] = Replayed(call, lambda: backbone.place)
    return backbone.towers[name]


class _Tower:
    def __init__(self, backbone: DenseBackbone, last: LastBlock) -> None:
        self._backbone = backbone
        self._last = last
        self._attention, self._options = ATTENTIONS[last.attention], dict(last.options)
        self._rule = None if self._attention.tokens \
            else attention_rule(last.attention, self._options)
        prepare = None if last.values else self._attention.prepare
        self._prepared = prepare(backbone) if prepare else None

    def patch_tokens(self, images: Tensor) -> Tensor:
        if self._last.values:
            return self._backbone.value_tokens(self._backbone.penultimate(images),
                                               class_token=False)
        if self._rule is None:
            return self._attention.tokens_of(self._backbone, images, self._options,
                                             self._prepared)
        penultimate = self._backbone.penultimate(images)
        return self._backbone.last_block(penultimate, self._rule, self._last.residual,
                                         class_token=False)

    def bias(self, images: Tensor) -> Tensor | None:
        """Return what is added to the attention between patches, which a graph must keep alive."""
        if self._last.values:
            return None
        return self._attention.bias_for(self._backbone.grid(*images.shape[-2:]), images.device,
                                        self._options, self._backbone.prefix)
