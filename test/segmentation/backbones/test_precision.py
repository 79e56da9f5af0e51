"""Half precision where the processor is fast at it, and labels that hardly notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_tower import random_tower
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.models.devices import fast_precision
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT

AGREEMENT = 0.995
CPU = torch.device("cpu")


@pytest.mark.parametrize(("avx512", "amx", "expected"), [
    (True, False, "bf16"), (False, True, "bf16"), (False, False, "fp32")])
def test_a_processor_computes_in_bfloat16_if_it_has_instructions_for_it(monkeypatch, avx512, amx,
                                                                        expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert fast_precision(CPU) == expected


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert fast_precision(CPU) == "fp32"


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"),
                                                      ((8, 7), "bf16"), ((7, 5), "fp16"),
                                                      ((7, 0), "fp16"), ((6, 2), "fp16"),
                                                      ((6, 0), "fp16"), ((6, 1), "fp32"),
                                                      ((5, 2), "fp32")])
def test_a_gpu_computes_in_the_half_precision_that_it_is_fast_at(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast_precision(torch.device("cuda")) == expected


def test_large_attention_scores_stay_within_float16():
    """Queries and keys of 60, whose bare product over 64 channels float16 cannot hold."""
    tower = random_tower(width=128, heads=2).half()
    block = tower.transformer.resblocks[0]
    with torch.no_grad():
        block.attn.in_proj_weight.zero_()
        block.attn.in_proj_bias.zero_()[:256] = 60.0
        _, weights = ClipViT(tower).block_with_weights(0, torch.randn(1, 5, 128).half(), (2, 2))
    assert torch.allclose(weights.float(), torch.full((1, 2, 5, 5), 0.2), atol=1e-3)


def test_auto_is_what_the_device_is_fast_at():
    segmentor = SCLIPSegmentor()
    assert segmentor.precision == fast_precision(CPU)
    segmentor.settings = SegmentorSettings(precision=segmentor.precision)  # the same by name


@pytest.fixture(scope="module")
def both() -> dict[str, SCLIPSegmentor]:
    return {precision: SCLIPSegmentor(precision=precision) for precision in ("fp32", "bf16")}


@pytest.mark.skipif(fast_precision(CPU) != "bf16",
                    reason="this processor emulates bfloat16, and auto does not choose it")
@pytest.mark.parametrize("changes", [
    {}, {"inference": "whole"}, {"attention": "naclip"}, {"use_pamr": False},
    {"use_resclip": True}], ids=str)
def test_labels_in_bfloat16_are_those_in_float32(both, changes):
    labels: dict[str, list[np.ndarray]] = {}
    for precision, segmentor in both.items():
        segmentor.settings = SegmentorSettings(precision=precision).with_changes(**changes)
        labels[precision] = [segmentor.segment(scene.image, words)
                             for scene, words in map(held_out_scene, range(2))]
    # The embedded model is not sure of itself with rules that it was not trained with.
    agreement = 0.99 if "attention" in changes else AGREEMENT
    assert np.mean([one == two for one, two in zip(*labels.values(), strict=True)]) > agreement
    assert all(len(np.unique(found)) > 3 for found in labels["fp32"])
