"""ProxyCLIP: CLIP's values, attended to by how alike places look to another tower.

Lan et al., "ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary Segmentation", ECCV 2024.
With S the cosines between the proxy's features, attention is softmax(gamma (S - beta mean S)), and
places with S below beta times its mean do not attend to each other. CLIP's values are brought to
the proxy's grid; the last block's residual and feed-forward network are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.backbones.attention.similarity import attend_alike, cosines
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone

PAIRS_AT_ONCE = 2**24  # of places compared together, 64 MB in float32


def proxy_attention(features: Tensor, beta: float, gamma: float) -> Tensor:
    """Return how much each place takes from each other, each image alone.

    Where the mean cosine exceeds 1 / beta the published formula leaves a row without an entry; a
    place always attends to itself here.

    Args:
        features: (B, C, h, w) of the proxy.
        beta: share of the mean cosine that is taken off.
        gamma: inverse temperature.

    Returns:
        (B, h*w, h*w) float32, rows add up to 1.
    """
    return attend_alike(cosines(features.flatten(2).transpose(1, 2)), gamma, beta)


def proxy_tokens(backbone: DenseBackbone, values: Tensor, grid: tuple[int, int], features: Tensor,
                 beta: float, gamma: float) -> Tensor:
    """Attend to CLIP's values by the proxy's features, and bring that to the texts' space.

    Args:
        backbone: the image tower.
        values: (B, heads, rows*columns, d) of the last block, of the patches alone.
        grid: (rows, columns) of the values.
        features: (B, C, h, w) of the proxy, of the same images.
        beta, gamma: see :func:`proxy_attention`.

    Returns:
        (B, h*w, D) in the space of the text embeddings, not normalised.
    """
    places = features.shape[-2] * features.shape[-1]
    at_once = max(1, PAIRS_AT_ONCE // places**2)
    attended = []
    for own, looks in zip(values.split(at_once), features.split(at_once), strict=True):
        weights = proxy_attention(looks, beta, gamma).to(own.dtype)
        attended.append(weights[:, None] @ _resized(own, grid, tuple(looks.shape[-2:])))
    return backbone.project(backbone.merge_heads(backbone.depth - 1, torch.cat(attended)))


def _resized(values: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Bring values (B, heads, h*w, d) from a grid to another, bilinear."""
    if grid == size:
        return values
    plane = values.transpose(2, 3).flatten(1, 2).unflatten(2, grid)
    plane = interpolate(plane.float(), size=size, mode="bilinear", align_corners=False)
    return plane.to(values.dtype).flatten(2).unflatten(1, (values.shape[1], -1)).transpose(2, 3)
