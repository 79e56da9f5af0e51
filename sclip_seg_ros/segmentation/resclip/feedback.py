"""ResCLIP's semantic feedback: from a first segmentation to a bias on the attention.

Yang et al., ResCLIP, CVPR 2025, "semantic feedback refinement" (SFR). Patches that a first pass
gave the same label shall attend to each other, the less so the farther apart they are when another
label lies between them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, interpolate, normalize, pad

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.refinement.pamr import pamr

GAUSSIAN_SIGMA = 5.0        # patches along the flattened grid
GAUSSIAN_SIZE = 31          # taps at most
PAMR_STEPS = 10
PAMR_DILATIONS = (8, 16)    # pixels
SCORES_AT_ONCE = 2**25      # pixels x queries refined together, 128 MiB in float32
PAIRS_AT_ONCE = 2**22       # pairs of patches whose paths are tested together


def first_pass_labels(features: Tensor, images: Tensor, query_features: Tensor, patch_size: int,
                      logit_scale: float, threshold: float) -> Tensor:
    """Label every patch with the query that most of its pixels show.

    Cosine similarity, enlarged to the image, refined by PAMR, softmax over the queries; pixels
    whose best query stays below the threshold count as query 0, as in the paper's code.

    Args:
        features: (B, D, h, w) patch features.
        images: (B, 3, H, W) normalised.
        query_features: (Q, D) text embeddings.
        patch_size: side of a patch in pixels; what remains beyond h x w patches is not counted.
        logit_scale: inverse temperature of the softmax.
        threshold: probability.

    Returns:
        (B, h, w) int64 query indices.
    """
    similarity = torch.einsum("bdhw,qd->bqhw", normalize(features.float(), dim=1),
                              normalize(query_features.float(), dim=1))
    images = images.float()
    at_once = max(1, SCORES_AT_ONCE // (similarity.shape[1] * images[0, 0].numel()))
    pixels = [_pixel_labels(scores, image, logit_scale, threshold) for scores, image
              in zip(similarity.split(at_once), images.split(at_once), strict=True)]
    return _patch_mode(torch.cat(pixels), similarity.shape[-2:], patch_size)


def semantic_matrix(labels: Tensor) -> Tensor:
    """Turn patch labels into the same-label matrix M that biases the attention.

    M_ij = 1 where i and j have one label, else 0; times exp(-chebyshev(i, j) / max_steps) where the
    path from i crosses another label; smoothed by a Gaussian along the flattened index j; rows
    normalised to 1.

    Args:
        labels: (B, h, w) integers.

    Returns:
        (B, 1 + h*w, 1 + h*w) float32, class token first with a row and a column of zeros.
    """
    grid = tuple(labels.shape[-2:])
    flat = labels.flatten(1)
    distance = _chebyshev(grid[0], grid[1], labels.device)
    decay = torch.exp(-distance / max(max(grid) - 1, 1))
    count = flat.shape[1]
    rows = max(1, PAIRS_AT_ONCE // (count * flat.shape[0]))
    smooth = torch.cat([
        _smooth(_same_label(flat, grid, distance, decay, start, min(start + rows, count)))
        for start in range(0, count, rows)], dim=1)
    return pad(smooth / smooth.sum(-1, keepdim=True), (1, 0, 1, 0))


def _pixel_labels(similarity: Tensor, images: Tensor, logit_scale: float,
                  threshold: float) -> Tensor:
    """Segment images by their patch similarities: (B, Q, h, w) -> (B, H, W)."""
    scores = interpolate(similarity, size=images.shape[-2:], mode="bilinear", align_corners=False)
    scores = pamr(images, scores, PAMR_STEPS, PAMR_DILATIONS)
    probability, label = torch.softmax(logit_scale * scores, dim=1).max(dim=1)
    return label.masked_fill_(probability < threshold, 0)


def _patch_mode(pixels: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Return each patch's most frequent label, the lowest of equals."""
    height, width = grid
    patches = pixels[:, :height * side, :width * side].unflatten(2, (width, side))
    patches = patches.unflatten(1, (height, side)).transpose(2, 3).flatten(3)
    return patches.mode(dim=-1).values


def _same_label(flat: Tensor, grid: tuple[int, int], distance: Tensor, decay: Tensor,
                start: int, stop: int) -> Tensor:
    """Return rows start..stop of M before smoothing: (B, h*w) -> (B, stop - start, h*w)."""
    source = flat[:, start:stop, None]
    crossed = torch.zeros(flat.shape[0], stop - start, flat.shape[1], dtype=torch.bool,
                          device=flat.device)
    for step in range(1, max(grid)):
        visited = flat[:, _visited(grid, step, start, stop, flat.device)]
        crossed |= (visited != source) & (distance[start:stop] >= step)
    return torch.where(crossed, decay[start:stop], 1.0) * (source == flat[:, None])


def _visited(grid: tuple[int, int], step: int, start: int, stop: int,
             device: torch.device) -> Tensor:
    """Return the patch visited after some steps from each source towards each target.

    Published as it is: the way is always cut into max(h, w) - 1 steps, and a pair walks as many of
    them as it lies patches apart. On the path of a near pair only the first part is looked at.

    Returns:
        (stop - start, h*w) flat indices.
    """
    height, width = grid
    source = torch.arange(start, stop, device=device)
    rows, columns = _steps(height, max(grid), device), _steps(width, max(grid), device)
    y = rows[step][source // width]
    x = columns[step][source % width]
    return (y[:, :, None] * width + x[:, None, :]).flatten(1)


@device_cache(maxsize=32)
def _steps(side: int, points: int, device: torch.device) -> Tensor:
    """Cut the way between any two places of a line into rounded steps.

    Float32 decides where exact halves go; the expression is the one that agrees with the paper's
    results.

    Returns:
        (points, side, side) int64: place after a step, from, to. Cached: do not write into it.
    """
    place = torch.arange(side, dtype=torch.float32)
    share = torch.linspace(0.0, 1.0, points)[:, None, None]
    return ((1.0 - share) * place[:, None] + share * place[None]).round().long().to(device)


@device_cache(maxsize=8)
def _chebyshev(height: int, width: int, device: torch.device) -> Tensor:
    """Return the Chebyshev distances of all patches, (h*w, h*w) float32, cached."""
    y = torch.arange(height, device=device).repeat_interleave(width)
    x = torch.arange(width, device=device).repeat(height)
    return torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs()).float()


def _smooth(rows: Tensor) -> Tensor:
    """Blur along the flattened patch index with zeros beyond its ends: (B, n, N)."""
    taps = min(rows.shape[-1], GAUSSIAN_SIZE) | 1
    offset = torch.arange(taps, device=rows.device, dtype=torch.float32) - taps // 2
    kernel = torch.exp(-offset.square() / (2.0 * GAUSSIAN_SIGMA**2))
    blurred = conv1d(rows.flatten(0, 1)[:, None], kernel[None, None] / kernel.sum(),
                     padding=taps // 2)
    return blurred.view_as(rows).relu_()
