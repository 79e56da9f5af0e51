"""ProxyCLIP: another tower's features decide which places attend to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from checkpoints import save_loftup
from golden_tower import build_golden_tower, golden_names, random_tower
from safetensors.torch import save_file
from timm_towers import enliven, golden_vit
from torch import Tensor, nn

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, feature_map
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.backbones.proxies.attention import proxy_attention, proxy_tokens
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.backbones.proxies.towers import Proxy, ProxyTower
from sclip_seg_ros.segmentation.backbones.tower import shared_values
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract

GOLDEN = 2e-4
CASES = sorted({name.partition("/")[0] for name in golden_names("proxyclip.npz")
                if name.endswith("/proxy")})
WORDS = ("floor", "wall", "cup")


def images(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def tokens_of(tower: DenseBackbone, batch: Tensor, features: Tensor, beta: float = 1.2,
              gamma: float = 3.0) -> Tensor:
    grid = tower.grid(*batch.shape[-2:])
    return proxy_tokens(tower, shared_values(tower)(batch), grid, features, beta, gamma)


@pytest.mark.parametrize("case", CASES)
def test_attention_and_tokens_match_the_golden_ones_of_proxyclip(golden_dir: Path, case: str):
    data = np.load(golden_dir / "proxyclip.npz")
    tower = ClipViT(build_golden_tower(data))
    features = torch.from_numpy(data[f"{case}/proxy"])
    beta, gamma = data[f"{case}/beta_gamma"].tolist()
    attention = torch.from_numpy(data[f"{case}/attention_single"])
    assert torch.allclose(proxy_attention(features, beta, gamma), attention, rtol=0, atol=GOLDEN)
    found = tokens_of(tower, torch.from_numpy(data["image"]), features, beta, gamma)
    assert torch.allclose(found, torch.from_numpy(data[f"{case}/out_single"]), rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("case", ["native", "wide"])
def test_dinov2s_tokens_match_the_golden_features_of_loftup(golden_dir: Path, case: str):
    data = np.load(golden_dir / "loftup_features.npz")
    heads, patch = int(data["dinov2/heads"]), int(data["dinov2/patch"])
    side = round((data["dinov2/w/pos_embed"].shape[1] - 1) ** 0.5) * patch
    tower = ProxyTower(golden_vit(data, "dinov2/w/", "vit_small_patch14_dinov2", heads, side),
                       "golden")
    penultimate = tower.penultimate(torch.from_numpy(data[f"dinov2/{case}/image"]))
    found = feature_map(tower.plain_tokens(penultimate), penultimate.grid)
    expected = torch.from_numpy(data[f"dinov2/{case}/loftup_features"])
    assert torch.allclose(found, expected, rtol=0, atol=GOLDEN)


def test_a_grid_of_the_images_own_shape_keeps_rows_and_columns_apart():
    """The published code swaps them for grids that are not square."""
    tower = ClipViT(random_tower())
    batch = images(64, 96)
    looks = torch.eye(24).reshape(1, 24, 4, 6).repeat(2, 1, 1, 1)  # nothing looks like another
    found = tokens_of(tower, batch, looks)
    own = tower.last_block(tower.penultimate(batch), lambda q, k, v, grid: v, residual=False)
    assert torch.allclose(found, own[:, 1:], atol=1e-5)


def test_places_that_all_look_alike_attend_to_all_others():
    weights = proxy_attention(torch.ones(1, 5, 3, 4), beta=0.5, gamma=3.0)
    assert torch.allclose(weights, torch.full((1, 12, 12), 1 / 12))
    # The published formula leaves no entry here, and gives no number.
    weights = proxy_attention(torch.ones(1, 5, 3, 4), beta=1.2, gamma=3.0)
    assert torch.allclose(weights, torch.eye(12)[None])


def test_images_are_treated_alone_however_many_go_together(monkeypatch: pytest.MonkeyPatch):
    tower, batch = ClipViT(random_tower()), images(64, 64, batch=3)
    looks = torch.randn(3, 7, 5, 6, generator=torch.Generator().manual_seed(0))
    together = tokens_of(tower, batch, looks)
    monkeypatch.setattr("sclip_seg_ros.segmentation.backbones.proxies.attention.PAIRS_AT_ONCE", 1)
    assert torch.allclose(together, tokens_of(tower, batch, looks), atol=1e-6)


# In the pipeline


def small_network(name: str) -> nn.Module:
    """Build a proxy of its form and patch size with few and narrow blocks."""
    torch.manual_seed(0)
    return enliven(timm.create_model(PROXIES[name].architecture, num_classes=0, depth=2,
                                     embed_dim=48, num_heads=4))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in PROXIES.items():
        monkeypatch.setitem(PROXIES, name, replace(row, width=48))
    monkeypatch.setattr("sclip_seg_ros.segmentation.backbones.proxies.weights.build_network",
                        small_network)


@pytest.fixture
def segmentor(small: None, tmp_path: Path) -> Iterator[SCLIPSegmentor]:
    save_file(small_network("dinov2_vits14").state_dict(), tmp_path / "proxy.safetensors")
    yield SCLIPSegmentor(precision="fp32", inference="slide", crop=64, stride=32,
                         proxy__model="dinov2_vits14",
                         proxy__source=str(tmp_path / "proxy.safetensors"))


def picture(height: int = 64, width: int = 90, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_proxy_changes_the_labels_and_is_named(segmentor: SCLIPSegmentor):
    plain = segmentor.predict_dense(picture(), WORDS)
    segmentor.settings = segmentor.settings.with_changes(use_proxy=True)
    found = segmentor.predict_dense(picture(), WORDS)
    assert segmentor.pipeline.attention == "proxy dinov2_vits14"
    assert (found.scores - plain.scores).abs().max() > 1e-3
    assert "proxy" in found.stage_ms and "proxy" not in plain.stage_ms
    segmentor.settings = segmentor.settings.with_changes(use_proxy=False)
    again = segmentor.predict_dense(picture(), WORDS)
    assert torch.equal(again.scores, plain.scores)


def test_a_batch_with_a_proxy_equals_one_by_one(segmentor: SCLIPSegmentor):
    segmentor.settings = segmentor.settings.with_changes(use_proxy=True)
    pictures = [picture(), picture(50, 61, seed=1), picture(64, 90, seed=2)]
    for image, joint in zip(pictures, segmentor.predict_batch(pictures, WORDS), strict=True):
        alone = segmentor.predict_dense(image, WORDS)
        assert (joint.scores - alone.scores).abs().max() < 1e-4


@pytest.mark.parametrize("changes", [
    {"inference": "whole"}, {"use_pamr": False}, {"use_image_words": True}, {"attention": "naclip"},
    {"use_resclip": True, "resclip__variant": "documents"}, {"use_tlp": True},
    {"precision": "bf16"}], ids=lambda changes: "-".join(changes))
def test_a_proxy_goes_with_other_stages(small: None, changes: dict):
    segmentor = SCLIPSegmentor(**{"precision": "fp32", "inference": "slide", "crop": 64,
                                  "stride": 32, "proxy__source": "random", "use_proxy": True,
                                  **changes})
    result = segmentor.predict_dense(picture(), WORDS)
    assert result.labels.shape == (64, 90)
    assert torch.isfinite(result.scores).all()


def test_a_proxy_may_compute_in_another_precision_than_the_model(small: None, tmp_path: Path):
    save_file(small_network("dinov2_vitb14").state_dict(), tmp_path / "proxy.safetensors")
    scores = []
    for precision in ("auto", "bf16"):
        segmentor = SCLIPSegmentor(precision="fp32", use_proxy=True, proxy__precision=precision,
                                   proxy__source=str(tmp_path / "proxy.safetensors"))
        scores.append(segmentor.predict_dense(picture(), WORDS).scores)
    assert 0 < (scores[0] - scores[1]).abs().max() < 0.05


def test_released_weights_of_a_proxy_come_back(segmentor: SCLIPSegmentor):
    segmentor.settings = segmentor.settings.with_changes(use_proxy=True)
    before = segmentor.predict_dense(picture(), WORDS)
    segmentor.release()
    segmentor.restore()
    assert torch.equal(segmentor.predict_dense(picture(), WORDS).scores, before.scores)


@pytest.mark.parametrize("name", ["dinov2_vits14", "dinov2_vits14_reg", "dino_vits8"])
def test_files_of_the_authors_and_of_timm_give_the_same_features(small: None, tmp_path: Path,
                                                                 name: str):
    ours = small_network(name).state_dict()
    theirs = {**ours, "mask_token": torch.zeros(1, 48)}
    if "reg_token" in theirs:  # DINOv2's own names; it has a position for its class token
        theirs["register_tokens"] = theirs.pop("reg_token")
        place = torch.full((1, 1, 48), 0.1)
        theirs["cls_token"] = theirs["cls_token"] - place
        theirs["pos_embed"] = torch.cat([place, theirs["pos_embed"]], dim=1)
    results = []
    for number, state in enumerate((ours, theirs)):
        torch.save(state, tmp_path / f"{number}.pth")
        segmentor = SCLIPSegmentor(precision="fp32", use_proxy=True, proxy__model=name,
                                   proxy__source=str(tmp_path / f"{number}.pth"))
        results.append(segmentor.predict_dense(picture(), WORDS).scores)
    assert torch.allclose(*results, atol=1e-6)


def test_the_hubs_copy_is_fetched_once_and_used_offline(small: None, hub, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file(small_network("dinov2_vitb14").state_dict(), path)
    hub.publish("timm/vit_base_patch14_dinov2.lvd142m", {path.name: path.read_bytes()})
    changes = {"precision": "fp32", "use_proxy": True}
    first = SCLIPSegmentor(**changes).predict_dense(picture(), WORDS)
    hub.stop()
    assert torch.equal(SCLIPSegmentor(**changes).predict_dense(picture(), WORDS).scores,
                       first.scores)


def test_weights_that_do_not_fit_are_refused_with_the_remedy(small: None, tmp_path: Path):
    path = tmp_path / "proxy.safetensors"
    save_file(small_network("dino_vits8").state_dict(), path)
    with pytest.raises(WeightsError, match="does not fit the proxy 'dinov2_vits14' .*proxy.model"):
        SCLIPSegmentor(use_proxy=True, proxy__model="dinov2_vits14", proxy__source=str(path))
    with pytest.raises(WeightsError, match="SHA-256 .*, not 0000.*correct proxy.source"):
        SCLIPSegmentor(use_proxy=True, proxy__source=f"{path}#sha256={'0' * 64}")


def test_resclip_as_published_is_refused_beside_a_proxy():
    with pytest.raises(ValueError, match="use_proxy and use_resclip.*'documents'"):
        SegmentorSettings(use_proxy=True, use_resclip=True)
    assert SegmentorSettings(use_proxy=True, attention="naclip").effective() == \
        SegmentorSettings(use_proxy=True).effective()


def test_loftup_enlarges_the_proxys_features(segmentor: SCLIPSegmentor, tmp_path: Path):
    """The grid that words are compared on is the enlarged one of the proxy."""
    path = save_loftup(tmp_path / "loftup.safetensors", 48,
                       FeatureContract("dinov2_vits14", "plain", "imagenet"))
    with pytest.raises(WeightsError, match="trained for 'dinov2_vits14', not for 'embedded'"):
        segmentor.prepare(segmentor.settings.with_changes(use_loftup=True, loftup__source=path))
    for source, size in ((path, (10, 10)), ("bilinear", (10, 10)), (None, (5, 5))):
        segmentor.settings = segmentor.settings.with_changes(
            use_proxy=True, use_loftup=source is not None, loftup__source=source or "auto",
            loftup__factor=2.0)
        features = segmentor.pipeline.scorer.dense(
            torch.rand(1, 3, 64, 64), torch.zeros(1, 1), segmentor.pipeline.stopwatch())
        assert tuple(features.shape[-2:]) == size
        assert torch.isfinite(features).all()
        assert segmentor.pipeline.departures == ()


def test_windows_are_stretched_to_whole_patches_of_the_proxy():
    proxy = Proxy("dinov2_vits14", small_network("dinov2_vits14").eval().requires_grad_(False))
    assert proxy(torch.rand(1, 3, 64, 90)).shape == (1, 48, 5, 6)
    assert proxy(torch.rand(1, 3, 8, 8)).shape == (1, 48, 1, 1)
