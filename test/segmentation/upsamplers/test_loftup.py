"""LoftUp: parity with the reference, and the identities it must keep without any weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoints import random_state
from torch.nn.functional import softmax

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.upsamplers.loftup.fourier import FourierFeatures, MinMaxScaler
from sclip_seg_ros.segmentation.upsamplers.loftup.network import (
    LoftUp,
    LoftUpSizes,
    build_loftup,
    sizes_of,
)

DIMENSION = 24


@pytest.fixture(scope="module")
def network() -> LoftUp:
    """Return a small LoftUp whose head width, 11, is not a multiple of 8 (nor is the published)."""
    return build_loftup(random_state(LoftUpSizes(DIMENSION)), DIMENSION)


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (3, D, 4, 5) and guidance (3, 3, 21, 26) of quite different contrast."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, DIMENSION, 4, 5, generator=generator)
    contrast = torch.tensor([1.0, 4.0, 0.2]).reshape(3, 1, 1, 1)
    return features, torch.rand(3, 3, 21, 26, generator=generator) * contrast


def relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the relative L2 distance."""
    return ((got.float() - wanted).norm() / wanted.norm()).item()


def golden(golden_dir) -> tuple[dict[str, torch.Tensor], list[str], dict[str, torch.Tensor]]:
    """Return the reference's arrays, its case names, and its checkpoint."""
    path = golden_dir / "loftup.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    arrays = {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(path).items()}
    cases = sorted(name.split("/")[0] for name in arrays if name.endswith("/out_single"))
    state = {name[2:]: value for name, value in arrays.items() if name.startswith("w/")}
    return arrays, cases, state


@pytest.mark.parametrize("query_chunk", [None, 100])
def test_golden_outputs_match(golden_dir, query_chunk):
    arrays, cases, state = golden(golden_dir)
    network = build_loftup(state, len(state["channelnorm.norm.weight"]))
    assert cases
    for case in cases:
        output = network(arrays[f"{case}/features"], arrays[f"{case}/guidance"], query_chunk)
        assert relative(output, arrays[f"{case}/out_single"]) < 1e-3, case


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.03), (torch.float16, 0.006)])
def test_golden_outputs_survive_half_precision(golden_dir, dtype, tolerance):
    arrays, cases, state = golden(golden_dir)
    network = build_loftup(state, len(state["channelnorm.norm.weight"]))
    for case in cases:
        with torch.autocast("cpu", dtype):
            output = network(arrays[f"{case}/features"], arrays[f"{case}/guidance"])
        assert relative(output, arrays[f"{case}/out_single"]) < tolerance, case


@pytest.mark.parametrize("dimension, parameters", [(512, 7_164_438), (384, 4_303_126)])
def test_parameter_count_is_the_published_one(dimension, parameters):
    with torch.device("meta"):
        network = LoftUp(LoftUpSizes(dimension))
    assert sum(value.numel() for value in network.upsampler.parameters()) == parameters


def test_guidance_has_203_channels_and_patches_20():
    image = torch.rand(2, 3, 6, 7)
    assert FourierFeatures(20, colour=True)(image).shape == (2, 203, 6, 7)
    assert FourierFeatures(5, colour=False)(image).shape == (2, 20, 6, 7)


def test_sizes_are_read_from_the_tensors():
    sizes = LoftUpSizes(dimension=40, frequencies=7, position_frequencies=3, heads=4, depth=3,
                        hidden=18)
    state = random_state(sizes)
    assert sizes_of(state) == sizes
    output = build_loftup(state, 40)(torch.randn(1, 40, 3, 3), torch.rand(1, 3, 8, 9))
    assert output.shape == (1, 40, 8, 9)


@pytest.mark.parametrize("query_chunk", [1, 60, 500, 10_000])
def test_chunks_do_not_change_the_output(network, inputs, query_chunk):
    features, guidance = inputs[0], inputs[1][..., :7, :9]
    whole = network(features, guidance, query_chunk=None)
    torch.testing.assert_close(network(features, guidance, query_chunk=query_chunk), whole,
                               atol=1e-4, rtol=0)


def test_chunks_bound_the_transformer_over_the_whole_batch(network, inputs):
    sizes, projections = [], []
    transformer = network.upsampler.ca_transformer
    hooks = [transformer.register_forward_hook(
        lambda module, args, output: sizes.append(args[0].shape[0] * args[0].shape[1]))]
    hooks += [attention.norm_kv.register_forward_hook(
        lambda module, args, output: projections.append(1)) for attention, _ in transformer.layers]
    network(*inputs, query_chunk=90)
    for hook in hooks:
        hook.remove()
    assert max(sizes) <= 90 and sum(sizes) == 3 * 21 * 26
    assert len(projections) == len(transformer.layers), "patches are projected once per layer"


def test_a_batch_equals_its_images_one_by_one(network, inputs):
    features, guidance = inputs
    together = network(features, guidance)
    for index in range(len(features)):
        alone = network(features[index:index + 1], guidance[index:index + 1])
        torch.testing.assert_close(together[index:index + 1], alone, atol=1e-4, rtol=0)


def test_padded_heads_equal_plain_attention(network):
    attention = network.upsampler.ca_transformer.layers[0][0]
    generator = torch.Generator().manual_seed(2)
    width = attention.head_width * attention.heads
    pixels = torch.randn(2, 9, width, generator=generator)
    patches = torch.randn(2, 6, width, generator=generator)

    rows = attention.attention.in_proj_weight.chunk(3)
    offsets = attention.attention.in_proj_bias.chunk(3)
    sources = (attention.norm_q(pixels), attention.norm_kv(patches), attention.norm_kv(patches))
    q, k, v = ((x @ w.T + b).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
               for x, w, b in zip(sources, rows, offsets, strict=True))
    weights = softmax(q @ k.transpose(-2, -1) * attention.head_width ** -0.5, dim=-1)
    plain = attention.attention.out_proj((weights @ v).transpose(1, 2).flatten(2))

    padded = attention(pixels, *attention.keys_values(patches))
    torch.testing.assert_close(padded, plain, atol=1e-5, rtol=0)


