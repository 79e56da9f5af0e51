"""RF-CLIP's text side: the authors' own numbers, clusters, and the pipeline with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower, golden_names
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention.rfclip import rfclip_tokens
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.text.image_words import moved_words, with_image, word_clusters

GOLDEN = 2e-4
SETS = sorted({name.split("/")[1] for name in golden_names("rfclip.npz")
               if name.startswith("text/")})


def close(found: Tensor, expected: np.ndarray) -> bool:
    return torch.allclose(found, torch.from_numpy(expected), rtol=0, atol=GOLDEN)


def same_partition(found: Tensor, expected: np.ndarray) -> bool:
    expected = torch.from_numpy(expected)
    return torch.equal(found[:, None] == found, expected[:, None] == expected)


def adjusted(data, box: list[int], weights: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Return clusters, texts and scores of a crop whose overview is the whole image's."""
    share, move, distance = weights
    tower, words = ClipViT(build_golden_tower(data)), torch.from_numpy(data["query_features"])
    image, sinks = (torch.from_numpy(data[name]) for name in ("image", "sink_channels"))
    top, left, height, width = box
    crop = image[..., top:top + height, left:left + width]
    overview = normalize(rfclip_tokens(tower, image, sinks)[1], dim=-1)
    tokens = normalize(rfclip_tokens(tower, crop, sinks)[0], dim=-1)
    features = tokens.transpose(1, 2).unflatten(2, tower.grid(height, width))
    clusters = word_clusters(words, distance)
    texts = moved_words(words, clusters, features, overview, move)
    scores = torch.einsum("ndhw,nqd->nqhw", features, texts)
    return clusters, texts, with_image(scores, words, overview, share)


@pytest.mark.parametrize("name", SETS or ["absent"])
def test_matches_the_golden_texts_and_scores(golden_dir: Path, name: str):
    data = np.load(golden_dir / "rfclip.npz")
    clusters, texts, scores = adjusted(data, [0, 0, *data["image"].shape[-2:]],
                                       data[f"text/{name}/g_m_h"].tolist())
    assert same_partition(clusters, data[f"text/{name}/clusters"])
    assert close(texts[0], data[f"text/{name}/texts"])
    assert close(scores, data[f"text/{name}/logits"])


def test_matches_the_golden_window_of_a_larger_image(golden_dir: Path):
    data = np.load(golden_dir / "rfclip.npz")
    clusters, texts, scores = adjusted(data, data["window/box"].tolist(),
                                       data["text/strong/g_m_h"].tolist())
    assert same_partition(clusters, data["window/clusters"])
    assert close(texts[0], data["window/texts"])
    assert close(scores, data["window/logits"])


@pytest.mark.parametrize(("distance", "expected"), [
    (-1.0, [0, 1, 2, 3]), (0.0, [0, 0, 1, 2]), (0.035, [0, 0, 0, 1]), (2.0, [0, 0, 0, 0])])
def test_a_cluster_lies_within_the_distance(distance: float, expected: list[int]):
    angles = torch.tensor([0.0, 0.0, 0.2, 1.5])   # 1 - cos 0.2 is 0.02
    words = torch.stack([angles.cos(), angles.sin()], 1)
    assert word_clusters(words, distance).tolist() == expected


def test_one_word_is_one_cluster():
    assert word_clusters(torch.ones(1, 1), 0.1).tolist() == [0]


@pytest.mark.parametrize("attention", ["sclip", "rfclip", "scclip"])
@pytest.mark.parametrize("extra", [{}, {"use_resclip": True, "resclip__variant": "documents"},
                                   {"use_loftup": True}, {"inference": "whole"}])
def test_it_runs_in_the_pipeline_batched_as_one_by_one(attention: str, extra: dict):
    segmentor = SCLIPSegmentor(attention=attention, use_image_words=True, precision="fp32",
                               image_words__image_share=0.2, image_words__patch_share=0.3,
                               crop=48, stride=32, window_batch=4,
                               **{"inference": "slide", **extra})
    generator = np.random.default_rng(0)
    pictures = [np.kron(generator.integers(0, 256, (4, 5, 3)), np.ones((side, side, 1)))
                .astype(np.uint8) for side in (16, 13)]
    words = segmentor.vocabulary(["floor|carpet", "wall", "cup"])
    for picture, together in zip(pictures, segmentor.predict_batch(pictures, words), strict=True):
        alone = segmentor.predict_dense(picture, words)
        assert torch.allclose(together.scores, alone.scores, atol=1e-4)
    with_words = segmentor.predict_dense(pictures[0], words).scores
    assert not with_words.requires_grad
    segmentor.settings = segmentor.settings.with_changes(use_image_words=False)
    assert not torch.allclose(segmentor.predict_dense(pictures[0], words).scores, with_words,
                              atol=1e-3)


def test_shares_of_nothing_leave_scores_as_they_are():
    segmentor = SCLIPSegmentor(precision="fp32", use_image_words=True,
                               image_words__image_share=0.0, image_words__patch_share=0.0)
    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    words = segmentor.vocabulary(["floor", "wall"])
    scores = segmentor.predict_dense(picture, words).scores
    segmentor.settings = segmentor.settings.with_changes(use_image_words=False)
    assert torch.allclose(segmentor.predict_dense(picture, words).scores, scores, atol=1e-5)
