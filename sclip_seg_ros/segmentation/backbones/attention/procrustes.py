"""PEARL's Procrustes attention: queries are compared with keys that were turned towards them.

"PEARL", CVPR 2026, the alignment before its label propagation (:mod:`..refinement.tlp`). For each
head, with queries and keys centred by the lengths of the queries, R is the rotation that brings the
keys closest to the queries, and attention is softmax((q (k R)^T + alpha k_c k_c^T) d^-0.5).
"""

from __future__ import annotations

import torch
from torch import Tensor

ITERATIONS = 5     # the authors' number; far from converged, so that more would be another method
_RIDGE = 1e-6      # added to the matrix whose root is taken


def procrustes_pair(q: Tensor, k: Tensor, leading: int = 1,
                    alpha: float = 0.08) -> tuple[Tensor, Tensor]:
    """Return what is compared with what, so that one product of both gives the whole score.

    Args:
        q, k: (B, heads, N, d), leading tokens first.
        leading: how many of these there are; they do not count in the means.
        alpha: weight of the keys among themselves.

    Returns:
        left and right (B, heads, N, 2 d), in q's arithmetic; left right^T (2 d)^-0.5 is the score.
    """
    queries, keys = q.float(), k.float()
    lengths = queries.norm(dim=-1, keepdim=True)
    lengths = torch.cat([torch.zeros_like(lengths[..., :leading, :]), lengths[..., leading:, :]],
                        dim=-2)
    weights = lengths / lengths.sum(-2, keepdim=True).clamp_min(1e-12)
    centred = keys - (weights * keys).sum(-2, keepdim=True)
    turned = keys @ rotation(centred, queries - (weights * queries).sum(-2, keepdim=True))
    among = centred * alpha ** 0.5
    # The factor makes up for the doubled length in the scale of the softmax.
    left = torch.cat([queries, among], dim=-1) * 2 ** 0.5
    return left.to(q.dtype), torch.cat([turned, among], dim=-1).to(q.dtype)


def rotation(keys: Tensor, queries: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Return about the rotation R with keys R closest to queries, by Newton and Schulz's iteration.

    With M = keys^T queries, R = M (M^T M)^-1/2.

    Args:
        keys, queries: (..., N, d) float32, centred.
        iterations: the more, the nearer to a rotation.

    Returns:
        (..., d, d) float32.
    """
    crossed = _scaled(keys.transpose(-2, -1) @ queries)[0]  # its length does not matter
    square, norm = _scaled(crossed.transpose(-2, -1) @ crossed)
    identity = torch.eye(square.shape[-1], device=square.device)
    root, inverse = square + _RIDGE * identity, identity.expand_as(square)
    for _ in range(iterations):
        step = (3 * identity - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return crossed @ inverse / norm.sqrt()


def _scaled(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix divided by its Frobenius norm, and that norm; of tokens all alike it is 0."""
    norm = torch.linalg.matrix_norm(matrix)[..., None, None].clamp_min(1e-12)
    return matrix / norm, norm
