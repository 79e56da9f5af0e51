"""What is known of a picture's scores at nodes, and how nodes reach patches of its pixels.

Enlarged scores lie between those of the nodes around a pixel: cells of their grid, or places
between cells where cells are far apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.scores.decoding_rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import Axis, ScoreMap, Tile, enlargement, tile

SIDE = 8         # pixels of a patch each way
SPACING = 10.0   # pixels between nodes at most; where cells are farther apart, nodes lie between
DENSE = 4        # pixels that there must be to a node, or nothing is gained
BUSY = 0.6       # share of neighbouring cells with other winners, above which nothing is gained
MARGIN = 1e-4    # of roots of what queries count for: what rounding may do to their order
LEAST = 1e-9     # of a coefficient whose logarithm is taken
CHUNK = 100_000  # scores in one step: few enough for a processor's cache, enough to be worth it
TILE = 64        # pixels each way of a larger piece
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class Cut:
    """One direction of a picture, cut into n patches.

    Attributes:
        nodes: (n, M) that reach a patch.
        weights: (n, M, SIDE), by which they reach its pixels.
        tiles: the same in larger pieces, and between every two nodes the parabola 4 t (1 - t).
        between: (nodes, cells) that makes nodes of cells; None where they are the same.
    """

    nodes: Tensor
    weights: Tensor
    tiles: tuple[Tile, ...]
    between: Tensor | None


@dataclass(frozen=True, eq=False)
class Nodes:
    """What is known at the h x w nodes of a picture.

    Attributes:
        scores: (Q, h, w), of the map or between its cells.
        total: (h, w), logarithm of the sum over queries of exp(scaled score).
        winner: (h, w) float32, the query that wins; -1 where another is as good.
        probability: (h, w) of the best query that may win.
        across, down: (h, w - 1) and (h - 1, w), by how much the total of two neighbours is bent
            halfway.
    """

    scores: Tensor
    total: Tensor
    winner: Tensor
    probability: Tensor
    across: Tensor
    down: Tensor


def look(scores: ScoreMap, rule: DecodingRule, down: Cut, across: Cut,
         size: tuple[int, int]) -> Nodes | None:
    """Return what is known at the nodes.

    Args:
        scores: of Q queries, on the CPU.
        rule: tells which of them may win.
        down, across: the picture's two directions.
        size: (H, W) of the picture.

    Returns:
        None where it is not worth the work: few pixels to a node, other winners everywhere, scores
        that are not numbers.
    """
    values, allowed = scores.values.transpose(0, 1), rule.allowed()
    rows, columns = (cells if each.between is None else len(each.between)
                     for each, cells in zip((down, across), values.shape[1:], strict=True))
    if (rows * columns * DENSE > size[0] * size[1] or _busy(values)
            or not bool(values.sum().isfinite())):
        return None
    if down.between is not None:
        values = torch.matmul(down.between, values)
    if across.between is not None:
        values = values @ across.between.T
    queries, nodes = len(values), rows * columns
    numbers = torch.arange(float(queries))
    counted = torch.stack([torch.ones_like(numbers), numbers])
    half = rule.logit_scale / 2
    sums, best, highest, beside, below = torch.zeros(5, nodes)
    found, step = torch.empty(2, nodes), max(1, CHUNK // (queries * columns))
    best.fill_(1.0)
    scratch = torch.empty(2, queries * step * columns)
    above = None
    for start in range(0, rows, step):
        lines = values[:, start:start + step]
        part = slice(start * columns, (start + lines.shape[1]) * columns)
        roots, rivals = (each[:lines.numel()].view(queries, -1) for each in scratch)
        top = highest[part].view(lines.shape[1:])
        torch.amax(lines, 0, out=top)
        torch.add(top * -half, lines, alpha=half, out=roots.view(lines.shape))
        exp_in_place(roots)  # of half the logarithm: the root of what a query counts for
        if allowed is None:
            torch.add(roots, MARGIN, out=rivals)
        else:
            torch.mul(roots, allowed[:, None], out=rivals)
            torch.amax(rivals, 0, out=best[part])
            rivals.div_(best[part].clamp(min=TINY)).add_(MARGIN)
        torch.mm(counted, rivals.floor_(), out=found[:, part])
        here = roots.numpy()
        _products(here, here, sums[part])
        _products(here[:, :-1], here[:, 1:], beside[part][:-1])
        _products(here[:, :-columns], here[:, columns:], below[part][:-columns])
        if above is not None:
            _products(above, here[:, :columns], below[part.start - columns:part.start])
        above = here[:, -columns:].copy()
    ties, winner = found
    sums, best, highest, winner, ties, beside, below = (
        each.view(rows, columns) for each in (sums, best, highest, winner, ties, beside, below))
    norm = sums.rsqrt()
    return Nodes(
        values, highest * rule.logit_scale + sums.log(), winner.masked_fill_(ties != 1, -1),
        best.square() / sums,
        -(beside[:, :-1] * norm[:, :-1] * norm[:, 1:]).clamp_(min=LEAST).log_(),
        -(below[:-1] * norm[:-1] * norm[1:]).clamp_(min=LEAST).log_())


def _busy(values: Tensor) -> bool:
    """Tell from every 16th row of cells (Q, h, w) whether winners change nearly everywhere."""
    best = values[:, ::16].numpy().argmax(0)
    return float((best[:, 1:] != best[:, :-1]).mean()) > BUSY


def exp_in_place(values: Tensor) -> None:
    """Take exp in place of contiguous values (N, M) float32, in a third of torch's time."""
    cv2.exp(values.numpy(), values.numpy())


