"""Attention rules for CLIP's last block, as pure functions of queries, keys and values.

Every rule takes q, k, v of shape (B, heads, N, d), with the class token first among the N = 1 + h*w
tokens, and returns the attended values (B, heads, N, d). The usual softmax scale d**-0.5 applies.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sclip_seg_ros.segmentation.device_cache import device_cache

# Tokens up to which a CPU holds the weights of attention in bfloat16; its fused kernel is slower.
EXPLICIT_TOKENS = 1024

# Kept at once: each has the square of the grid's cells, 118 MB at short side 1024 (64 x 85).
# A CUDA graph keeps its own (see replay.Recording), whatever goes from here.
_BIASES = 4

AttentionRule = Callable[[Tensor, Tensor, Tensor, "tuple[int, int]"], Tensor]


def vanilla(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend as CLIP was trained to: softmax(q k^T) v."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or k.shape[-2] > EXPLICIT_TOKENS:
        return scaled_dot_product_attention(q, k, v)
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v


def correlative(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with SCLIP's correlative self-attention: (softmax(q q^T) + softmax(k k^T)) v.

    The rows of the sum add up to 2; the paper does not average (Wang et al., SCLIP, ECCV 2024,
    eq. 4 and its public code).
    """
    return vanilla(q, q, v) + vanilla(k, k, v)


def query_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with ClearCLIP's self-self attention: softmax(q q^T) v (Lan et al., ECCV 2024)."""
    return vanilla(q, q, v)


def neighbourhood(q: Tensor, k: Tensor, v: Tensor, omega: Tensor) -> Tensor:
    """Attend with NACLIP's rule: softmax(k k^T + omega) v (Hajimiri et al., WACV 2025, eq. 5).

    Args:
        omega: (N, N) additive bias that prefers near patches, see :func:`neighbourhood_bias`.
    """
    return scaled_dot_product_attention(k, k, v, attn_mask=omega.to(q.dtype))


@device_cache(maxsize=_BIASES)
def neighbourhood_bias(height: int, width: int, sigma: float = 5.0,
                       device: torch.device | str = "cpu") -> Tensor:
    """Return NACLIP's Gaussian bias omega between all patches of a grid.

    omega[i, j] = exp(-|p_i - p_j|^2 / (2 sigma^2)) in patch units, zero for the class token.

    Returns:
        (1 + h*w, 1 + h*w) float32, cached per grid: do not write into it.
    """
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device),
                          indexing="ij")
    points = torch.stack([y.flatten(), x.flatten()], dim=1).float()
    squared = (points[:, None] - points[None]).square().sum(-1)
    omega = torch.zeros(1 + height * width, 1 + height * width, device=device)
    omega[1:, 1:] = torch.exp(-squared / (2.0 * sigma**2))
    return omega


def attention_rule(name: str, sigma: float = 5.0) -> AttentionRule:
    """Return the rule called ``vanilla``, ``sclip``, ``clearclip`` or ``naclip``.

    Args:
        name: the method whose last block is wanted.
        sigma: NACLIP's neighbourhood in patches.

    Raises:
        ValueError: an unknown name.
    """
    def near(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        return neighbourhood(q, k, v, neighbourhood_bias(*grid, sigma, q.device))

    rules: dict[str, AttentionRule] = {
        "vanilla": lambda q, k, v, grid: vanilla(q, k, v),
        "sclip": lambda q, k, v, grid: correlative(q, k, v),
        "clearclip": lambda q, k, v, grid: query_query(q, k, v),
        "naclip": near,
    }
    if name not in rules:
        raise ValueError(f"attention '{name}' is unknown; choose one of {', '.join(rules)}")
    return rules[name]
