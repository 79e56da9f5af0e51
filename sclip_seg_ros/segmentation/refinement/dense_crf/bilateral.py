"""Joint bilateral filtering of class probabilities: a cheap stand-in for the CRF.

It has no unary term: it moves blurred boundaries to the image's edges, and does not weigh evidence
as the CRF does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings
from sclip_seg_ros.segmentation.refinement.neighbours import EdgePadded, ring_offsets

# Without a unary term a wider filter wipes out small objects. Five levels reach 31 pixels, enough
# to bring a boundary that is blurred over one 16-pixel patch back to its edge.
MAX_LEVELS = 5


def joint_bilateral(image: Tensor, probabilities: Tensor, settings: CrfSettings,
                    keep_going: Callable[[], bool]) -> Tensor:
    """Average probabilities over near pixels of like colour.

    Weights are those of the CRF's appearance kernel, exp(-|dp|^2 / 2 sxy^2 - |dI|^2 / 2 srgb^2),
    in the a-trous cascade of Dammertz et al., "Edge-Avoiding A-Trous Wavelet Transform for fast
    Global Illumination Filtering", HPG 2010: 3x3 filters at distances 1, 2, 4, ... whose spatial
    deviation adds up to sxy, or to 13 pixels where sxy is larger.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) float32.
        settings: ``bilateral_sxy`` and ``bilateral_srgb``; 0 ``iterations`` filter nothing.
        keep_going: asked before each level, the finest first.

    Returns:
        (C, H, W) float32, adding up to 1 over the classes.
    """
    colours = image.to(probabilities.device).permute(2, 0, 1).float()
    colours = colours / (math.sqrt(2.0) * settings.bilateral_srgb)
    filtered = probabilities
    for level in range(levels(settings)):
        if not keep_going():
            break
        filtered = _filter_level(colours, filtered, 2**level)
    return filtered / filtered.sum(0)


def levels(settings: CrfSettings) -> int:
    """Return how many levels have together the wanted spatial deviation; 0 without iterations.

    The kernel (1, 2, 1) / 4 at distance 2^i has variance 4^i / 2, so n levels have
    (4^n - 1) / 6, of which the root is about 2^n / sqrt(6).
    """
    if not settings.iterations:
        return 0
    wanted = round(math.log2(settings.bilateral_sxy * math.sqrt(6.0)))
    return max(1, min(wanted, MAX_LEVELS))


def _filter_level(colours: Tensor, probabilities: Tensor, step: int) -> Tensor:
    """Filter with the 3x3 binomial kernel at one distance, weighted by colour."""
    padded_colours, padded = EdgePadded(colours, step), EdgePadded(probabilities, step)
    total = probabilities * 0.25
    weights = torch.full_like(probabilities[0], 0.25)
    for dy, dx in ring_offsets([step]):
        spatial = 0.0625 if dy and dx else 0.125
        distance = (padded_colours.shift(dy, dx) - colours).square_().sum(0)
        weight = distance.neg_().exp_().mul_(spatial)
        total.addcmul_(padded.shift(dy, dx), weight)
        weights += weight
    return total.div_(weights)