def test_scaler_spans_half_to_half_for_every_image_and_channel(inputs):
    scaled = MinMaxScaler()(inputs[1])
    torch.testing.assert_close(scaled.amin(dim=(2, 3)), torch.full((3, 3), -0.5))
    torch.testing.assert_close(scaled.amax(dim=(2, 3)), torch.full((3, 3), 0.5))


def test_scaler_survives_an_image_without_contrast():
    scaled = MinMaxScaler()(torch.full((1, 3, 4, 4), 0.7))
    assert torch.equal(scaled, torch.full((1, 3, 4, 4), -0.5))


def test_guidance_scale_and_offset_cancel(network, inputs):
    features, guidance = inputs
    scale = torch.tensor([4.4, 0.3, 2.0]).reshape(1, 3, 1, 1)
    offset = torch.tensor([-2.1, 0.5, 9.0]).reshape(1, 3, 1, 1)
    moved = guidance * scale + offset
    scaler = MinMaxScaler()
    torch.testing.assert_close(scaler(moved), scaler(guidance), atol=2e-5, rtol=0)
    assert relative(network(features[1:2], moved[1:2]),
                    network(features[1:2], guidance[1:2])) < 5e-3


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.03), (torch.float16, 0.006)])
@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_half_precision_leaves_the_guidance_in_float32(inputs, dtype, tolerance, how):
    features, guidance = inputs
    network = build_loftup(random_state(LoftUpSizes(DIMENSION)), DIMENSION)
    exact = network(features, guidance)

    scaler = network.upsampler.fourier_feat[0]
    hook = scaler.register_forward_hook(lambda module, args, output: output.to(dtype).float())
    rounded = network(features, guidance)
    hook.remove()
    assert relative(rounded, exact) > 5 * tolerance, "rounded colours must be ruinous here"

    if how == "autocast":
        with torch.autocast("cpu", dtype):
            half = network(features, guidance)
    else:
        half = network.to(dtype)(features, guidance)
    assert half.dtype == dtype
    assert relative(half, exact) < tolerance


def test_output_is_normalised_per_pixel_before_its_affine(inputs):
    state = random_state(LoftUpSizes(DIMENSION))
    state["upsampler.final_conv.1.weight"] = torch.ones(DIMENSION)
    state["upsampler.final_conv.1.bias"] = torch.zeros(DIMENSION)
    output = build_loftup(state, DIMENSION)(*inputs)
    torch.testing.assert_close(output.mean(1), torch.zeros(3, 21, 26), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var(1, unbiased=False), torch.ones(3, 21, 26),
                               atol=1e-3, rtol=0)


def test_input_scale_and_offset_cancel_in_the_channel_norm(network, inputs):
    features, guidance = inputs
    torch.testing.assert_close(network(features * 30.0 + 2.0, guidance),
                               network(features, guidance), atol=2e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (5, 31)])
def test_any_output_size(network, inputs, size):
    features, guidance = inputs
    output = network(features, torch.rand(3, 3, *size))
    assert output.shape == (3, DIMENSION, *size)
    assert output.isfinite().all()


def test_inputs_of_another_shape_are_refused(network, inputs):
    features, guidance = inputs
    with pytest.raises(ValueError, match=r"\(3, 23, 4, 5\).*24"):
        network(features[:, :23], guidance)
    with pytest.raises(ValueError, match=r"\(2, 3, 21, 26\)"):
        network(features, guidance[:2])
    with pytest.raises(ValueError, match="query_chunk=0"):
        network(features, guidance, query_chunk=0)


def test_network_is_ready_for_inference(network):
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_half_weights_on_disk_become_float32():
    state = random_state(LoftUpSizes(DIMENSION))
    halves = {name: value.half() if value.is_floating_point() else value
              for name, value in state.items()}
    network = build_loftup(halves, DIMENSION)
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_another_clip_dimension_is_refused():
    with pytest.raises(WeightsError, match=r"channelnorm\.norm\.weight has shape \(24,\).*512"):
        build_loftup(random_state(LoftUpSizes(DIMENSION)), 512)


@pytest.mark.parametrize("name, change, message", [
    ("upsampler.first_conv.1.weight", lambda x: x[:, :-1],
     r"first_conv\.1\.weight' has shape \(44, 202, 3, 3\), not \(44, 203, 3, 3\)"),
    ("upsampler.ca_transformer.layers.1.0.attention.in_proj_weight", None,
     r"layers\.1\.0\.attention\.in_proj_weight' is missing"),
    ("upsampler.lr_pe.biases", lambda x: x[0], r"lr_pe\.biases' has shape \(2, 5\)"),
    ("channelnorm.norm.weight", None, r"lacks tensor 'channelnorm\.norm\.weight'"),
    ("upsampler.stranger", lambda x: torch.zeros(3), r"stranger' is unknown"),
])
def test_a_misfit_is_refused_by_name_and_shape(name, change, message):
    state = random_state(LoftUpSizes(DIMENSION))
    if change is None:
        del state[name]
    else:
        state[name] = change(state.get(name))
    with pytest.raises(WeightsError, match=message):
        build_loftup(state, DIMENSION)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(WeightsError, match="width 44 cannot have 3 heads"):
        build_loftup(random_state(LoftUpSizes(DIMENSION)), DIMENSION, heads=3)