def _products(one: np.ndarray, other: np.ndarray, sums: Tensor) -> None:
    """Write the sums over queries of products (Q, N), in one pass over memory."""
    np.einsum("qn,qn->n", one, other, out=sums.numpy())


@device_cache(maxsize=64)
def cut(axis: Axis, target: int) -> Cut:
    """Cut one direction of a picture of ``target`` pixels into patches, cached."""
    cpu = torch.device("cpu")
    pixels = torch.arange(-(-target // SIDE) * SIDE).clamp(max=target - 1)  # the last one repeated
    parts = -(-target // int(axis.cells * SPACING))
    if parts == 1:
        between, reach = None, enlargement(axis, target, cpu)
    else:
        count = (axis.cells - 1) * parts + 1
        places = (torch.arange(axis.length) + 0.5) * axis.cells / axis.length - 0.5
        fine = _linear(places.clamp(0, axis.cells - 1) * parts, count)
        reach = enlargement(Axis.of_pixels(axis.length), target, cpu) @ fine
        between = _linear(torch.arange(count) / parts, axis.cells)
    reach = reach[pixels]
    woven = reach.new_zeros(len(reach), 2 * reach.shape[1] - 1)
    woven[:, ::2] = reach
    # A parabola is 4 times the variance of the place among nodes; of three, the outer two are
    # twice as far apart, which goes to both stretches between them.
    woven[:, 1::2] = 4 * reach[:, 1:] * reach[:, :-1]
    far = 8 * reach[:, 2:] * reach[:, :-2]
    woven[:, 1:-2:2] += far
    woven[:, 3::2] += far
    return Cut(*_windows(reach, 2),
               tuple(tile(woven, start, min(start + TILE, len(pixels)), cpu)
                     for start in range(0, len(pixels), TILE)), between)


def _windows(matrix: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Return the columns (n, M) that reach each patch of rows, in order, and their weights."""
    patches = matrix.unflatten(0, (-1, SIDE))
    reached = patches.ne(0).any(1).int()
    first = reached.argmax(1)
    last = reached.shape[1] - 1 - reached.flip(1).argmax(1)
    count = min(max(least, int((last - first).max()) + 1), matrix.shape[1])
    columns = first.clamp(max=matrix.shape[1] - count)[:, None] + torch.arange(count)
    return columns, patches.gather(2, columns[:, None].expand(-1, SIDE, -1)).transpose(1, 2)


def _linear(places: Tensor, count: int) -> Tensor:
    """Return the matrix (places, count) that interpolates linearly between nodes 0 to count - 1."""
    first = places.floor().clamp(max=count - 2).long()[:, None]
    share = places[:, None] - first
    matrix = torch.zeros(len(places), count)
    return matrix.scatter_(1, first, 1 - share).scatter_(1, first + 1, share)
