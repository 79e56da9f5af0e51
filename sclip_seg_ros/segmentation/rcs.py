"""ResCLIP's attention for the last block: residual cross-correlation and semantic bias.

Yang, Deng, Li and Duan, "ResCLIP: Residual Attention for Training-free Dense Vision-language
Inference", CVPR 2025. The middle blocks of CLIP attend across places, which the last block has
unlearnt; their attention is mixed into the last block's (residual cross-correlation self-attention,
RCS), and a first segmentation may bias it (semantic feedback refinement, SFR, see ``sfr``).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sclip_seg_ros.segmentation.attention import AttentionRule, neighbourhood_bias
from sclip_seg_ros.segmentation.settings import ResClipSettings

# Which of (q, k) are compared with which, per softmax; SCLIP adds two of them up.
_QUERY, _KEY = 0, 1
_COMPARISONS = {
    "vanilla": ((_QUERY, _KEY),),
    "sclip": ((_QUERY, _QUERY), (_KEY, _KEY)),
    "clearclip": ((_QUERY, _QUERY),),
    "naclip": ((_KEY, _KEY),),
}


def recorded_blocks(depth: int) -> tuple[int, ...]:
    """Return the blocks (0-based) whose mean attention RCS mixes into the last one.

    The paper takes blocks 6 to 9 of 12, that is 5/12 to 9/12 of the depth; towers of another depth
    get the blocks of the same range, rounded down: 10 to 17 of 24, 2 and 3 of 6.

    Raises:
        ValueError: a tower without a block before its last.
    """
    blocks = tuple(range(5 * depth // 12, 9 * depth // 12))
    if not blocks:
        raise ValueError(f"image tower of depth {depth} has no middle block whose attention "
                         "ResCLIP could take; choose one of 2 blocks or more, or switch RCS off")
    return blocks


def resclip_rule(attention: str, settings: ResClipSettings, recorded: Tensor | None = None,
                 semantic: Tensor | None = None, sigma: float = 5.0) -> AttentionRule:
    """Return the last block's attention with RCS, SFR, both or neither.

    With S one of the base's score matrices (SCLIP has two, whose softmaxes are added up), omega
    NACLIP's neighbourhood bias and zero for the other bases::

        S <- tau_s ((1 - lambda_s) S + lambda_s M / max M)        where `semantic` is given
        A  = softmax(S + omega)
        A <- tau_r ((1 - lambda_r) A + lambda_r A_recorded)       where `recorded` is given

    The mixture is applied to the attended values, which is the same and leaves A unmaterialised.

    Args:
        attention: base rule: "vanilla", "sclip", "clearclip" or "naclip".
        settings: the temperatures tau and weights lambda.
        recorded: (B, heads, N, N) mean attention of the middle blocks.
        semantic: (B, N, N) same-label matrix M, class token included.
        sigma: NACLIP's neighbourhood in patches.

    Raises:
        ValueError: an unknown base rule.
    """
    if attention not in _COMPARISONS:
        raise ValueError(f"attention '{attention}' is unknown; choose one of "
                         f"{', '.join(_COMPARISONS)}")

    def rule(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        sides = (q, k)
        scale, bias = q.shape[-1] ** -0.5, None
        if semantic is not None:
            scale *= settings.sfr_temperature * (1.0 - settings.sfr_weight)
            bias = _semantic_scores(semantic, settings)
        if attention == "naclip":
            omega = neighbourhood_bias(*grid, sigma, q.device)
            bias = omega if bias is None else bias + omega
        bias = None if bias is None else bias.to(q.dtype)
        attended = sum(
            scaled_dot_product_attention(sides[left], sides[right], v, attn_mask=bias, scale=scale)
            for left, right in _COMPARISONS[attention])
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
