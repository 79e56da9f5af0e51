"""CLIPtrase: three self-attentions in the last block, and clusters of patches that correlate.

Shao et al., "Explore the Potential of CLIP for Training-Free Open Vocabulary Semantic
Segmentation", ECCV 2024. The last block attends by queries, keys and values each with themselves.
How the patches of the block before it correlate, less what they share with the class token, is
clustered by density; all pixels of a cluster then get the label that most of them have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, Penultimate

NOISE = -1
ENLARGED, MEDIAN = 4, 7   # of the clusters' maps: bilinear times, and side of the median's window


def cliptrase_tokens(backbone: DenseBackbone, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return projected tokens and the correlation of the block before the last.

    Args:
        backbone: the image tower, of two blocks or more.
        images: (B, 3, H, W) normalised.

    Returns:
        (B, P + h*w, D) tokens, leading ones first, not normalised; (B, P + h*w, P + h*w) float32.

    Raises:
        ValueError: a tower of one block, or an image smaller than a patch.
    """
    before, tokens, grid = _up_to_the_block_before_the_last(backbone, images)
    correlation = self_correlation(backbone.queries_keys_values(before, tokens, grid))
    penultimate = Penultimate(backbone.block(before, tokens, grid), grid)
    return backbone.last_block(penultimate, attention_rule("cliptrase")), correlation


def patch_correlation(backbone: DenseBackbone,
                      images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return the correlation alone, (B, P + h*w, P + h*w), and the patch grid (h, w).

    See :func:`cliptrase_tokens`.
    """
    before, tokens, grid = _up_to_the_block_before_the_last(backbone, images)
    return self_correlation(backbone.queries_keys_values(before, tokens, grid)), grid


def refuse_clusters(depth: int, prefix: int) -> None:
    """Refuse clusters for a tower that does not have what they need.

    Raises:
        ValueError: less than two blocks, or not one class token before the patches.
    """
    if depth < 2:
        raise ValueError("CLIPtrase compares the patches of the block before the last; choose an "
                         "image tower of 2 blocks or more")
    if prefix != 1:
        raise ValueError("use_clusters subtracts what patches share with the class token, and "
                         f"this image tower has {prefix} such tokens instead of one; set "
                         "use_clusters to false")


def _up_to_the_block_before_the_last(
        backbone: DenseBackbone, images: Tensor) -> tuple[int, Tensor, tuple[int, int]]:
    """Return that block's index, what enters it, and the grid."""
    before = backbone.depth - 2
    if before < 0:
        refuse_clusters(backbone.depth, backbone.prefix)
    tokens, grid = backbone.start(images)
    for index in range(before):
        tokens = backbone.block(index, tokens, grid)
    return before, tokens, grid


def self_correlation(parts: Sequence[Tensor]) -> Tensor:
    """Return the mean over heads and parts of the cosines of each part with itself.

    Args:
        parts: queries, keys and values, (B, heads, N, d) each.

    Returns:
        (B, N, N) float32.
    """
    directions = [normalize(part.float(), dim=-1) for part in parts]
    return sum((part @ part.transpose(-2, -1)).mean(1) for part in directions) / len(directions)


def without_shared(correlation: Tensor) -> Tensor:
    """Take off each patch's row what the class token correlates with: (B, 1 + N, 1 + N) -> N, N."""
    return (correlation[:, 1:, 1:] - correlation[:, :1, 1:]).clamp_min(0.0)


def density_clusters(rows: np.ndarray, radius: float, least: int) -> np.ndarray:
    """Cluster points by density (DBSCAN; Ester et al., KDD 1996).

    Args:
        rows: (N, d) points.
        radius: Euclidean distance within which points are neighbours.
        least: neighbours that make a point the core of a cluster, itself included.

    Returns:
        (N,) int64 numbers from 0 in the order of the clusters' first cores; -1 for noise. A point
        at the edge of several clusters belongs to the first.
    """
    lengths = (rows ** 2).sum(1)
    squared = lengths[:, None] + lengths - 2.0 * rows @ rows.T
    near = squared <= radius ** 2
    np.fill_diagonal(near, True)
    core = near.sum(1) >= least
    labels = np.full(len(rows), NOISE, dtype=np.int64)
    number = 0
    for first in np.flatnonzero(core):
        if labels[first] != NOISE:
            continue
        waiting = [first]
        while waiting:  # all that can be reached from core to core
            found = near[waiting].any(0) & (labels == NOISE)
            labels[found] = number
            waiting = np.flatnonzero(found & core).tolist()
        number += 1
    return labels


def cluster_maps(correlation: Tensor, labels: np.ndarray) -> Tensor:
    """Return how strongly each patch correlates with each cluster, (K, N): its rows' mean."""
    return torch.stack([correlation[torch.from_numpy(labels == number)].mean(0)
                        for number in range(labels.max() + 1)])


def cluster_image(maps: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Assign every pixel to the cluster that it belongs to most.

    Args:
        maps: (K, h*w), K at least 1.
        grid: (h, w).
        size: (H, W).

    Returns:
        (H, W) int64.
    """
    planes = interpolate(maps.unflatten(1, grid)[None], scale_factor=ENLARGED, mode="bilinear")[0]
    reach = MEDIAN // 2
    padded = torch.from_numpy(np.pad(planes.cpu().numpy(), ((0, 0), (reach, reach),
                                                            (reach, reach)), mode="symmetric"))
    windows = padded.unfold(1, MEDIAN, 1).unfold(2, MEDIAN, 1).flatten(3)
    smooth = windows.median(-1).values
    return interpolate(smooth[None], size=size, mode="bilinear")[0].argmax(0)


def majority_vote(labels: Tensor, clusters: Tensor) -> Tensor:
    """Give all pixels of a cluster the label that most of them have, the smallest of equals.

    Args:
        labels, clusters: (H, W) int64, not negative.
    """
    most = int(labels.max()) + 1
    counts = torch.bincount((clusters * most + labels).flatten(),
                            minlength=(int(clusters.max()) + 1) * most)
    return counts.view(-1, most).argmax(1)[clusters]
