"""ResCLIP as the project's design documents describe it, which is another method than the paper's.

There, RCS smooths the final features over places that look alike, and SFR averages similarity maps
of three scales. Neither touches CLIP's attention. ``docs/resclip.md`` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize, scaled_dot_product_attention

SCALES = (4, 2, 1)          # the pyramid's divisors, coarse to fine


def feature_correlation(features: Tensor, weight: float = 0.3,
                        temperature: float = 0.07) -> Tensor:
    """Add to every feature the mean of those that resemble it: f + weight * A f.

    A = softmax(cos(f_i, f_j) / temperature) over all places j of the same image.

    Args:
        features: (B, D, h, w).
        weight: share of the attended features.
        temperature: of the softmax; small values keep to the nearest likeness.

    Returns:
        (B, D, h, w) in the features' dtype, not normalised; computed in float32.

    Raises:
        ValueError: a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be positive; give e.g. 0.07")
    values = features.float().flatten(2).transpose(1, 2)  # half cannot normalise a zero vector
    directions = normalize(values, dim=-1)
    attended = scaled_dot_product_attention(directions[:, None], directions[:, None],
                                            values[:, None], scale=1.0 / temperature)[:, 0]
    attended = attended.transpose(1, 2).unflatten(2, features.shape[-2:])
    return (features + weight * attended).to(features.dtype)


def similarity_pyramid(features: Tensor, query_features: Tensor, blend: float = 0.6) -> Tensor:
    """Compare features with queries on three scales and merge from coarse to fine.

    Args:
        features: (B, D, h, w); averaged over areas to a quarter and a half of the grid.
        query_features: (Q, D), or (B, Q, D) where each image has its own.
        blend: share of the finer scale at each merge.

    Returns:
        (B, Q, h, w) float32 in [-1, 1].

    Raises:
        ValueError: a blend outside 0..1.
    """
    height, width = features.shape[-2:]
    features, queries = features.float(), normalize(query_features.float(), dim=-1)
    comparison = "bdhw,qd->bqhw" if queries.dim() == 2 else "bdhw,bqd->bqhw"
    maps = []
    for divisor in SCALES:
        size = (max(1, height // divisor), max(1, width // divisor))
        scaled = normalize(interpolate(features, size=size, mode="area"), dim=1)
        maps.append(torch.einsum(comparison, scaled, queries))
    return merge_scales(maps, blend)


def merge_scales(maps: Sequence[Tensor], blend: float = 0.6) -> Tensor:
    """Merge similarity maps from coarse to fine: blend * finer + (1 - blend) * enlarged coarser.

    Args:
        maps: (B, Q, h, w) each, of any sizes, coarsest first.
        blend: share of the finer map.

    Returns:
        (B, Q, h, w) of the last map's size.

    Raises:
        ValueError: a blend outside 0..1.
    """
    if not 0.0 <= blend <= 1.0:
        raise ValueError(f"blend={blend} is not a share; give 0 to 1")
    merged = maps[0]
    for finer in maps[1:]:
        coarse = interpolate(merged, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        merged = blend * finer + (1.0 - blend) * coarse
    return merged
