"""Dense tokens of CLIP's image tower."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from golden_tower import build_golden_tower, random_tower
from torch import Tensor

from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, feature_map
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT

GOLDEN = 2e-4


def images(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator)


@pytest.fixture(scope="module")
def backbone() -> DenseBackbone:
    return ClipViT(random_tower())


@pytest.mark.parametrize("case", ["native", "wide", "tall"])
@pytest.mark.parametrize(("name", "attention"), [("csa", "sclip"), ("vanilla", "vanilla")])
def test_tokens_match_the_golden_tokens_of_sclip(golden_dir: Path, case: str, name: str,
                                                 attention: str):
    data = np.load(golden_dir / "sclip.npz")
    tower = ClipViT(build_golden_tower(data))
    found = tower.tokens(torch.from_numpy(data[f"{case}/image"]), attention)
    expected = torch.from_numpy(data[f"{case}/{name}_tokens"])
    assert torch.allclose(found, expected, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("attention", ["naclip", "clearclip"])
def test_tokens_match_the_golden_tokens_of_other_bases(golden_dir: Path, attention: str,
                                                       residual: bool):
    data = np.load(golden_dir / "resclip.npz")
    tower = ClipViT(build_golden_tower(data))
    prefix = f"{'w' if residual else 'wo'}_resi/{attention}/rcs0_sfr0"
    numbers = [match[1] for key in data if (match := re.fullmatch(prefix + r"/(\d+)", key))]
    assert numbers
    for number in numbers:
        found = tower.tokens(torch.from_numpy(data[f"image{number}"]), attention, residual)
        expected = torch.from_numpy(data[f"{prefix}/{number}"])
        assert torch.allclose(found, expected, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("case", ["native", "wide", "tall"])
def test_values_match_the_golden_features_of_loftup(golden_dir: Path, case: str):
    data = np.load(golden_dir / "loftup_features.npz")
    tower = ClipViT(build_golden_tower(data))
    penultimate = tower.penultimate(torch.from_numpy(data[f"{case}/image"]))
    found = feature_map(tower.value_tokens(penultimate, class_token=False), penultimate.grid)
    expected = torch.from_numpy(data[f"{case}/loftup_features"])
    assert torch.allclose(found, expected, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_the_golden_tokens(golden_dir: Path, dtype: torch.dtype):
    data = np.load(golden_dir / "sclip.npz")
    tower = ClipViT(build_golden_tower(data).to(dtype))
    found = tower.tokens(torch.from_numpy(data["wide/image"]), "sclip").float()
    expected = torch.from_numpy(data["wide/csa_tokens"])
    # One block in bfloat16 departs by 0.005, all twelve together by 0.0116.
    gate = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2}[dtype]
    assert (found - expected).norm() / expected.norm() < gate


@pytest.mark.parametrize(("dtype", "gate"), [(torch.float16, 2e-3), (torch.bfloat16, 1e-2)])
def test_the_last_block_in_half_precision_stays_near_the_golden_tokens(
        golden_dir: Path, dtype: torch.dtype, gate: float):
    data = np.load(golden_dir / "sclip.npz")
    full = ClipViT(build_golden_tower(data))
    half = ClipViT(build_golden_tower(data).to(dtype))
    penultimate = full.penultimate(torch.from_numpy(data["wide/image"]))
    rounded = replace(penultimate, tokens=penultimate.tokens.to(dtype))
    found = half.last_block(rounded, attention_rule("sclip")).float()
    expected = torch.from_numpy(data["wide/csa_tokens"])
    assert (found - expected).norm() / expected.norm() < gate


def test_vanilla_class_token_is_the_models_own_image_embedding(backbone: DenseBackbone):
    batch = images(64, 64)
    found = backbone.tokens(batch, "vanilla")[:, 0]
    assert torch.allclose(found, backbone.visual(batch), atol=1e-5)
    embedded = backbone.image_embedding(backbone.penultimate(batch))
    assert torch.allclose(embedded, backbone.visual(batch), atol=1e-5)


def test_recording_changes_no_token_and_gives_the_mean_attention(backbone: DenseBackbone):
    batch = images(64, 96)
    plain = backbone.penultimate(batch)
    both = backbone.penultimate(batch, record=(0, 2))
    first, third = (backbone.penultimate(batch, record=(index,)).attention for index in (0, 2))
    assert plain.attention is None
    assert torch.allclose(both.tokens, plain.tokens, atol=1e-5)
    assert both.attention.shape == (2, 4, 25, 25)
    assert torch.allclose(both.attention.sum(-1), torch.ones(2, 4, 25), atol=1e-5)
    assert torch.allclose(both.attention, (first + third) / 2, atol=1e-6)


def test_values_are_what_a_rule_returning_them_gives(backbone: DenseBackbone):
    penultimate = backbone.penultimate(images(64, 80))
    values = backbone.last_block(penultimate, lambda q, k, v, grid: v, residual=False)
    assert torch.allclose(backbone.value_tokens(penultimate), values, atol=1e-6)


def test_blocks_do_what_the_models_own_blocks_do(backbone: DenseBackbone):
    tokens = backbone.penultimate(images(64, 96)).tokens
    for index, block in enumerate(backbone.visual.transformer.resblocks):
        own = block(tokens)
        assert torch.allclose(backbone.block(index, tokens, (4, 6)), own, atol=1e-5)
        tokens = own


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("attention", ["sclip", "naclip", "clearclip", "vanilla"])
def test_leaving_the_class_token_out_changes_no_patch(backbone: DenseBackbone, attention: str,
                                                      residual: bool):
    penultimate = backbone.penultimate(images(64, 96))
    rule = attention_rule(attention)
    every = backbone.last_block(penultimate, rule, residual)
    patches = backbone.last_block(penultimate, rule, residual, class_token=False)
    assert patches.shape == (2, 24, 24)
    assert torch.allclose(patches, every[:, 1:], atol=1e-6)
    assert torch.equal(feature_map(patches, (4, 6)), patches.mT.unflatten(2, (4, 6)))
    assert torch.allclose(backbone.value_tokens(penultimate, class_token=False),
                          backbone.value_tokens(penultimate)[:, 1:], atol=1e-6)


def test_the_residual_makes_a_difference(backbone: DenseBackbone):
    penultimate = backbone.penultimate(images(64, 64))
    rule = attention_rule("sclip")
    kept, dropped = (backbone.last_block(penultimate, rule, flag) for flag in (True, False))
    assert not torch.allclose(kept, dropped, atol=1e-2)


def test_images_are_treated_alone(backbone: DenseBackbone):
    batch = images(64, 96, batch=3)
    together = backbone.tokens(batch, "naclip")
    alone = torch.cat([backbone.tokens(image[None], "naclip") for image in batch])
    assert torch.allclose(together, alone, atol=1e-5)


def test_pixels_beyond_the_last_whole_patch_are_not_seen(backbone: DenseBackbone):
    batch = images(69, 108)
    assert backbone.grid(69, 108) == (4, 6)
    found = backbone.tokens(batch)
    assert torch.allclose(found, backbone.tokens(batch[:, :, :64, :96]), atol=1e-6)


def test_a_grid_of_equal_count_gets_positions_of_its_own_shape(backbone: DenseBackbone):
    """2x8 has the native 4x4 grid's token count; the reference gives it the 4x4 table as it is."""
    batch = images(32, 128)
    found = backbone.penultimate(batch).tokens
    visual = backbone.visual
    patches = visual.conv1(batch).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(2, 1, -1), patches], dim=1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    assert not torch.allclose(found, tokens, atol=1e-2)


