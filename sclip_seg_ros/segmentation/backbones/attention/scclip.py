"""SC-CLIP: outlier tokens repaired, and attention from what middle layers find alike.

Bai et al., "Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation", 2024. CLIP's last
layers hold a few patches whose tokens tell of the whole image instead of their place. They are
found by their local outlier factor and replaced by their neighbours' mean; patches are then
gathered with others that a middle layer finds alike, before and after a last block without residual
and feed-forward network; and a second pass runs that block on the sum of the middle layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sclip_seg_ros.segmentation.backbones.attention.similarity import (
    attend_alike,
    box_sum,
    cosines,
    gather_alike,
)

if TYPE_CHECKING:
    from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone

NEIGHBOURS = 30
OUTLIERS = 20      # one patch in so many is taken for an outlier: the published 5 %
SHARPNESS = 3.0    # of the similarity as attention


@dataclass(frozen=True)
class Layers:
    """Which layers SC-CLIP reads, counted from 1.

    Attributes:
        alike: by whose tokens patches are compared before the last block, repaired.
        smooth: by whose tokens they are compared after it.
        first, last: whose sum the second pass runs on.
        class_weight: how much of the class token is added to every patch.
    """

    alike: int
    smooth: int
    first: int
    last: int
    class_weight: float

    @classmethod
    def of(cls, depth: int) -> Layers:
        """Return the published layers of a tower of 12 or 24 blocks, or those in like places.

        Raises:
            ValueError: a tower of less than three blocks.
        """
        if depth < 3:
            raise ValueError(f"image tower of depth {depth} has no middle layers that scclip could "
                             "read; choose one of 3 blocks or more, or attention 'sclip'")
        if depth == 24:
            return cls(17, 7, 9, 19, 0.1)
        alike, smooth, last = (max(1, depth * place // 12) for place in (9, 4, 10))
        return cls(alike, smooth, smooth, min(last, depth - 1), 0.3)


def scclip_tokens(backbone: DenseBackbone, images: Tensor) -> Tensor:
    """Return projected patch tokens by SC-CLIP, each image alone.

    Args:
        backbone: the image tower.
        images: (B, 3, H, W) normalised.

    Returns:
        (B, h*w, D) in the space of the text embeddings, not normalised.

    Raises:
        ValueError: a tower of less than three blocks, or an image smaller than a patch.
    """
    layers, prefix = Layers.of(backbone.depth), backbone.prefix
    tokens, grid = backbone.start(images)
    summed = torch.zeros_like(tokens, dtype=torch.float32)
    for layer in range(1, backbone.depth):
        tokens = backbone.block(layer - 1, tokens, grid)
        if layer == layers.alike:
            alike = tokens[:, prefix:]
        if layer == layers.smooth:
            smooth = cosines(tokens[:, prefix:])
        if layers.first <= layer <= layers.last:
            summed += tokens
    patches = tokens[:, prefix:]
    outliers = find_outliers(patches)
    similarity = cosines(repair(alike, outliers, grid))
    calibrated = gather_alike(similarity, repair(patches, outliers, grid))
    weights = attend_alike(similarity, SHARPNESS).to(tokens.dtype)
    attended = (_last_block(backbone, calibrated, tokens, weights, grid, layers.class_weight)
                + _last_block(backbone, summed[:, prefix:], summed, weights, grid,
                              layers.class_weight))
    return backbone.project(gather_alike(smooth, attended).to(tokens.dtype))


def local_outlier_factor(points: Tensor) -> Tensor:
    """Return how much lonelier each point is than its nearest ones (Breunig et al., SIGMOD 2000).

    With each point's 30 nearest others and the distance d of the farthest of them, SC-CLIP's form,
    which squares distances, is d_i times the mean of 1 / d_j over the nearest others j.

    Args:
        points: (B, N, W), N more than the 30 neighbours.

    Returns:
        (B, N) float32; 1 in an even crowd.
    """
    # Around their mean, or the differences of large coordinates would be lost in the products.
    centred = points.float() - points.float().mean(1, keepdim=True)
    lengths = centred.square().sum(-1)
    squared = lengths[:, :, None] + lengths[:, None] - 2.0 * centred @ centred.transpose(1, 2)
    itself = torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    nearest = squared.clamp_min(1e-12).masked_fill(itself, float("inf")).topk(
        NEIGHBOURS, dim=-1, largest=False)
    reach = nearest.values[..., -1]
    others = reach.reciprocal().gather(1, nearest.indices.flatten(1)).view_as(nearest.values)
    return reach * others.mean(-1)


def find_outliers(patches: Tensor) -> Tensor:
    """Take a fixed share of the patches for outliers, those with the largest factors.

    As many as lie above the 95 % quantile where no two factors are equal. That the count is fixed
    is what a CUDA graph needs. Where every patch is every other's neighbour nobody is lonelier than
    the others: then there are no outliers.

    Args:
        patches: (B, N, W).

    Returns:
        (B, N) bool.
    """
    mask = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
    others = patches.shape[1] - 1
    if others <= NEIGHBOURS:
        return mask
    factors = local_outlier_factor(patches)
    return mask.scatter(1, factors.topk(-(-others // OUTLIERS), dim=1).indices, True)


def repair(patches: Tensor, outliers: Tensor, grid: tuple[int, int]) -> Tensor:
    """Replace outliers by the mean of their neighbours that are none, if there are any.

    Args:
        patches: (B, N, W), row by row.
        outliers: (B, N) bool.
        grid: (rows, columns).

    Returns:
        (B, N, W) float32.
    """
    patches, sound = patches.float(), (~outliers).float()[..., None]
    count = box_sum(sound, grid)
    mean = box_sum(patches * sound, grid) / count.clamp_min(1.0)
    return torch.where(outliers[..., None] & (count > 0), mean, patches)


def _last_block(backbone: DenseBackbone, patches: Tensor, tokens: Tensor, weights: Tensor,
                grid: tuple[int, int], class_weight: float) -> Tensor:
    """Attend among patches alone, half by likeness and half by keys, and add the class token."""
    last = backbone.depth - 1
    _, k, v = backbone.queries_keys_values(last, patches.to(weights.dtype), grid)
    attended = 0.5 * (weights[:, None] @ v + scaled_dot_product_attention(k, k, v))
    merged = backbone.merge_heads(last, attended).float()
    return merged + class_weight * tokens[:, :1].float() if backbone.prefix else merged
