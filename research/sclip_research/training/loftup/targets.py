"""Full-resolution targets: backbone features, enlarged and refined by class-agnostic masks.

Huang et al., LoftUp, ICCV 2025, section 3.2, eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, one_hot

ALPHA = 0.8


@dataclass(frozen=True)
class Target:
    """What an upsampler shall give for a batch.

    Attributes:
        features: (B, D, H, W) float32 refined features.
        means: (M, D) mean feature of every mask of the batch.
        weights: (B, H, W) what each pixel counts; its mean over an image is 1.
    """

    features: Tensor
    means: Tensor
    weights: Tensor


def refined_target(features: Tensor, labels: Tensor, size: tuple[int, int], alpha: float = ALPHA,
                   balance: float = 0.0) -> Target:
    """Pull the features inside each mask towards the mask's mean.

    Bicubic features F become F[m] <- alpha * mean(F[m]) + (1 - alpha) * F[m]; where no mask lies
    they stay. An output pixel that several masks share gets the mixture by area, so that outlines
    are placed more finely than the pixels are; with ``size`` that of the labels, every pixel has
    one mask and this is the paper's formula.

    Args:
        features: (B, D, h, w) of the backbone.
        labels: (B, H, W) integer; 0 where no mask lies, otherwise the mask that owns the pixel,
            see :func:`~sclip_research.training.loftup.masks.paint`.
        size: (rows, columns) of the target, at most those of the labels.
        alpha: share of the mean.
        balance: pixels count as their mask's area to the power of -balance: 0 alike, 1 such that
            all masks count alike.

    Raises:
        ValueError: alpha outside 0..1, labels for another batch, or smaller than the target.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha={alpha} is out of range; give 0 to 1")
    if labels.dim() != 3 or len(labels) != len(features):
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit {len(features)} "
                         "feature maps; give (B, H, W)")
    if any(side > extent for side, extent in zip(size, labels.shape[1:], strict=True)):
        raise ValueError(f"target of {size} is larger than its masks of {tuple(labels.shape[1:])}; "
                         "give masks at the image's full size")
    enlarged = interpolate(features.float(), size=size, mode="bicubic", align_corners=False)
    refined, means, weights = [], [], []
    for image, owners in zip(enlarged, labels, strict=True):
        shares = coverage(owners, size)
        means.append(mask_means(image, shares))
        refined.append(_refine(image, shares, means[-1], alpha))
        weights.append(pixel_weights(shares, balance))
    return Target(torch.stack(refined), torch.cat(means), torch.stack(weights))


def coverage(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return each mask's share of each output pixel: (H, W) integer -> (M, *size) float32.

    Masks are those that occur, in ascending order, without 0; shares add up to at most 1.
    """
    owners, compact = labels.unique(return_inverse=True)
    shares = one_hot(compact, len(owners)).permute(2, 0, 1).float()
    if size != tuple(labels.shape):
        shares = adaptive_avg_pool2d(shares, size)
    return shares[owners != 0]


def mask_means(image: Tensor, shares: Tensor) -> Tensor:
    """Average features (D, H, W) over masks given as shares (M, H, W): (M, D)."""
    weights = shares.flatten(1)
    return (weights @ image.flatten(1).T) / weights.sum(1, keepdim=True).clamp_min(1e-6)


def pixel_weights(shares: Tensor, balance: float) -> Tensor:
    """Return what pixels count, (H, W): their mask's area^-balance; without a mask, as area 1 / 2.

    Areas are shares of the image; the result's mean is 1.
    """
    areas = shares.mean(dim=(1, 2)).clamp_min(1e-6)
    rest = (1 - shares.sum(0)).clamp_min(0)
    weights = torch.einsum("m,mhw->hw", areas ** -balance, shares) + rest * 0.5 ** -balance
    return weights / weights.mean()


def _refine(image: Tensor, shares: Tensor, means: Tensor, alpha: float) -> Tensor:
    """Apply eq. 1 to one image (D, H, W) with shares (M, H, W) and means (M, D)."""
    flat, weights = image.flatten(1), shares.flatten(1)
    covered = weights.sum(0, keepdim=True)
    return ((1 - alpha * covered) * flat + alpha * (means.T @ weights)).view_as(image)
