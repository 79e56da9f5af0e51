"""How far upsampled features are from their targets.

Every loss is a mean over images of per-image values, so that batches of one size add up alike
however they are spread over processes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax, normalize


def squared_error(features: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the L2 loss (Huang et al., eq. 2) relative to the target's own square.

    Args:
        features, target: (B, D, H, W).
        weights: (B, H, W) what pixels count, of mean 1; all alike if None.
    """
    error = (features - target).square().mean(dim=1)
    if weights is not None:
        error = error * weights
    square = target.square().mean(dim=(1, 2, 3)).clamp_min(1e-12)
    return (error.mean(dim=(1, 2)) / square).mean()


def direction_error(features: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return 1 - cosine, averaged over pixels; the direction is all that similarity with text sees.

    Not in the paper, whose upsampler is not tied to a text space.
    """
    error = 1 - cosine_similarity(features, target, dim=1)
    return (error if weights is None else error * weights).mean()


def contrast_error(features: Tensor, target: Tensor, means: Tensor, scale: float,
                   weights: Tensor | None = None) -> Tensor:
    """Compare what pixels resemble among the masks' means, as words are compared later.

    Both are compared with every mean, softmax over means; the loss is the Kullback-Leibler
    divergence of the features' distribution from the target's. Not in the paper: it spends the
    network's effort on the differences that tell things apart, and needs no class names.

    Args:
        features, target: (B, D, H, W).
        means: (M, D) mean features of the batch's masks.
        scale: inverse temperature on cosines.
    """
    prototypes = normalize(means, dim=1)
    wanted, found = (log_softmax(scale * torch.einsum("bdhw,md->bmhw", normalize(x, dim=1),
                                                      prototypes), dim=1)
                     for x in (target, features))
    error = (wanted.exp() * (wanted - found)).sum(dim=1)
    return (error if weights is None else error * weights).mean()


def affinity_error(features: Tensor, target: Tensor, places: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of the two affinity matrices (Huang et al., eq. 3).

    An image's affinity matrix holds the cosine of every pair of its pixels, n^2 values; it does
    not see a rotation of the feature space.

    Args:
        features, target: (B, D, H, W) of one size.
        places: indices of the pixels (row-major) to compare; all if None.
    """
    first, second = (normalize(x.flatten(2), dim=1) for x in (features, target))
    if places is not None:
        places = places.to(features.device)  # once, and not at each of their uses
        first, second = first[..., places], second[..., places]
    difference = torch.einsum("bdn,bdm->bnm", first, first) \
        - torch.einsum("bdn,bdm->bnm", second, second)
    return difference.square().mean()
