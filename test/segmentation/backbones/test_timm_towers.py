"""Dense tokens of timm's towers: SigLIP, MobileCLIP, EVA-CLIP, Perception Encoder, DINOv2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from checkpoints import save_loftup
from open_clip.timm_model import TimmModel
from timm_towers import enliven, golden_vit, timm_tower, write_siglip
from torch import Tensor, nn
from torch.nn.functional import pad

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, rfclip
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, feature_map
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.families.eva import EvaViT
from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.layers import ChannelNorm
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings, LoftUpUpsampler
from sclip_seg_ros.segmentation.upsamplers.sizes import upsample_bilinear

GOLDEN = 2e-4
# Architecture in timm, length of the embeddings, pooling, projection, as open_clip names them.
TOWERS = {
    "SigLIP": ("vit_base_patch16_siglip_224", 768, "map", "none"),
    "MobileCLIP2-B": ("vit_base_mci_224", 512, "token", None),
    "CLIP in timm": ("vit_base_patch16_clip_224", 512, "token", None),
    "pooled by the mean": ("vit_base_patch16_siglip_gap_224", 512, "avg", "linear"),
    "registers, LayerScale, mean": ("test_vit2", 40, "avg", "mlp"),
    "registers, attention": ("test_vit3", 96, "map", "none"),
    "RMSNorm": ("test_vit4", 40, "avg", None),
    "ViTamin-S": ("vitamin_small_224", 384, "", "linear"),
    "EVA02-B-16": ("eva02_base_patch16_clip_224", 512, "token", None),
    "EVA01": ("eva02_tiny_patch14_224", 64, "avg", None),
    "PE-Core-B-16": ("vit_pe_core_base_patch16_224", 1024, "map", None),
}


def images(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=TOWERS)
def tower(request: pytest.FixtureRequest) -> DenseBackbone:
    return backbone_of(timm_tower(*TOWERS[request.param]))


@pytest.fixture(scope="module")
def siglip() -> DenseBackbone:
    return backbone_of(timm_tower(*TOWERS["SigLIP"]))


def dense(tower: DenseBackbone, batch: Tensor) -> Tensor:
    grid = tower.grid(*batch.shape[-2:])
    return feature_map(tower.tokens(batch, "vanilla"), grid)


@pytest.mark.parametrize("case", ["native", "wide", "tall", "ragged"])
def test_siglips_tokens_match_the_golden_value_features(golden_dir: Path, case: str):
    data = np.load(golden_dir / "siglip_dense.npz")
    tower = TimmViT(golden_vit(data, "w/visual.trunk.", "vit_base_patch16_siglip_224",
                               int(data["heads"]), int(data["resolution"])))
    batch, patch = torch.from_numpy(data[f"{case}/image"]), int(data["patch"])
    height, width = batch.shape[-2:]  # the reference pads what is left of a patch with zeros
    batch = pad(batch, (0, -width % patch, 0, -height % patch))
    expected = torch.from_numpy(data[f"{case}/value_features"])
    assert torch.allclose(dense(tower, batch), expected, rtol=0, atol=GOLDEN)


def test_siglips_embedding_and_tokens_before_the_head_match_the_golden_ones(golden_dir: Path):
    data = np.load(golden_dir / "siglip_dense.npz")
    tower = TimmViT(golden_vit(data, "w/visual.trunk.", "vit_base_patch16_siglip_224",
                               int(data["heads"]), int(data["resolution"])))
    penultimate = tower.penultimate(torch.from_numpy(data["native/image"]))
    expected = torch.from_numpy(data["native/pooled"])
    assert torch.allclose(tower.image_embedding(penultimate), expected, rtol=0, atol=GOLDEN)
    before = feature_map(tower.plain_tokens(penultimate), penultimate.grid)
    expected = torch.from_numpy(data["native/loftup_features"])
    assert torch.allclose(before, expected, rtol=0, atol=GOLDEN)


def test_vanilla_tokens_pooled_are_open_clips_own_image_embedding(tower: DenseBackbone):
    batch = images(*tower.visual.trunk.patch_embed.img_size)
    embedding = tower.image_embedding(tower.penultimate(batch))
    assert embedding.shape == (2, tower.dimension)
    assert torch.allclose(embedding, tower.visual(batch), rtol=0, atol=1e-5)


def test_a_token_is_what_its_patch_alone_would_be_pooled_to(siglip: DenseBackbone):
    """Of an image of one patch, the learnt query can attend to nothing else."""
    batch = images(16, 16, batch=4)
    pooled = siglip.image_embedding(siglip.penultimate(batch))
    assert torch.allclose(dense(siglip, batch)[..., 0, 0], pooled, atol=1e-5)


@pytest.mark.parametrize("name", ["eva02_base_patch16_clip_224", "vit_pe_core_base_patch16_224"])
def test_rotary_positions_of_another_grid_are_timms(name: str):
    """timm fits its own tower to an image's size; tables of positions are left out of it."""
    visual = timm_tower(name, 512, "avg", None)
    visual.trunk.pos_embed.zero_()
    batch = images(96, 160)
    found = EvaViT(visual).image_embedding(EvaViT(visual).penultimate(batch))
    visual.trunk.set_input_size((96, 160))
    visual.trunk.pos_embed.zero_()
    assert torch.allclose(found, visual(batch), atol=1e-5)


