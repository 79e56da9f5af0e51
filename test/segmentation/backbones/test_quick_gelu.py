"""The activation of OpenAI's CLIP in one pass gives what its three passes give."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower, random_tower
from open_clip.transformer import QuickGELU, VisionTransformer
from tiny_clip import ARCHITECTURE, write_config, write_tiny_clip
from torch import Tensor, nn

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT, absorb_quick_gelu


def pictures(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def absorbed(tower: VisionTransformer) -> VisionTransformer:
    changed = deepcopy(tower)
    absorb_quick_gelu(changed)
    assert not any(isinstance(module, QuickGELU) for module in changed.modules())
    return changed


@pytest.mark.parametrize("case", ["native", "wide", "tall"])
@pytest.mark.parametrize(("name", "attention"), [("csa", "sclip"), ("vanilla", "vanilla")])
def test_golden_tokens_stay(golden_dir: Path, case: str, name: str, attention: str):
    data = np.load(golden_dir / "sclip.npz")
    tower = ClipViT(absorbed(build_golden_tower(data)))
    found = tower.tokens(torch.from_numpy(data[f"{case}/image"]), attention)
    torch.testing.assert_close(found, torch.from_numpy(data[f"{case}/{name}_tokens"]),
                               rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_no_more_than_before(dtype: torch.dtype):
    tower = random_tower(depth=6, width=64)
    expected = ClipViT(tower).tokens(pictures(64, 64))

    def error(changed: VisionTransformer) -> Tensor:
        return (ClipViT(changed.to(dtype)).tokens(pictures(64, 64)) - expected).norm()

    assert error(absorbed(tower)) < 1.2 * error(deepcopy(tower))


def test_a_second_time_and_another_activation_change_nothing():
    once = absorbed(random_tower())
    twice = absorbed(once)
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(),
                                                 strict=True))
    plain = VisionTransformer(32, 16, 32, 2, 4, 4.0, output_dim=24, act_layer=nn.GELU)
    before = deepcopy(plain.state_dict())
    absorb_quick_gelu(plain)
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def test_a_segmentor_computes_what_its_model_does(tmp_path: Path):
    write_tiny_clip(tmp_path)
    write_config(tmp_path, {**ARCHITECTURE, "quick_gelu": True})
    source = f"local-dir:{tmp_path}"
    plain = load_clip(source).model.visual
    assert isinstance(plain.transformer.resblocks[0].mlp.gelu, QuickGELU)
    segmentor = SCLIPSegmentor(source, precision="fp32")
    torch.testing.assert_close(segmentor.backbone.tokens(pictures(64, 64)),
                               ClipViT(plain).tokens(pictures(64, 64)), rtol=0, atol=1e-5)
