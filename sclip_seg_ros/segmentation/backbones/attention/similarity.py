"""Which patches of an image look alike, and averages over those that do.

Methods that repair CLIP's dense tokens compare the patches of one layer with each other, and gather
another layer's tokens by that likeness. All of it is done in float32, each image alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

THRESHOLD = 0.4   # cosine below which patches count as unlike: beta of SC-CLIP and RF-CLIP


def cosines(patches: Tensor) -> Tensor:
    """Compare all patches of each image: (B, N, W) to (B, N, N) float32."""
    directions = normalize(patches.float(), dim=-1)
    return directions @ directions.transpose(1, 2)


def gather_alike(similarity: Tensor, patches: Tensor, average: bool = True) -> Tensor:
    """Add up the patches that are alike, weighted by their likeness.

    Args:
        similarity: (B, N, N); what lies below the threshold counts as zero.
        patches: (B, N, W).
        average: divide by the sum of the weights.

    Returns:
        (B, N, W) float32.
    """
    weights = similarity.masked_fill(similarity < THRESHOLD, 0.0)
    if average:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
    return weights @ patches.float()


def attend_alike(similarity: Tensor, sharpness: float, share: float = 1.0) -> Tensor:
    """Turn similarities into attention: softmax(sharpness (S - share mean S)), less than 0 masked.

    The mean runs over each image alone. A patch always attends to itself: without that, an image
    whose patches are all alike would leave rows without an entry.

    Args:
        similarity: (B, N, N) cosines.
        sharpness: inverse temperature.
        share: of the mean that is taken off.

    Returns:
        (B, N, N) float32, rows add up to 1.
    """
    scores = sharpness * (similarity - share * similarity.mean(dim=(1, 2), keepdim=True))
    itself = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    return scores.masked_fill((scores < 0) & ~itself, float("-inf")).softmax(-1)


def box_sum(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Add up each patch's 3x3 neighbourhood, itself included, zeros outside: (B, N, W)."""
    plane = patches.transpose(1, 2).unflatten(2, grid)
    return avg_pool2d(plane, 3, 1, 1, divisor_override=1).flatten(2).transpose(1, 2)
