"""The embedded model's image tower: convolutions see shapes, three blocks of attention relate them.

A small tower that is trained from nothing learns several times faster with convolutions before its
attention (Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021). Residual
blocks of two convolutions (He et al., CVPR 2016) lead from pixels to the patches of 16; after them
it is timm's plain VisionTransformer, so that attention rules, ResCLIP and the rest work as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from timm.layers import HybridEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import relu

NAME = "sclip_hybrid"                       # in `timm_model_name` of an open_clip configuration
STEM = (24, 32)                             # channels of the layers that halve the picture first
STAGES = ((32, 1, 1), (64, 2, 2), (128, 3, 2))  # channels, residual blocks, stride of the first
WIDTH, DEPTH, HEADS = 192, 3, 3

default_cfgs = generate_default_cfgs({NAME: {"input_size": (3, 224, 224), "num_classes": 0}})


class Convolution(nn.Sequential):
    """A convolution that keeps or halves the grid, with batch norm, and ReLU unless told."""

    def __init__(self, inside: int, outside: int, side: int = 3, stride: int = 1,
                 bend: bool = True) -> None:
        """Lead from ``inside`` channels to ``outside``."""
        layers = [nn.Conv2d(inside, outside, side, stride, side // 2, bias=False),
                  nn.BatchNorm2d(outside)]
        super().__init__(*layers, *([nn.ReLU()] if bend else []))


class Residual(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        """Begin as the short cut alone, so that depth costs no learning."""
        super().__init__()
        self.first = Convolution(inside, outside, stride=stride)
        self.second = Convolution(outside, outside, bend=False)
        nn.init.zeros_(self.second[1].weight)
        same = inside == outside and stride == 1
        self.short = nn.Identity() if same else nn.Sequential(
            nn.AvgPool2d(stride), Convolution(inside, outside, 1, bend=False))

    def forward(self, seen: Tensor) -> Tensor:
        """Turn (B, inside, H, W) into (B, outside, H / stride, W / stride)."""
        return relu(self.second(self.first(seen)) + self.short(seen))


class Stem(nn.Sequential):
    """From pixels (B, 3, H, W) to (B, 128, H / 16, W / 16)."""

    def __init__(self) -> None:
        """Build all layers, with random weights."""
        super().__init__(*self._layers())

    @staticmethod
    def _layers() -> Iterator[nn.Module]:
        channels = 3
        for wider in STEM:
            yield Convolution(channels, wider, stride=2)
            channels = wider
        for wider, blocks, stride in STAGES:
            for block in range(blocks):
                yield Residual(channels, wider, stride if block == 0 else 1)
                channels = wider

    def forward(self, images: Tensor) -> Tensor:
        """Convolve; with channels last in memory, which is faster on CPUs and GPUs."""
        return super().forward(images.contiguous(memory_format=torch.channels_last))


@register_model
def sclip_hybrid(pretrained: bool = False, **arguments: Any) -> VisionTransformer:
    """Build the tower with random weights; for timm's registry.

    Args:
        pretrained: timm's; there are no weights that timm could fetch.
        arguments: of the VisionTransformer, such as ``num_classes``.
    """
    shape = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": 224,
             "embed_layer": partial(HybridEmbed, backbone=Stem()), "patch_size": 1}
    return build_model_with_cfg(VisionTransformer, NAME, pretrained, **shape, **arguments)