def test_the_feature_map_lays_patches_out_by_rows():
    tokens = torch.arange(7.0)[None, :, None]
    assert feature_map(tokens, (2, 3))[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_sizes_are_the_towers():
    tower = ClipViT(random_tower(depth=3, patch=8, output=24))
    assert (tower.patch_size, tower.depth, tower.dimension) == (8, 3, 24)
    assert tower.dtype == torch.float32


def test_a_tower_without_plain_blocks_is_refused():
    with pytest.raises(ValueError, match="ModifiedResNet.*ViT-B/16"):
        backbone_of(open_clip.create_model("RN50").visual)


def test_a_tower_with_attention_pooling_is_refused():
    tower = open_clip.transformer.VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=2, heads=4, mlp_ratio=4.0, output_dim=16,
        attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=4)
    with pytest.raises(ValueError, match="attention pooling"):
        ClipViT(tower)


def test_an_image_smaller_than_a_patch_is_refused(backbone: DenseBackbone):
    with pytest.raises(ValueError, match="64x15 pixels is smaller than one patch of 16"):
        backbone.penultimate(images(15, 64))


@pytest.mark.parametrize("record", [(3,), (-1,), (0, 7)])
def test_recording_the_last_block_or_beyond_is_refused(backbone: DenseBackbone, record):
    with pytest.raises(ValueError, match="cannot be recorded.*0 to 2"):
        backbone.penultimate(images(64, 64), record=record)


@pytest.mark.parametrize(("attention", "total"), [("vanilla", 1), ("sclip", 2), ("clearclip", 1),
                                                  ("naclip", 1)])
def test_attention_weights_are_those_of_the_rule(backbone: DenseBackbone, attention: str,
                                                 total: int):
    penultimate, rule = backbone.penultimate(images(64, 48)), attention_rule(attention)
    weights = backbone.attention_weights(penultimate, rule)
    assert weights.shape == (2, 4, 13, 13)
    assert torch.allclose(weights.sum(-1), torch.tensor(float(total)), atol=1e-5)
    assert torch.allclose(backbone.last_block(penultimate, lambda q, k, v, grid: weights @ v),
                          backbone.last_block(penultimate, rule), atol=1e-5)
