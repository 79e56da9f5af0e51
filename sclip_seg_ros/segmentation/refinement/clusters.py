"""CLIPtrase's clusters: patches that correlate share their mean scores.

Shao et al., ECCV 2024. The form of the paper's detectron2 code: the scores of a cluster's pixels
are averaged; its stand-alone program lets their labels vote instead, which leaves no confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sclip_seg_ros.common.settings import Settings, number
from sclip_seg_ros.segmentation.backbones.attention.cliptrase import (
    cluster_image,
    cluster_maps,
    density_clusters,
    refuse_clusters,
    without_shared,
)
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.refinement import Context, Refinement


@dataclass(frozen=True)
class ClusterSettings(Settings):
    """Clusters of patches that correlate (CLIPtrase, ECCV 2024)."""

    radius: float = number(1.1, 1e-3, 1e3, "Distance of rows of the correlation within which "
                           "patches are neighbours; it grows with the grid: 0.7 for 14 x 14 "
                           "patches, 1.1 for 21 x 21.")
    least: int = number(7, 1, 10_000, "Neighbours that begin a cluster, the patch itself "
                        "included; 3 for 14 x 14 patches.", unit="patches")


class Clusters(Refinement):
    """Mean scores of clusters, each image looked at once more, whole."""

    name, switch, group = "clusters", "use_clusters", "clusters"

    def __init__(self, context: Context | None = None) -> None:
        """Refine in a context; None before it is known, see :meth:`in_context`."""
        self._context = context

    def refuse(self, settings: ClusterSettings, depth: int, prefix: int) -> None:
        """Refuse a tower without what they compare."""
        refuse_clusters(depth, prefix)

    def in_context(self, context: Context) -> Clusters:
        """Return one for the tower that the scores come from."""
        return Clusters(context)

    def iterations(self, settings: ClusterSettings, maps: int) -> int:
        """Return 1: clusters are made once."""
        return 1

    def __call__(self, images: Tensor, maps: Tensor, settings: ClusterSettings,
                 keep_going: Iterations) -> Tensor:
        """Average scores (B, Q, h, w) over the clusters of images (B, 3, H, W) in 0..1."""
        assert self._context is not None, "in_context() comes before the first image"
        size = tuple(images.shape[-2:])
        if not keep_going():
            return maps
        averaged = []
        for image, scores in zip(images, maps, strict=True):
            correlation, grid = self._context.correlate(image[None])
            rows = without_shared(correlation)[0].cpu()
            labels = density_clusters(rows.numpy(), settings.radius, settings.least)
            if labels.max() < 0:
                averaged.append(scores)
                continue
            clusters = cluster_image(cluster_maps(rows, labels), grid, size)
            averaged.append(cluster_means(scores, clusters.to(scores.device)))
        return torch.stack(averaged)


def cluster_means(scores: Tensor, clusters: Tensor) -> Tensor:
    """Give all pixels of a cluster its mean scores.

    Args:
        scores: (Q, H, W).
        clusters: (H, W) int64, not negative.

    Returns:
        (Q, H, W) in the scores' dtype.
    """
    members = clusters.flatten()
    sums = scores.new_zeros(len(scores), int(members.max()) + 1)
    sums.index_add_(1, members, scores.flatten(1))
    means = sums / torch.bincount(members).clamp_min(1)
    return means[:, members].view_as(scores)
