"""ResCLIP as published: the paper's own numbers, identities, and refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower, golden_names, random_tower
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention import last_block_rules
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.resclip.correlation import recorded_blocks, resclip_rule
from sclip_seg_ros.segmentation.resclip.feedback import semantic_matrix
from sclip_seg_ros.segmentation.resclip.settings import ResClipSettings
from sclip_seg_ros.segmentation.resclip.tokens import resclip_tokens

PUBLISHED = ResClipSettings(rcs_temperature=2.0, rcs_weight=0.6, sfr_temperature=2.1,
                            sfr_weight=0.6, sfr_threshold=0.1, sfr_logit_scale=40.0)
NEUTRAL = replace(PUBLISHED, rcs_temperature=1.0, rcs_weight=0.0, sfr_temperature=1.0,
                  sfr_weight=0.0)
BASES = {"resclip": "naclip", "sclip": "sclip", "naclip": "naclip", "clearclip": "clearclip"}
GOLDEN = 2e-4
# What the reference could run: SCLIP without its residual is not among it.
CASES = sorted({match[1] for name in golden_names("resclip.npz")
                if (match := re.fullmatch(r"(\w+_resi/\w+/rcs\d_sfr\d)/\d+", name))})


def images(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator)


def queries(count: int, length: int = 24) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def backbone() -> DenseBackbone:
    return ClipViT(random_tower(depth=4))


def test_the_golden_file_has_every_base_with_every_part(golden_dir: Path):
    assert {case.partition("/")[2] for case in CASES} == {
        f"{base}/rcs{rcs}_sfr{sfr}" for base in BASES for rcs in (0, 1) for sfr in (0, 1)}


@pytest.mark.parametrize("case", CASES or ["absent"])
def test_tokens_match_the_golden_tokens(golden_dir: Path, case: str):
    data = np.load(golden_dir / "resclip.npz")
    kind, base, parts = case.split("/")
    numbers = [match[1] for key in data if (match := re.fullmatch(case + r"/(\d+)", key))]
    tower = ClipViT(build_golden_tower(data))
    settings = replace(PUBLISHED, rcs="rcs1" in parts, sfr="sfr1" in parts)
    for number in numbers:
        found = resclip_tokens(tower, torch.from_numpy(data[f"image{number}"]),
                               torch.from_numpy(data["query_features"]), settings, BASES[base],
                               residual=kind == "w_resi", options={"naclip_sigma": 5.0})
        expected = torch.from_numpy(data[f"{case}/{number}"])
        assert torch.allclose(found, expected, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("attention", ["vanilla", "clearclip", "naclip"])
@pytest.mark.parametrize("semantic", [False, True])
def test_the_rows_of_the_mixed_attention_add_up_to_its_temperature(attention: str, semantic: bool):
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 13, 8, generator=generator).unbind(0)
    recorded = torch.randn(2, 4, 13, 13, generator=generator).softmax(-1)
    labels = torch.randint(0, 3, (2, 3, 4), generator=generator)
    rule = resclip_rule(attention, PUBLISHED, recorded,
                        semantic_matrix(labels) if semantic else None)
    rows = rule(q, k, torch.ones_like(v), (3, 4))
    assert torch.allclose(rows, torch.full_like(rows, PUBLISHED.rcs_temperature), atol=1e-5)


@pytest.mark.parametrize("attention", last_block_rules())
@pytest.mark.parametrize("residual", [False, True])
def test_neutral_weights_leave_the_base_as_it_is(backbone: DenseBackbone, attention: str,
                                                 residual: bool):
    batch = images(48, 80)
    found = resclip_tokens(backbone, batch, queries(3), NEUTRAL, attention, residual)
    assert torch.allclose(found, backbone.tokens(batch, attention, residual), atol=1e-5)


@pytest.mark.parametrize("attention", last_block_rules())
def test_both_parts_off_is_the_base(backbone: DenseBackbone, attention: str):
    batch, off = images(64, 64), replace(PUBLISHED, rcs=False, sfr=False)
    found = resclip_tokens(backbone, batch, queries(3), off, attention)
    assert torch.allclose(found, backbone.tokens(batch, attention, residual=False), atol=1e-5)


def test_each_part_changes_the_tokens(backbone: DenseBackbone):
    batch = images(64, 64)
    results = [resclip_tokens(backbone, batch, queries(3), replace(PUBLISHED, rcs=rcs, sfr=sfr))
               for rcs in (False, True) for sfr in (False, True)]
    for index, first in enumerate(results):
        for second in results[:index]:
            assert not torch.allclose(first, second, atol=1e-3)


def test_cross_correlation_alone_attends_as_the_middle_blocks_do(backbone: DenseBackbone):
    batch = images(64, 96)
    only = replace(PUBLISHED, sfr=False, rcs_weight=1.0, rcs_temperature=1.0)
    penultimate = backbone.penultimate(batch, record=recorded_blocks(backbone.depth))
    expected = backbone.last_block(penultimate, lambda q, k, v, grid: penultimate.attention @ v,
                                   residual=False)
    found = resclip_tokens(backbone, batch, queries(1), only)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("attention", ["naclip", "sclip"])
@pytest.mark.parametrize("size", [(64, 64), (48, 112), (101, 70)])
def test_a_batch_equals_one_by_one(backbone: DenseBackbone, attention: str, size):
    batch = images(*size, batch=4)
    together = resclip_tokens(backbone, batch, queries(5), PUBLISHED, attention, residual=True)
    alone = torch.cat([resclip_tokens(backbone, image[None], queries(5), PUBLISHED, attention,
                                      residual=True) for image in batch])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("attention", last_block_rules())
def test_half_precision_is_finite_even_on_flat_images(dtype: torch.dtype, attention: str):
    tower = ClipViT(random_tower(depth=4).to(dtype))
    batch = torch.cat([images(64, 80), torch.zeros(1, 3, 64, 80)]).to(dtype)
    found = resclip_tokens(tower, batch, queries(3).to(dtype), PUBLISHED, attention)
    assert found.dtype == dtype
    assert found.isfinite().all()


def test_cross_correlation_in_half_precision_stays_near_single(backbone: DenseBackbone):
    batch, settings = images(64, 80), replace(PUBLISHED, sfr=False)
    half = ClipViT(random_tower(depth=4).to(torch.bfloat16))
    found = resclip_tokens(half, batch, queries(3), settings).float()
    expected = resclip_tokens(backbone, batch, queries(3), settings)
    assert (found - expected).norm() / expected.norm() < 5e-2


def test_one_query_is_enough(backbone: DenseBackbone):
    found = resclip_tokens(backbone, images(64, 64), queries(1), PUBLISHED)
    assert found.shape == (2, 17, 24)
    assert found.isfinite().all()


def test_the_length_of_a_query_does_not_matter(backbone: DenseBackbone):
    batch = images(64, 64)
    found = resclip_tokens(backbone, batch, 7.0 * queries(4), PUBLISHED)
    assert torch.allclose(found, resclip_tokens(backbone, batch, queries(4), PUBLISHED), atol=1e-6)


def test_an_image_of_one_patch_works(backbone: DenseBackbone):
    assert resclip_tokens(backbone, images(16, 16), queries(2), PUBLISHED).isfinite().all()


@pytest.mark.parametrize(("depth", "blocks"), [
    (12, (5, 6, 7, 8)), (24, tuple(range(10, 18))), (32, tuple(range(13, 24))), (6, (2, 3)),
    (4, (1, 2)), (3, (1,)), (2, (0,))])
def test_recorded_blocks_are_the_papers_at_any_depth(depth: int, blocks: tuple[int, ...]):
    assert recorded_blocks(depth) == blocks


@pytest.mark.parametrize("depth", [10, 12, 24])
def test_the_authors_blocks_are_the_same_at_any_depth(depth: int):
    assert recorded_blocks(depth, "5-8") == (5, 6, 7, 8)


def test_the_authors_blocks_are_refused_where_the_tower_has_none(backbone: DenseBackbone):
    with pytest.raises(ValueError, match="depth 4 does not have resclip.blocks=5-8.*to auto"):
        resclip_tokens(backbone, images(64, 64), queries(2), replace(PUBLISHED, blocks="5-8"))
    with pytest.raises(ValueError, match="depth 3 does not have resclip.blocks=5-8.*to auto"):
        SCLIPSegmentor(use_resclip=True, resclip__blocks="5-8")


def test_the_authors_blocks_are_recorded():
    backbone, batch = ClipViT(random_tower(depth=14)), images(64, 64)
    only = replace(PUBLISHED, sfr=False, rcs_weight=1.0, rcs_temperature=1.0, blocks="5-8")
    penultimate = backbone.penultimate(batch, record=(5, 6, 7, 8))
    expected = backbone.last_block(penultimate, lambda q, k, v, grid: penultimate.attention @ v,
                                   residual=False)
    assert torch.allclose(resclip_tokens(backbone, batch, queries(1), only), expected, atol=1e-5)
    assert not torch.allclose(
        resclip_tokens(backbone, batch, queries(1), replace(only, blocks="auto")), expected,
        atol=1e-3)


def test_a_tower_of_one_block_is_refused():
    tower = ClipViT(random_tower(depth=1))
    with pytest.raises(ValueError, match="depth 1 has no middle block.*2 blocks or more"):
        resclip_tokens(tower, images(64, 64), queries(2), PUBLISHED)


def test_feedback_alone_works_with_one_block():
    tower = ClipViT(random_tower(depth=1))
    found = resclip_tokens(tower, images(64, 64), queries(2), replace(PUBLISHED, rcs=False))
    assert found.shape == (2, 17, 24)


def test_an_unknown_base_is_refused(backbone: DenseBackbone):
    with pytest.raises(ValueError, match="'proxyclip' is unknown.*naclip"):
        resclip_tokens(backbone, images(64, 64), queries(2), PUBLISHED, "proxyclip")


def test_queries_of_another_model_are_refused(backbone: DenseBackbone):
    with pytest.raises(ValueError, match="length 512 do not fit the image tower's 24"):
        resclip_tokens(backbone, images(64, 64), queries(2, length=512), PUBLISHED)


def test_no_query_is_refused(backbone: DenseBackbone):
    with pytest.raises(ValueError, match=r"\(0, 24\).*at least one query"):
        resclip_tokens(backbone, images(64, 64), queries(0), PUBLISHED)