def test_every_rule_gives_finite_tokens_on_a_grid_of_any_shape(tower: DenseBackbone, monkeypatch):
    monkeypatch.setattr(rfclip, "_PROBES", 1)  # enough for channels, if not for the best ones
    batch = images(5 * tower.patch_size, 8 * tower.patch_size)
    for name, row in ATTENTIONS.items():
        if row.tokens is None:
            tokens = tower.tokens(batch, name)[:, tower.prefix:]
        else:
            tokens = row.tokens_of(tower, batch, {}, row.prepare(tower) if row.prepare else None)
        assert tokens.shape == (2, 40, tower.dimension), name
        assert torch.isfinite(tokens).all(), name


def test_images_are_treated_alone(tower: DenseBackbone):
    batch = images(6 * tower.patch_size, 4 * tower.patch_size, batch=3)
    together = tower.tokens(batch)
    alone = torch.cat([tower.tokens(image[None]) for image in batch])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", ["SigLIP", "EVA02-B-16"])
def test_half_precision_stays_near(name: str):
    batch = images(96, 128)
    full = backbone_of(timm_tower(*TOWERS[name])).tokens(batch)
    half = backbone_of(timm_tower(*TOWERS[name]).to(torch.bfloat16)).tokens(batch).float()
    assert (half - full).norm() / full.norm() < 2e-2


def test_clipselfs_rule_is_the_last_block_with_values_in_place_of_attention():
    tower = backbone_of(timm_tower(*TOWERS["EVA02-B-16"]))
    batch = images(64, 96)
    block, tokens = tower.visual.trunk.blocks[-1], tower.penultimate(batch).tokens
    attention = block.attn
    values = attention.proj(attention.norm(attention.v_proj(block.norm1(tokens))))
    tokens = tokens + values
    tokens = tokens + block.mlp(block.norm2(tokens))
    expected = tower.visual.trunk.head(tower.visual.trunk.norm(tokens))[:, 1:]
    found = ATTENTIONS["clipself"].tokens_of(tower, batch, {})
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["fastvit_mci0", "convnext_atto", "test_byobnet"])
def test_towers_without_tokens_of_patches_are_refused(name: str):
    with pytest.raises(ValueError, match="no tokens of patches; choose a ViT.*SigLIP2.*EVA02-B-16"):
        backbone_of(TimmModel(name, 64, 224, "avg", "linear"))


