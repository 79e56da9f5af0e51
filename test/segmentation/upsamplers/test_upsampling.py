"""Upsampling before the text: how much, by what, and what happens without LoftUp."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from checkpoints import random_state
from safetensors.torch import save_file
from sclip_research.scenes import render, sample_scene
from test_loftup import DIMENSION, golden, relative
from torch.nn.functional import normalize

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUpSizes, build_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import (
    LoftUpSettings,
    LoftUpUpsampler,
    adaptive_factor,
    load_loftup,
)
from sclip_seg_ros.segmentation.upsamplers.sizes import (
    resize_guidance,
    upsample_bilinear,
    upsampled_size,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Draw the same inputs in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """Return the path of a small LoftUp checkpoint."""
    path = tmp_path_factory.mktemp("loftup") / "loftup.safetensors"
    save_file(random_state(LoftUpSizes(DIMENSION)), path,
              metadata={"feature_layer": "attended"})
    return str(path)


@pytest.mark.parametrize("side, factor", [
    (1, 4.0), (7, 4.0), (13, 4.0), (14, 3.0), (27, 3.0), (28, 2.0), (56, 2.0), (57, 1.5),
    (200, 1.5)])
def test_adaptive_factor_follows_the_table(side, factor):
    assert adaptive_factor((side, side)) == factor


def test_the_smaller_side_decides():
    assert adaptive_factor((13, 60)) == adaptive_factor((60, 13)) == 4.0
    assert adaptive_factor((21, 28)) == 3.0


@pytest.mark.parametrize("grid, factor, size", [
    ((14, 14), 3.0, (42, 42)), ((21, 28), 2.0, (42, 56)), ((57, 60), 1.5, (86, 90)),
    ((3, 5), 1.5, (5, 8)), ((7, 9), 1.0, (7, 9)), ((10, 10), 1.24, (12, 12))])
def test_upsampled_size_rounds_half_up(grid, factor, size):
    assert upsampled_size(grid, factor) == size


@pytest.mark.parametrize("grid, factor, message", [
    ((0, 4), 2.0, "grid"), ((4, 4), 0.5, "factor 0.5 is out of range; give 1 or more"),
    ((4, 4), float("inf"), "factor inf is out of range"),
    ((4, 4), float("nan"), "factor nan is out of range")])
def test_impossible_sizes_are_refused(grid, factor, message):
    with pytest.raises(ValueError, match=message):
        upsampled_size(grid, factor)


def test_bilinear_keeps_constants_and_ramps():
    features = torch.full((1, 2, 3, 4), 5.0)
    torch.testing.assert_close(upsample_bilinear(features, (7, 9)), torch.full((1, 2, 7, 9), 5.0))
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    inner = upsample_bilinear(ramp, (3, 8))[0, 0, 0, 1:-1]
    torch.testing.assert_close(inner.diff(), torch.full((5,), 0.5))


def test_golden_outputs_survive_the_stage(golden_dir):
    arrays, cases, state = golden(golden_dir)
    dimension = len(state["channelnorm.norm.weight"])
    network = build_loftup(state, dimension)
    compared = 0
    for case in cases:
        features, guidance = arrays[f"{case}/features"], arrays[f"{case}/guidance"]
        grid, size = tuple(features.shape[-2:]), tuple(guidance.shape[-2:])
        factor = size[0] / grid[0]
        if upsampled_size(grid, factor) != size:
            continue
        upsampler = LoftUpUpsampler(LoftUpSettings(adaptive=False, factor=factor), network)
        wanted = normalize(arrays[f"{case}/out_single"], dim=1)
        assert relative(upsampler(features, guidance), wanted) < 1e-3, case
        compared += 1
    assert compared


@pytest.mark.parametrize("settings, size", [
    (LoftUpSettings(), (16, 20)),
    (LoftUpSettings(adaptive=False, factor=3.0), (12, 15)),
    (LoftUpSettings(adaptive=False, factor=1.5), (6, 8)),
    (LoftUpSettings(adaptive=True, factor=9.0), (16, 20))])
def test_output_has_the_size_of_the_settings_and_length_one(checkpoint, settings, size):
    upsampler = load_loftup(LoftUpSettings(source=checkpoint, adaptive=settings.adaptive,
                                           factor=settings.factor), DIMENSION)
    output = upsampler(torch.randn(2, DIMENSION, 4, 5), torch.rand(2, 3, 64, 80))
    assert upsampler.size((4, 5)) == size
    assert output.shape == (2, DIMENSION, *size)
    torch.testing.assert_close(output.norm(dim=1), torch.ones(2, *size))


def test_windows_at_once_equal_windows_one_by_one(checkpoint):
    upsampler = load_loftup(LoftUpSettings(source=checkpoint), DIMENSION)
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(6, DIMENSION, 4, 4, generator=generator)
    images = torch.rand(6, 3, 64, 64, generator=generator) * torch.arange(1, 7).reshape(6, 1, 1, 1)
    together = upsampler(features, images)
    for index in range(6):
        alone = upsampler(features[index:index + 1], images[index:index + 1])
        torch.testing.assert_close(together[index:index + 1], alone, atol=1e-4, rtol=0)


def test_an_edge_in_the_image_appears_in_the_features(checkpoint):
    """LoftUp must follow the image inside a patch, which no interpolation can."""
    upsampler = load_loftup(LoftUpSettings(source=checkpoint), DIMENSION)
    features = torch.randn(1, DIMENSION, 1, 1).expand(1, DIMENSION, 4, 4).contiguous()
    image = torch.zeros(1, 3, 64, 64)
    image[..., 40:] = 1.0                              # between output columns 9 and 10 of 16
    steps = (upsampler(features, image).diff(dim=-1)).norm(dim=1)[0, 3:-3, 3:-3].mean(0)
    assert np.isin(steps.argmax().item() + 3, [8, 9, 10])


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.03), (torch.float16, 0.006)])
def test_half_features_give_half_output_close_to_float(checkpoint, dtype, tolerance):
    upsampler = load_loftup(LoftUpSettings(source=checkpoint), DIMENSION)
    features, image = torch.randn(2, DIMENSION, 4, 4), torch.rand(2, 3, 64, 64)
    half = upsampler(features.to(dtype), image)
    assert half.dtype == dtype
    assert relative(half, upsampler(features, image)) < tolerance


def test_guidance_is_shrunk_with_antialiasing():
    stripes = (torch.arange(64) % 4 == 0).float().expand(1, 3, 64, 64)    # missed by plain bilinear
    shrunk = resize_guidance(stripes, (16, 16))
    assert (shrunk[..., 2:-2] - 0.25).abs().max() < 0.1
    assert resize_guidance(stripes.half(), (16, 16)).dtype == torch.float32


def test_the_checkpoint_states_its_contract(checkpoint):
    upsampler = load_loftup(LoftUpSettings(source=checkpoint), DIMENSION)
    assert upsampler.contract.layer == "attended"
    assert upsampler.fallback is None and upsampler.network is not None


def test_without_weights_and_leave_it_refuses(tmp_path):
    with pytest.raises(WeightsError, match="absent.bin"):
        load_loftup(LoftUpSettings(source=str(tmp_path / "absent.bin")), DIMENSION)


def test_a_checkpoint_for_another_model_is_refused(checkpoint):
    with pytest.raises(WeightsError, match="24 channels.*CLIP model gives 32"):
        load_loftup(LoftUpSettings(source=checkpoint), 32)


def test_with_leave_it_falls_back_and_says_so(tmp_path, caplog):
    settings = LoftUpSettings(source=str(tmp_path / "absent.bin"), allow_fallback=True)
    with caplog.at_level(logging.WARNING):
        upsampler = load_loftup(settings, DIMENSION)
    assert "absent.bin" in upsampler.fallback
    assert "bilinear" in caplog.text and "absent.bin" in caplog.text
    features = torch.randn(2, DIMENSION, 4, 5)
    output = upsampler(features, torch.rand(2, 3, 64, 80))
    wanted = normalize(torch.nn.functional.interpolate(features, scale_factor=4.0,
                                                       mode="bilinear"), dim=1)
    torch.testing.assert_close(output, wanted)


def test_interpolation_on_purpose_is_no_fallback(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        asked_for = load_loftup(LoftUpSettings(source="bilinear"), DIMENSION)
    assert asked_for.fallback is None and not caplog.text
    stood_in = load_loftup(
        LoftUpSettings(source=str(tmp_path / "absent.bin"), allow_fallback=True), DIMENSION)
    features, images = torch.randn(2, DIMENSION, 4, 5), torch.rand(2, 3, 64, 80)
    torch.testing.assert_close(asked_for(features, images), stood_in(features, images))


def test_new_settings_share_the_network(checkpoint):
    upsampler = load_loftup(LoftUpSettings(source=checkpoint), DIMENSION)
    doubled = upsampler.with_settings(LoftUpSettings(adaptive=False, factor=2.0))
    assert doubled.network is upsampler.network and doubled.contract == upsampler.contract
    assert doubled.size((4, 5)) == (8, 10) and upsampler.size((4, 5)) == (16, 20)


def test_no_network_and_no_reason_is_refused():
    with pytest.raises(ValueError, match="LoftUp network"):
        LoftUpUpsampler(LoftUpSettings(allow_fallback=True), None)
    with pytest.raises(ValueError, match="allow_fallback is false"):
        LoftUpUpsampler(LoftUpSettings(), None, fallback="no network")


def test_a_factor_that_is_named_is_the_factor():
    words = ["floor", "wall"]
    image = render(sample_scene(np.random.default_rng(0)), 96, 128).image
    sides = [SCLIPSegmentor(precision="fp32", inference="whole", use_loftup=True, use_pamr=False,
                            **changes).predict_dense(image, words).score_map.values.shape
             for changes in ({}, {"loftup_adaptive": False, "loftup__factor": 2.0},
                             {"loftup_upsample_factor": 2.0}, {"loftup__factor": 2.0},
                             {"loftup_upsample_factor": 2.0, "loftup_adaptive": True})]
    assert sides[1] == sides[2] == sides[3] != sides[0] == sides[4]
