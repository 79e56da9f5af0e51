"""The last block's attention rules."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import golden_names
from torch import Tensor, nn

from sclip_seg_ros.segmentation.backbones.attention import (
    EXPLICIT_TOKENS,
    attention_rule,
    correlative,
    last_block_rules,
    neighbourhood,
    neighbourhood_bias,
    query_query,
    vanilla,
)
from sclip_seg_ros.segmentation.backbones.attention.procrustes import rotation

GRID = (3, 5)
TOKENS = 1 + GRID[0] * GRID[1]
PEARL = sorted({name.partition("/")[0] for name in golden_names("pearl_tlp.npz")
                if name.endswith("/matrix")})


def draw(seed: int = 0, batch: int = 2, heads: int = 3, tokens: int = TOKENS,
         size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, batch, heads, tokens, size, generator=generator).unbind(0))


def softmax_scores(left: Tensor, right: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    return torch.softmax(left @ right.mT / left.shape[-1] ** 0.5 + bias, dim=-1)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def test_correlative_adds_the_two_softmaxes_of_queries_and_of_keys():
    q, k, v = draw()
    expected = (softmax_scores(q, q) + softmax_scores(k, k)) @ v
    assert torch.allclose(correlative(q, k, v), expected, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [17, EXPLICIT_TOKENS + 1])
def test_held_and_fused_attention_agree(dtype: torch.dtype, tokens: int):
    q, k, v = draw(batch=1, heads=1, tokens=tokens)
    expected = softmax_scores(q, k) @ v
    gate = {torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    assert relative_error(vanilla(*(part.to(dtype) for part in (q, k, v))), expected) < gate


def test_query_query_compares_queries_alone():
    q, k, v = draw()
    assert torch.allclose(query_query(q, k, v), softmax_scores(q, q) @ v, atol=2e-5)
    assert torch.equal(query_query(q, k, v), query_query(q, torch.zeros_like(k), v))


def test_neighbourhood_adds_its_bias_to_the_keys_scores():
    q, k, v = draw()
    omega = neighbourhood_bias(*GRID, 5.0)
    expected = softmax_scores(k, k, omega) @ v
    assert torch.allclose(neighbourhood(q, k, v, omega), expected, atol=2e-5)


@pytest.mark.parametrize(("name", "total"), [("vanilla", 1.0), ("sclip", 2.0), ("clearclip", 1.0),
                                             ("naclip", 1.0), ("pearl", 1.0)])
def test_the_rows_of_the_attention_add_up(name: str, total: float):
    q, k, v = draw()
    rows = attention_rule(name)(q, k, torch.ones_like(v), GRID)
    assert torch.allclose(rows, torch.full_like(rows, total), atol=1e-5)


@pytest.mark.parametrize("name", ["vanilla", "sclip", "clearclip"])
def test_rules_without_a_neighbourhood_do_not_care_for_the_order_of_tokens(name: str):
    q, k, v = draw()
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(1))
    rule = attention_rule(name)
    shuffled = rule(q[:, :, order], k[:, :, order], v[:, :, order], GRID)
    assert torch.allclose(shuffled, rule(q, k, v, GRID)[:, :, order], atol=2e-5)


@pytest.mark.parametrize("case", PEARL or ["absent"])
def test_pearl_matches_the_golden_attention(golden_dir: Path, case: str):
    data = np.load(golden_dir / "pearl_tlp.npz")
    q, k, v = (torch.from_numpy(data[f"{case}/{name}"])[None] for name in "qkv")
    rule = attention_rule("pearl", {"pearl_alpha": float(data[f"{case}/alpha"])})
    grid = (1, q.shape[-2] - 1)
    identity = torch.eye(q.shape[-2]).expand(*q.shape[:2], -1, -1)
    for values, name in ((identity, "matrix"), (v, "out")):
        expected = torch.from_numpy(data[f"{case}/{name}"])
        assert torch.allclose(rule(q, k, values, grid)[0], expected, rtol=0, atol=2e-4), name


def test_keys_are_turned_onto_queries_that_are_turned_keys():
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(3, 8, 8, generator=generator))
    keys = torch.randn(3, 40, 8, generator=generator)
    found = rotation(keys, keys @ turn, iterations=30)
    assert torch.allclose(found, turn, atol=1e-3)
    nearer, farther = ((rotation(keys, keys @ turn, count) - turn).norm() for count in (8, 3))
    assert nearer < farther


@pytest.mark.parametrize("leading", [0, 1, 5])
def test_pearl_leaves_leading_tokens_out_of_its_means(leading: int):
    q, k, v = draw(tokens=leading + 15)
    q[:, :, leading:], k[:, :, leading:] = 1.0, 2.0     # alike, so that nothing of them is left
    q[:, :, :leading] *= 10
    rows = attention_rule("pearl")(q, k, v, GRID)[:, :, leading:]
    assert torch.allclose(rows, rows[:, :, :1].expand_as(rows), atol=1e-5)
    plain = softmax_scores(q[:, :, leading:], torch.zeros_like(k)) @ v
    assert leading or torch.allclose(rows, plain, atol=1e-4)


def test_vanilla_is_multi_head_attention():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(24, 4, batch_first=True).eval()
    tokens = torch.randn(2, TOKENS, 24)
    joint = nn.functional.linear(tokens, layer.in_proj_weight, layer.in_proj_bias)
    q, k, v = joint.unflatten(-1, (3, 4, 6)).permute(2, 0, 3, 1, 4).unbind(0)
    found = layer.out_proj(vanilla(q, k, v).transpose(1, 2).flatten(2))
    assert torch.allclose(found, layer(tokens, tokens, tokens)[0], atol=1e-5)


@pytest.mark.parametrize("name", last_block_rules())
@pytest.mark.parametrize(("dtype", "gate"), [(torch.float16, 2e-3), (torch.bfloat16, 1e-2)])
def test_half_precision_stays_near_single(name: str, dtype: torch.dtype, gate: float):
    inputs = [tensor.to(dtype) for tensor in draw(tokens=197, size=64)]
    rule = attention_rule(name)
    exact = rule(*(tensor.float() for tensor in inputs), (14, 14))
    assert relative_error(rule(*inputs, (14, 14)), exact) < gate


def test_only_the_newest_grids_biases_are_kept():
    """Each grows with the square of the cells: all sizes a camera had would fill the memory."""
    biases = [weakref.ref(neighbourhood_bias(2, side)) for side in range(2, 22)]
    gc.collect()
    assert 1 <= sum(bias() is not None for bias in biases) <= 4
    assert neighbourhood_bias(2, 21) is biases[-1]()


def test_the_neighbourhood_is_a_gaussian_of_the_distance_between_patches():
    omega = neighbourhood_bias(3, 5, 2.0)
    for first in range(15):
        for second in range(15):
            squared = (first // 5 - second // 5) ** 2 + (first % 5 - second % 5) ** 2
            expected = torch.exp(torch.tensor(-squared / 8.0))
            assert abs(omega[1 + first, 1 + second] - expected) < 1e-6


def test_the_neighbourhood_leaves_the_class_token_alone():
    omega = neighbourhood_bias(4, 7)
    assert omega.shape == (29, 29)
    assert not omega[0].any() and not omega[:, 0].any()
    assert torch.equal(omega, omega.T)


def test_a_wide_neighbourhood_changes_nothing_but_the_class_tokens_share():
    """A constant bias among patches cancels in the softmax if the class token is far."""
    q, k, v = draw()
    k[:, :, 0] = 0.0
    k[:, :, 0, 0] = -1e4
    k[:, :, 1:, 0] = 1.0
    near_constant = attention_rule("naclip", {"naclip_sigma": 1e3})(q, k, v, GRID)[:, :, 1:]
    plain = (softmax_scores(k, k) @ v)[:, :, 1:]
    assert torch.allclose(near_constant, plain, atol=1e-4)


def test_an_unknown_rule_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="'sclip2' is unknown.*naclip"):
        attention_rule("sclip2")
