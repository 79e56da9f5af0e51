"""ResCLIP's attention for the last block: residual cross-correlation and semantic bias.

Yang, Deng, Li and Duan, "ResCLIP: Residual Attention for Training-free Dense Vision-language
Inference", CVPR 2025. The middle blocks of CLIP attend across places, which the last block has
unlearnt; their attention is mixed into the last block's (residual cross-correlation self-attention,
RCS), and a first segmentation may bias it (semantic feedback refinement, SFR, see ``sfr``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sclip_seg_ros.segmentation.backbones.attention import (
    AttentionRule,
    last_block_attention,
    with_leading,
)
from sclip_seg_ros.segmentation.resclip.settings import ResClipSettings


def recorded_blocks(depth: int, choice: str = "auto") -> tuple[int, ...]:
    """Return the blocks (0-based) whose mean attention RCS mixes into the last one.

    The paper takes blocks 6 to 9 of 12, that is 5/12 to 9/12 of the depth; its code takes 5 to 8,
    counted from 0, whatever the depth.

    Args:
        depth: number of the tower's blocks.
        choice: "5-8", or "auto" for the blocks of the same range in towers of another depth,
            rounded down: 10 to 17 of 24, 2 and 3 of 6.

    Raises:
        ValueError: a tower without such blocks before its last.
    """
    if choice == "5-8":
        if depth < 10:
            raise ValueError(f"image tower of depth {depth} does not have resclip.blocks=5-8 "
                             "before its last block; set resclip.blocks to auto")
        return tuple(range(5, 9))
    blocks = tuple(range(5 * depth // 12, 9 * depth // 12))
    if not blocks:
        raise ValueError(f"image tower of depth {depth} has no middle block whose attention "
                         "ResCLIP could take; choose one of 2 blocks or more, or switch RCS off")
    return blocks


def resclip_rule(attention: str, settings: ResClipSettings, recorded: Tensor | None = None,
                 semantic: Tensor | None = None,
                 options: Mapping[str, Any] | None = None) -> AttentionRule:
    """Return the last block's attention with RCS, SFR, both or neither.

    With S one of the base's score matrices (SCLIP has two, whose softmaxes are added up), omega
    the base's bias (NACLIP's neighbourhood), zero where it has none::

        S <- tau_s ((1 - lambda_s) S + lambda_s M / max M)        where `semantic` is given
        A  = softmax(S + omega)
        A <- tau_r ((1 - lambda_r) A + lambda_r A_recorded)       where `recorded` is given

    The mixture is applied to the attended values, which is the same and leaves A unmaterialised.

    Args:
        attention: base rule, a row of :data:`backbones.attention.ATTENTIONS`.
        settings: the temperatures tau and weights lambda.
        recorded: (B, heads, N, N) mean attention of the middle blocks.
        semantic: (B, 1 + h*w, 1 + h*w) same-label matrix M, a class token first.
        options: values of the base rule's settings, e.g. ``{"naclip_sigma": 5.0}``.

    Raises:
        ValueError: an unknown base rule, or a method that changes more than the last block.
    """
    row, options = last_block_attention(attention), options or {}

    def rule(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        sharper, bias = 1.0, None
        leading = q.shape[-2] - grid[0] * grid[1]
        if semantic is not None:
            sharper = settings.sfr_temperature * (1.0 - settings.sfr_weight)
            bias = _semantic_scores(with_leading(semantic, leading), settings)
        omega = row.bias_for(grid, q.device, options, leading)
        if omega is not None:
            bias = omega if bias is None else bias + omega
        bias = None if bias is None else bias.to(q.dtype)
        attended = sum(
            scaled_dot_product_attention(left, right, v, attn_mask=bias,
                                         scale=sharper * left.shape[-1] ** -0.5)
            for left, right in row.pairs(q, k, v, options, leading))
        if recorded is None:
            return attended
        weight = settings.rcs_weight
        mixed = (1.0 - weight) * attended + weight * (recorded.to(v.dtype) @ v)
        return settings.rcs_temperature * mixed

    return rule


def _semantic_scores(semantic: Tensor, settings: ResClipSettings) -> Tensor:
    """Return tau_s lambda_s M / max M, with a dimension of 1 for the heads."""
    peak = semantic.amax(dim=(1, 2), keepdim=True)
    return (settings.sfr_temperature * settings.sfr_weight * semantic / peak)[:, None]
