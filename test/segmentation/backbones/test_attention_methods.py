"""SC-CLIP, RF-CLIP and CLIPtrase: the authors' own numbers, batches, grids and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower, random_tower
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import cliptrase, rfclip, scclip
from sclip_seg_ros.segmentation.backbones.attention.similarity import (
    attend_alike,
    cosines,
    gather_alike,
)
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, Penultimate
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT

GOLDEN = 2e-4


def images(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator)


def close(found: Tensor, expected: np.ndarray, gate: float = GOLDEN) -> bool:
    return torch.allclose(found.float(), torch.from_numpy(expected), rtol=0, atol=gate)


def relatively_close(found: Tensor, expected: np.ndarray) -> bool:
    return close(found / float(np.abs(expected).max()), expected / np.abs(expected).max())


def cosine_scores(tokens: Tensor, queries: Tensor, grid: tuple[int, int]) -> Tensor:
    tokens, queries = (torch.nn.functional.normalize(x, dim=-1) for x in (tokens, queries))
    return (tokens @ queries.T).transpose(1, 2).unflatten(2, grid)


@pytest.fixture(scope="module")
def backbone() -> DenseBackbone:
    return ClipViT(random_tower(depth=6))


def all_tokens(backbone: DenseBackbone, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
    """Return what enters each block, and what leaves the last."""
    tokens, grid = backbone.start(image)
    found = [tokens]
    for index in range(backbone.depth):
        found.append(backbone.block(index, found[-1], grid))
    return found, grid


def test_scclip_matches_the_golden_features_and_scores(golden_dir: Path):
    data = np.load(golden_dir / "scclip.npz")
    tower = ClipViT(build_golden_tower(data))
    image = torch.from_numpy(data["image"])
    found = scclip.scclip_tokens(tower, image)
    assert close(found, data["features"])
    scores = cosine_scores(found, torch.from_numpy(data["query_features"]),
                           tower.grid(*image.shape[-2:]))
    assert close(scores, data["logits"])


def test_scclip_matches_the_golden_outliers_and_repairs(golden_dir: Path):
    data = np.load(golden_dir / "scclip.npz")
    tower = ClipViT(build_golden_tower(data))
    tokens, grid = all_tokens(tower, torch.from_numpy(data["image"]))
    layers = scclip.Layers.of(tower.depth)
    before, alike = (tokens[index][:, 1:] for index in (tower.depth - 1, layers.alike))
    factors = scclip.local_outlier_factor(before)
    outliers = scclip.find_outliers(before)
    assert close(factors[0], data["lof_scores"])
    assert outliers[0].nonzero()[:, 0].tolist() == data["outliers"].tolist()
    repaired = scclip.repair(before, outliers, grid)
    assert close(repaired, data["x11_repaired"])
    assert close(scclip.repair(alike, outliers, grid), data["x9_repaired"])
    similarity = cosines(scclip.repair(alike, outliers, grid))
    assert close(similarity, data["similarity"])
    assert close(gather_alike(similarity, repaired), data["aggregated"])


def test_scclip_finds_the_golden_outliers_among_points(golden_dir: Path):
    data = np.load(golden_dir / "scclip.npz")
    points = torch.from_numpy(data["lof/points"])[None]
    assert close(scclip.local_outlier_factor(points)[0], data["lof/scores"])
    found = scclip.find_outliers(points)[0].nonzero()[:, 0].tolist()
    assert found == data["lof/outliers"].tolist()


def test_scclip_repairs_the_golden_map_that_is_not_square(golden_dir: Path):
    data = np.load(golden_dir / "scclip.npz")
    plane = torch.from_numpy(data["repair/map"])
    grid = tuple(plane.shape[-2:])
    mask = torch.zeros(grid, dtype=torch.bool)
    mask[tuple(torch.from_numpy(data["repair/indices"]).T)] = True
    found = scclip.repair(plane.flatten(2).mT, mask.flatten()[None], grid)
    assert close(found.mT.unflatten(2, grid), data["repair/out"])


@pytest.mark.parametrize("count", [32, 90, 196, 588, 777])
def test_scclip_takes_as_many_outliers_as_lie_above_the_quantile(count: int):
    points = torch.randn(3, count, 8, generator=torch.Generator().manual_seed(0))
    factors = scclip.local_outlier_factor(points)
    bound = torch.quantile(factors, 0.95, dim=1, keepdim=True)
    assert torch.equal(scclip.find_outliers(points), factors > bound)


@pytest.mark.parametrize("count", [1, 2, 31])
def test_scclip_finds_no_outlier_where_all_are_neighbours(count: int):
    assert not scclip.find_outliers(torch.randn(2, count, 8)).any()


@pytest.mark.parametrize(("depth", "layers"), [
    (12, (9, 4, 4, 10, 0.3)), (24, (17, 7, 9, 19, 0.1)), (6, (4, 2, 2, 5, 0.3)),
    (3, (2, 1, 1, 2, 0.3))])
def test_scclip_reads_the_published_layers_or_those_in_like_places(depth: int, layers: tuple):
    assert scclip.Layers.of(depth) == scclip.Layers(*layers)


def test_scclip_refuses_a_tower_without_middle_layers():
    with pytest.raises(ValueError, match="depth 2.*3 blocks or more"):
        scclip.scclip_tokens(ClipViT(random_tower(depth=2)), images(64, 64))


def test_rfclip_matches_the_golden_features(golden_dir: Path):
    data = np.load(golden_dir / "rfclip.npz")
    tower = ClipViT(build_golden_tower(data))
    tokens, embedding = rfclip.rfclip_tokens(tower, torch.from_numpy(data["image"]),
                                             torch.from_numpy(data["sink_channels"]))
    assert close(tokens, data["features"])
    assert close(embedding, data["global_feature"])


def test_rfclip_smooths_the_golden_tokens(golden_dir: Path):
    data = np.load(golden_dir / "rfclip.npz")
    tower = ClipViT(build_golden_tower(data))
    tokens, grid = tower.start(torch.from_numpy(data["image"]))
    sinks = torch.from_numpy(data["sink_channels"])
    for index, expected in enumerate(data["tokens"]):
        tokens = rfclip.smooth_sinks(tower.block(index, tokens, grid), grid, sinks)
        assert relatively_close(tokens[0], expected)


def test_rfclip_finds_channels_that_few_patches_fill():
    """The sink: a channel that the block before the last writes where a patch is bright."""
    tower = random_tower(depth=4)
    with torch.no_grad():
        for block in tower.transformer.resblocks:
            block.mlp.c_proj.weight.mul_(0.1)
        first = tower.transformer.resblocks[0]
        first.mlp.c_fc.weight[0] = first.mlp.c_fc.weight[0] * 50
        first.mlp.c_fc.bias[0] = -40.0
        first.mlp.c_proj.weight[7] = 0.0
        first.mlp.c_proj.weight[7, 0] = 200.0
    assert 7 in rfclip.find_sink_channels(ClipViT(tower), most=1).tolist()


def test_rfclip_finds_the_same_channels_every_time(backbone: DenseBackbone):
    first, again = (rfclip.find_sink_channels(backbone) for _ in range(2))
    assert torch.equal(first, again)


def test_cliptrase_matches_the_golden_tokens_and_correlation(golden_dir: Path):
    data = np.load(golden_dir / "cliptrase.npz")
    tower = ClipViT(build_golden_tower(data))
    tokens, correlation = cliptrase.cliptrase_tokens(tower, torch.from_numpy(data["image"]))
    assert close(tokens, data["tokens"])
    assert close(correlation, data["correlation"])
    assert close(cliptrase.without_shared(correlation)[0], data["denoised"])


@pytest.mark.parametrize("name", ["", "voc20/"])
def test_cliptrase_matches_the_golden_clusters_and_votes(golden_dir: Path, name: str):
    data = np.load(golden_dir / "cliptrase.npz")
    side = round(len(data["denoised"]) ** 0.5)
    size = data["labels_before"].shape
    clusters = cliptrase.density_clusters(data["denoised"], float(data["eps"]),
                                          int(data["min_samples"]))
    assert clusters.tolist() == data["cluster_labels"].tolist()
    maps = cliptrase.cluster_maps(torch.from_numpy(data["denoised"]), clusters)
    assert close(maps, data["cluster_maps"])
    image = cliptrase.cluster_image(maps, (side, side), size)
    assert np.array_equal(image, data["cluster_image"])
    voted = cliptrase.majority_vote(torch.from_numpy(data[f"{name}labels_before"]), image)
    assert np.array_equal(voted, data[f"{name}labels_after"])


def test_clusters_by_density_are_groups_chains_and_noise():
    chain = np.stack([np.arange(6) * 0.9, np.zeros(6)], 1)
    heap = np.array([[20.0, 20.0], [20.1, 20.0], [20.0, 20.1]])
    points = np.concatenate([heap[:1], chain, heap[1:], [[50.0, 50.0]]])
    found = cliptrase.density_clusters(points, radius=1.0, least=3)
    assert found.tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0, cliptrase.NOISE]


def methods(backbone: DenseBackbone) -> dict[str, Callable[[Tensor], Tensor]]:
    sinks = torch.tensor([3, 11, 26])
    return {"scclip": lambda batch: scclip.scclip_tokens(backbone, batch),
            "rfclip": lambda batch: rfclip.rfclip_tokens(backbone, batch, sinks)[0],
            "cliptrase": lambda batch: cliptrase.cliptrase_tokens(backbone, batch)[0]}


@pytest.mark.parametrize("name", ["scclip", "rfclip", "cliptrase"])
@pytest.mark.parametrize("size", [(64, 64), (48, 112), (101, 70), (16, 16), (16, 32)])
def test_a_batch_equals_one_by_one(backbone: DenseBackbone, name: str, size: tuple[int, int]):
    method, batch = methods(backbone)[name], images(*size, batch=3)
    alone = torch.cat([method(image[None]) for image in batch])
    assert torch.allclose(method(batch), alone, atol=2e-5)


@pytest.mark.parametrize("name", ["scclip", "rfclip"])
def test_a_picture_on_its_side_has_the_same_features_on_their_side(name: str):
    """Without position embeddings and with symmetric patches nothing tells rows from columns."""
    tower = random_tower(depth=4)
    with torch.no_grad():
        tower.positional_embedding.zero_()
        tower.conv1.weight.copy_((tower.conv1.weight + tower.conv1.weight.mT) / 2)
    method, batch = methods(ClipViT(tower))[name], images(96, 160)
    upright = method(batch).unflatten(1, (6, 10))
    turned = method(batch.mT).unflatten(1, (10, 6))
    assert torch.allclose(upright, turned.transpose(1, 2), atol=1e-4)


@pytest.mark.parametrize("name", ["scclip", "rfclip", "cliptrase"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_flat_images_give_numbers_in_any_precision(name: str, dtype: torch.dtype):
    tower = ClipViT(random_tower(depth=4).to(dtype))
    flat = torch.cat([torch.zeros(1, 3, 64, 80), images(64, 80, batch=1)]).to(dtype)
    found = methods(tower)[name](flat)
    assert found.dtype == dtype
    assert found.isfinite().all()


def test_attention_by_likeness_keeps_a_patch_of_its_own_where_all_are_alike():
    found = attend_alike(torch.ones(2, 5, 5), sharpness=3.0, share=1.2)
    assert torch.equal(found, torch.eye(5).expand(2, 5, 5))


def test_a_repaired_patch_is_its_sound_neighbours_mean():
    patches = torch.arange(12.0)[None, :, None]
    outliers = torch.zeros(1, 12, dtype=torch.bool)
    outliers[0, [0, 5]] = True                      # of a grid of 3x4; 5 is a neighbour of 0
    found = scclip.repair(patches, outliers, (3, 4))[0, :, 0]
    assert found[0] == pytest.approx((1 + 4) / 2)
    assert found[5] == pytest.approx((1 + 2 + 4 + 6 + 8 + 9 + 10) / 7)
    assert torch.equal(found[1:5], patches[0, 1:5, 0])


def test_a_penultimate_holds_what_enters_the_last_block(backbone: DenseBackbone):
    tokens, grid = all_tokens(backbone, images(64, 80))
    found = backbone.penultimate(images(64, 80))
    assert isinstance(found, Penultimate)
    assert torch.equal(found.tokens, tokens[-2])


@pytest.mark.parametrize(("model", "rule"), [
    ("embedded", "sclip"), ("ViT-B-16-quickgelu/openai", "scclip"),
    ("ViT-L-14-quickgelu/openai", "scclip"), ("ViT-B-16-quickgelu/metaclip_fullcc", "scclip"),
    ("ViT-B-16/laion2b_s34b_b88k", "scclip"), ("ViT-B-16/random", "sclip"),
    ("local-dir:/home/openai/mine", "sclip"), ("ViT-B-16/mine.safetensors", "sclip")])
def test_auto_is_what_suits_the_model(model: str, rule: str):
    assert SegmentorSettings().for_model(model).attention == rule
    assert SegmentorSettings(attention="naclip").for_model(model).attention == "naclip"
    assert SegmentorSettings(use_resclip=True).for_model(model).attention == "sclip"


def test_auto_changes_no_bit_of_the_embedded_models_scores():
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    auto, sclip = (SCLIPSegmentor(attention=name) for name in ("auto", "sclip"))
    words = auto.vocabulary(["floor", "cup"])
    assert auto.settings.attention == "auto"
    assert auto.pipeline.attention == "sclip"
    assert torch.equal(auto.predict_dense(picture, words).scores,
                       sclip.predict_dense(picture, words).scores)
