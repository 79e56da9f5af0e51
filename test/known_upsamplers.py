"""Upsamplers whose worth is known beforehand, to be put in LoftUp's place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpUpsampler

# What the embedded model is trained to be read by, fed as the pipeline runs it.
CONTRACT = FeatureContract("embedded", "attended", "clip")


class Bilinear(nn.Module):
    """Interpolate: the language is kept, and nothing is gained."""

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Enlarge (B, D, h, w) to the guidance's size."""
        return interpolate(features.float(), size=guidance.shape[-2:], mode="bilinear",
                           align_corners=False)


class Rotated(Bilinear):
    """Interpolate in a rotated space: every distance is kept, the language is lost."""

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Enlarge and rotate."""
        generator = torch.Generator().manual_seed(0)
        dimension = features.shape[1]
        rotation = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator)).Q
        return torch.einsum("bdhw,de->behw", super().forward(features, guidance), rotation)


class Blurred(Bilinear):
    """Give every pixel the window's mean: close to all features in cosine, and of no use."""

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Average the features over the window."""
        mean = features.float().mean((2, 3), keepdim=True)
        return mean.expand(-1, -1, *guidance.shape[-2:])


class Guided(nn.Module):
    """Joint bilateral upsampling (Kopf et al., SIGGRAPH 2007): sharper with the language kept."""

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Average patches that are near in place (0.8 patches) and colour (0.1)."""
        grid, size = features.shape[-2:], guidance.shape[-2:]
        small = interpolate(guidance, size=grid, mode="bilinear", antialias=True)
        place = torch.cdist(_centres(size, grid), _centres(grid, grid)) / 0.8
        colour = torch.cdist(guidance.flatten(2).mT, small.flatten(2).mT) / 0.1
        weights = torch.softmax(-(place ** 2 + colour ** 2) / 2, dim=-1)
        averaged = weights @ normalize(features.float(), dim=1).flatten(2).mT
        return averaged.mT.unflatten(2, size)


def segmentor_with(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> SCLIPSegmentor:
    """Load the embedded model with a network in LoftUp's place."""
    known = replace(UPSAMPLERS["loftup"], load=lambda settings, *_: LoftUpUpsampler(
        settings, network, contract=CONTRACT))
    monkeypatch.setitem(UPSAMPLERS, "loftup", known)
    return SCLIPSegmentor(settings=SegmentorSettings(use_loftup=True))


def _centres(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return the cells' centres (rows * columns, 2) in units of a grid's cells."""
    rows, columns = ((torch.arange(count) + 0.5) * cells / count
                     for count, cells in zip(size, grid, strict=True))
    return torch.cartesian_prod(rows, columns)