def test_blocks_and_poolings_of_another_kind_are_refused():
    parallel = timm.create_model("vit_tiny_patch16_224", block_fn=timm.models.vision_transformer
                                 .ParallelScalingBlock)
    with pytest.raises(ValueError, match="blocks of another kind.*ViT-B/16"):
        backbone_of(parallel)
    with pytest.raises(ValueError, match="blocks of another kind"):
        backbone_of(timm.create_model("eva02_tiny_patch14_224", use_post_norm=True))
    with pytest.raises(ValueError, match="pools by 'max'.*token, avg, map"):
        backbone_of(timm.create_model("test_vit", global_pool="max"))
    with pytest.raises(ValueError, match="rotary positions of its own in each block"):
        backbone_of(timm.create_model("vit_small_patch16_rope_mixed_224"))


def test_positions_of_a_native_grid_are_the_tables_own():
    tower = enliven(timm.create_model("test_vit", img_size=64, dynamic_img_size=False).eval())
    batch = images(64, 64)
    with torch.no_grad():
        found = TimmViT(tower).penultimate(batch).tokens
        expected = tower.forward_intermediates(batch, [4], intermediates_only=True,
                                               output_fmt="NLC")[0]
    assert torch.allclose(found[:, 1:], expected, atol=1e-5)


def test_a_siglip_labels_images_by_its_own_rule(tmp_path: Path):
    write_siglip(tmp_path / "siglip")
    segmentor = SCLIPSegmentor(f"local-dir:{tmp_path / 'siglip'}", precision="fp32",
                               crop=64, stride=32)
    assert segmentor.pipeline.attention == "vanilla"
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    result = segmentor.predict_dense(picture, ["wall", "floor"])
    assert result.labels.shape == (70, 90)
    assert torch.isfinite(result.scores).all()


class Interpolated(nn.Module):
    """Stand where LoftUp stands: features as its input norm makes them, interpolated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.channelnorm = enliven(ChannelNorm(channels).requires_grad_(False))

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        return upsample_bilinear(self.channelnorm(features), tuple(guidance.shape[-2:]))


def test_a_siglips_enlarged_tokens_keep_their_scale_and_pass_its_head(tmp_path: Path):
    """Of a window that is one colour all over, every place is what its patches are."""
    write_siglip(tmp_path)
    segmentor = SCLIPSegmentor(f"local-dir:{tmp_path}", precision="fp32")
    contract = FeatureContract(segmentor.name, "plain", "clip")
    upsampler = LoftUpUpsampler(LoftUpSettings(adaptive=False), Interpolated(64), contract=contract)
    features = torch.randn(2, 64, 1, 1).expand(-1, -1, 3, 4) * 7 + 2
    larger = upsampler.enlarge(features, torch.rand(2, 3, 48, 64))
    assert torch.allclose(larger, features[:, :, :1, :1].expand(-1, -1, 6, 8), atol=1e-3)
    scorer = WindowScorer(segmentor.backbone, segmentor.text._clip, segmentor.settings.for_model(
        segmentor.name, "vanilla"), upsampler)
    assert scorer.departures == ()
    windows, watch = torch.rand(1, 3, 32, 48), segmentor.pipeline.stopwatch()
    found = scorer.dense(windows, torch.zeros(1, 64), watch)
    assert found.shape == (1, 64, 4, 6)
    plain = segmentor.pipeline.scorer.dense(windows, torch.zeros(1, 64), watch)
    near = upsample_bilinear(plain, (4, 6))
    assert torch.cosine_similarity(found, near, dim=1).min() > 0.9


def test_a_siglip_takes_a_loftup_for_its_tokens(tmp_path: Path):
    write_siglip(tmp_path)
    name = f"local-dir:{tmp_path}"
    path = save_loftup(tmp_path / "loftup.safetensors", 64,
                       FeatureContract(name, "plain", "imagenet"))
    segmentor = SCLIPSegmentor(name, precision="fp32", crop=64, stride=32, use_loftup=True,
                               loftup__source=path)
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    result = segmentor.predict_dense(picture, ["wall", "floor"])
    assert torch.isfinite(result.scores).all()
    assert segmentor.pipeline.departures == ()
