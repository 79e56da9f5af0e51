"""CLIPtrase's clusters as a refinement of scores: means, golden clusters, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower, random_tower

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention import cliptrase
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.clusters import Clusters, ClusterSettings, cluster_means
from sclip_seg_ros.segmentation.refinement.refinement import Context
from sclip_seg_ros.segmentation.segmentor import refuse_unusable_stages
from sclip_seg_ros.segmentation.settings import SegmentorSettings


def test_a_clusters_pixels_get_their_mean_scores():
    scores = torch.tensor([[[1.0, 3.0, 5.0]], [[0.0, 4.0, 8.0]]])
    found = cluster_means(scores, torch.tensor([[2, 0, 2]]))
    assert torch.equal(found, torch.tensor([[[3.0, 3.0, 3.0]], [[4.0, 4.0, 4.0]]]))


def test_scores_are_flat_within_the_golden_clusters(golden_dir: Path):
    data = np.load(golden_dir / "cliptrase.npz")
    tower, image = ClipViT(build_golden_tower(data)), torch.from_numpy(data["image"])
    context = Context(torch.eye(3), lambda images: cliptrase.patch_correlation(tower, images))
    scores = torch.rand(1, 3, *image.shape[-2:], generator=torch.Generator().manual_seed(0))
    settings = ClusterSettings(radius=float(data["eps"]), least=int(data["min_samples"]))
    found = Clusters().in_context(context)(image, scores, settings, Iterations(1, None, "cpu"))
    clusters = torch.from_numpy(data["cluster_image"]).long()
    for number in clusters.unique():
        members = found[0][:, clusters == number]
        assert torch.allclose(members, members[:, :1].expand_as(members), atol=1e-6)
        expected = scores[0][:, clusters == number].mean(1)
        assert torch.allclose(members[:, 0], expected, atol=1e-5)


def test_noise_alone_leaves_scores_as_they_are():
    tower = ClipViT(random_tower(depth=3))
    context = Context(torch.eye(2), lambda images: cliptrase.patch_correlation(tower, images))
    images, scores = torch.rand(2, 3, 48, 64), torch.rand(2, 2, 48, 64)
    settings = ClusterSettings(radius=1e-3, least=5)
    found = Clusters().in_context(context)(images, scores, settings, Iterations(1, None, "cpu"))
    assert torch.equal(found, scores)


def test_it_runs_in_the_pipeline_on_any_grid():
    segmentor = SCLIPSegmentor(use_clusters=True, clusters__least=3, use_pamr=False,
                               precision="fp32")
    pictures = [np.kron(np.random.default_rng(size).integers(0, 256, (4, 5, 3)),
                        np.ones((size, size, 1))).astype(np.uint8) for size in (16, 20)]
    words = segmentor.vocabulary(["floor|carpet", "wall", "cup"])
    together = segmentor.predict_batch(pictures, words)
    for picture, result in zip(pictures, together, strict=True):
        alone = segmentor.predict_dense(picture, words)
        assert result.iterations == {"clusters": 1}
        assert torch.allclose(result.scores, alone.scores, atol=1e-4)
        assert result.scores.flatten(1).unique(dim=1).shape[1] < 0.1 * result.scores[0].numel()
    stopped = segmentor.predict_dense(pictures[0], words, keep_going=lambda ran: False)
    assert stopped.iterations == {"clusters": 0}


@pytest.mark.parametrize(("depth", "prefix", "message"), [
    (1, 1, "2 blocks or more"), (12, 0, "has 0 such tokens"), (12, 5, "has 5 such tokens")])
def test_a_tower_without_what_they_need_is_refused(depth: int, prefix: int, message: str):
    with pytest.raises(ValueError, match=message):
        refuse_unusable_stages(SegmentorSettings(use_clusters=True), depth, prefix)
    refuse_unusable_stages(SegmentorSettings(), depth, prefix)
