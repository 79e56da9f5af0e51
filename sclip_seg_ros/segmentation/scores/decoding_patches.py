"""Labels of a picture in which few queries can win at any place: a fraction of the work.

Enlarged scores lie between those of the nodes around a pixel: cells of their grid, or places
between cells. The picture is cut into patches of a few pixels.

* Where one query wins at all nodes that reach a patch, it wins in the whole patch.
* Elsewhere only those queries can win whose highest value at these nodes is above the lowest of
  another. Labels are decided between them, from the very scores that plain decoding makes.

Confidence needs the sum over all queries of exp(score). Its logarithm is known at the nodes and
bent between them: halfway between nodes with softmax v and w it lies below the straight line by
minus the log of their Bhattacharyya coefficient, sum of sqrt(v w). Where that is little, a
parabola accounts for it. In other patches the queries that can win or count for something are
summed pixel by pixel, and the small rest goes straight from node to node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.scores import decoding_plain
from sclip_seg_ros.segmentation.scores.decoding_rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import Axis, ScoreMap, Tile, enlargement, tile

SIDE = 8          # pixels of a patch each way
SPACING = 10.0    # pixels between nodes at most; where cells are farther apart, nodes lie between
DENSE = 4         # pixels that there must be to a node, or nothing is gained
BUSY = 0.6        # share of neighbouring cells with other winners, above which nothing is gained
MOST = 0.5        # share of patches to be decided pixel by pixel, likewise
BENT = 0.015      # of a probability: what a parabola accounts for, with an error below 0.0075
LITTLE = 0.003    # of probability: what may be part of the rest
REST = 0.2        # of probability times the share of the rest, above which there is no rest
SAMPLES = [0, 4, 7]  # pixels of a patch each way at which all queries are looked at
MARGIN = 1e-4     # of logarithms: what rounding may do to the order of queries
TINY = torch.finfo(torch.float32).tiny
LEAST = 1e-9      # of a probability or coefficient whose logarithm is taken
NONE = -1e9       # logarithm of next to nothing
CELLS = 4         # of a patch's window each way at least: torch multiplies smaller matrices in
                  # another way, which is slower and rounds otherwise
CHUNK = 400_000   # scores that are enlarged at once
TILE = 128        # pixels each way of confidence that is interpolated at once


@dataclass(frozen=True, eq=False)
class Cut:
    """One direction of a picture, cut into n patches.

    Attributes:
        cells, weights: (n, T) of the map that reach a patch, and (n, SIDE, T) by which.
        nodes: (n, M) that reach a patch.
        samples: (n, S, M), by which they reach its pixels SAMPLES.
        tiles: the same in larger pieces, and between every two nodes the parabola 4 t (1 - t).
        between: (nodes, cells) that makes nodes of cells; None where they are the same.
    """

    cells: Tensor
    weights: Tensor
    nodes: Tensor
    samples: Tensor
    tiles: tuple[Tile, ...]
    between: Tensor | None


@dataclass(frozen=True, eq=False)
class Nodes:
    """What is known at the h x w nodes of a picture.

    Attributes:
        scores: (Q, h, w), of the map or between its cells.
        winner: (h, w) float32, the query that wins; -1 where another is as good.
        probability: (h, w) of the best query that may win.
        across, down: (h, w - 1) and (h - 1, w), 1 - Bhattacharyya coefficients of neighbours.
    """

    scores: Tensor
    winner: Tensor
    probability: Tensor
    across: Tensor
    down: Tensor


def label(scores: ScoreMap, rule: DecodingRule,
          size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Label all pixels, with plain decoding's labels, and its confidence but for 2/255.

    Args:
        scores: of Q queries, on the CPU.
        rule: how a pixel's scores become its label.
        size: (H, W) of the labels.

    Returns:
        labels (H, W) uint8 and confidence (H, W) float32; None where plain decoding has to do it:
        windows that overlap, many queries that can win everywhere, scores that are not numbers.
    """
    axes = scores.rows, scores.columns
    if any(len(axis.spans) > 1 or axis.cells < 2 for axis in axes):
        return None
    down, across = (cut(axis, length) for axis, length in zip(axes, size, strict=True))
    nodes = _nodes(scores, rule, down, across, size)
    if nodes is None:
        return None
    contest = _Contest(nodes, scores, rule, down, across)
    if len(contest.y) > MOST * len(down.nodes) * len(across.nodes):
        return None
    labels, confidence = _smooth(nodes, rule, down, across)
    contest.decide(labels, confidence)
    height, width = size
    labels, confidence = (part[:height, :width].contiguous() for part in (labels, confidence))
    if rule.selective:
        labels.masked_fill_(confidence < rule.least, rule.fallback)
    return labels, confidence


def _nodes(scores: ScoreMap, rule: DecodingRule, down: Cut, across: Cut,
           size: tuple[int, int]) -> Nodes | None:
    """Return what is known at the nodes; None where it is not worth the work, or no number."""
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
    total, best, found = torch.empty(nodes), torch.ones(nodes), torch.empty(2, nodes)
    beside, below = torch.zeros(nodes), torch.zeros(nodes)
    step, above = max(1, CHUNK // (2 * queries * columns)), None
    scratch = torch.empty(2, queries * step * columns)  # what a processor's cache holds
    for start in range(0, rows, step):
        lines = values[:, start:start + step]
        part = slice(start * columns, (start + lines.shape[1]) * columns)
        powers, rivals = (each[:lines.numel()].view(queries, -1) for each in scratch)
        torch.mul(lines, rule.logit_scale, out=powers.view(lines.shape))
        powers.sub_(powers.amax(0)).exp_()
        torch.sum(powers, 0, out=total[part])
        if allowed is None:
            torch.add(powers, MARGIN, out=rivals)
        else:
            torch.mul(powers, allowed[:, None], out=rivals)
            torch.amax(rivals, 0, out=best[part])
            rivals.div_(best[part].clamp(min=TINY)).add_(MARGIN)
        torch.mm(counted, rivals.floor_(), out=found[:, part])
        roots = powers.sqrt_().numpy()
        _products(roots[:, :-1], roots[:, 1:], beside[part][:-1])
        _products(roots[:, :-columns], roots[:, columns:], below[part][:-columns])
        if above is not None:
            _products(above, roots[:, :columns], below[part.start - columns:part.start])
        above = roots[:, -columns:].copy()
    ties, winner = found
    norm = total.view(rows, columns).rsqrt()
    return Nodes(
        values, winner.masked_fill_(ties != 1, -1).view(rows, columns),
        (best / total).view(rows, columns),
        1 - beside.view(rows, columns)[:, :-1] * norm[:, :-1] * norm[:, 1:],
        1 - below.view(rows, columns)[:-1] * norm[:-1] * norm[1:])


def _busy(values: Tensor) -> bool:
    """Tell from every 16th row of cells (Q, h, w) whether winners change nearly everywhere."""
    rows = values[:, ::16]
    best = rows == rows.amax(0)
    return float((best[..., 1:] & best[..., :-1]).any(0).float().mean()) < 1 - BUSY


def _products(one: np.ndarray, other: np.ndarray, sums: Tensor) -> None:
    """Write the sums over queries of products (Q, N), in one pass over memory."""
    np.einsum("qn,qn->n", one, other, out=sums.numpy())


def _smooth(nodes: Nodes, rule: DecodingRule, down: Cut, across: Cut) -> tuple[Tensor, Tensor]:
    """Return labels and confidence as if one query won each patch, and little were bent."""
    first = nodes.winner[down.nodes[:, 0]][:, across.nodes[:, 0]].long().clamp_(min=0)
    high, wide = (length * SIDE for length in first.shape)
    labels = cv2.resize(rule.query_class.to(torch.uint8)[first].numpy(), (wide, high),
                        interpolation=cv2.INTER_NEAREST)
    rows, columns = nodes.winner.shape
    woven = torch.zeros(2 * rows - 1, 2 * columns - 1)
    woven[::2, ::2] = nodes.probability.clamp(min=LEAST).log_()
    woven[::2, 1::2] = -(1 - nodes.across).clamp_(min=LEAST).log_()
    woven[1::2, ::2] = -(1 - nodes.down).clamp_(min=LEAST).log_()
    confidence = torch.empty(high, wide)
    for tall in down.tiles:
        taller = tall.weights @ woven[tall.cells]
        for broad in across.tiles:
            torch.mm(taller[:, broad.cells], broad.weights.T,
                     out=confidence[tall.pixels, broad.pixels])
    return torch.from_numpy(labels), confidence.exp_()


class _Contest:
    """Patches that several queries can win, or whose confidence is bent too much.

    Attributes:
        y, x: (n,) rows and columns of the patches.
    """

    def __init__(self, nodes: Nodes, scores: ScoreMap, rule: DecodingRule, down: Cut,
                 across: Cut) -> None:
        """Find them."""
        self.nodes, self.rule, self.down, self.across = nodes, rule, down, across
        self.values = scores.values.transpose(0, 1).contiguous()
        rows, columns, winner = down.nodes, across.nodes, nodes.winner
        beside = nodes.across.masked_fill(_differ(winner[:, 1:], winner[:, :-1]), 2)
        below = nodes.down.masked_fill(_differ(winner[1:], winner[:-1]), 2)
        surest = _highest(nodes.probability, rows, columns)
        bend = (_highest(beside, rows, columns[:, :-1]) + _highest(below, rows[:, :-1], columns))
        hard = (bend >= 2) | (surest * bend > BENT)
        exact = torch.zeros_like(hard)
        if rule.selective:  # where the least probability decides on a label, it is to be exact
            exact = ((-_highest(-nodes.probability, rows, columns) < rule.least)
                     & (surest + 2 * BENT >= rule.least))
            hard |= exact
        self.y, self.x = hard.nonzero().unbind(1)
        self._exact, self._surest = exact[self.y, self.x], surest[self.y, self.x]

    def decide(self, labels: Tensor, confidence: Tensor) -> None:
        """Write them where they belong."""
        if not len(self.y):
            return
        table, places = self._near()
        step = max(1, CHUNK // (table.shape[1] * len(SAMPLES)**2))
        wanted, rest = (torch.cat(each) for each in zip(
            *(self._look(part, table, places[part])
              for part in torch.arange(len(self.y)).split(step)), strict=True))
        spots = [part.numpy().view(f"V{SIDE * part.element_size()}")
                 for part in (labels, confidence)]  # a row of a patch is one item
        needed = wanted.sum(1)
        order, start = needed.argsort(descending=True), 0
        while start < len(order):
            amount = int(needed[order[start]])
            part = order[start:start + max(1, CHUNK // (amount * SIDE**2))]
            start += len(part)
            place = ((self.y[part][:, None] * SIDE + torch.arange(SIDE)).numpy(),
                     self.x[part][:, None].numpy())
            here, chosen = wanted[part].topk(amount, sorted=False)
            found = self._between(part, here, chosen, rest[part])
            for spot, values in zip(spots, found, strict=True):
                spot[place] = values.contiguous().numpy().view(spot.dtype)[..., 0]

    def _near(self) -> tuple[Tensor, Tensor]:
        """Return the scaled scores (N, Q) of nodes that reach patches, and which do (n, M^2)."""
        place = (self.down.nodes[self.y][:, :, None] * self.nodes.winner.shape[1]
                 + self.across.nodes[self.x][:, None]).flatten(1)
        reached = torch.zeros(self.nodes.winner.numel(), dtype=torch.int32)
        reached[place] = 1
        columns = self.nodes.scores.flatten(1).index_select(1, reached.nonzero()[:, 0])
        table = torch.from_numpy(cv2.transpose(columns.numpy())).view(-1, len(columns))
        return table.mul_(self.rule.logit_scale), reached.cumsum(0)[place] - 1

    def _look(self, part: Tensor, table: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Look at patches at some of their pixels.

        Args:
            part: (n,) of the patches.
            table, places: see :meth:`_near`.

        Returns:
            wanted (n, Q) uint8: 1 where a query is to be summed pixel by pixel.
            rest (n, samples): logarithm of the sum of exp over the others.
        """
        y, x = self.y[part], self.x[part]
        near = table.index_select(0, places.flatten()).view(*places.shape, -1)
        low, high = near.amin(1), near.amax(1)
        allowed, reference = self.rule.allowed(), high.amax(1)[:, None]
        if allowed is not None:
            low[:, ~allowed] = -torch.inf
        wanted = high >= low.amax(1, keepdim=True) - MARGIN
        weights = (self.down.samples[y][:, :, None, :, None]
                   * self.across.samples[x][:, None, :, None, :]).flatten(3).flatten(1, 2)
        powers = (weights @ near).sub_(reference[..., None]).exp_()
        total = powers.sum(2)
        powers *= (1 / total)[..., None]
        wanted |= powers.amax(1) >= LITTLE
        rest = (powers @ (~wanted)[..., None].float())[..., 0]
        crowded = self._exact[part] | ~(self._surest[part] * rest.amax(1) <= REST)
        rest = rest.clamp_(min=TINY).log_() + total.log_() + reference
        wanted[crowded], rest[crowded] = True, NONE
        return wanted.to(torch.uint8), rest

    def _between(self, part: Tensor, wanted: Tensor, chosen: Tensor,
                 rest: Tensor) -> tuple[Tensor, Tensor]:
        """Decide patches between chosen queries (n, K), 0 where they are not wanted.

        Returns:
            labels and confidence (n, SIDE, SIDE).
        """
        scores = self._enlarged(part, chosen)
        absent = torch.where(wanted > 0, 0, -torch.inf)[..., None, None]
        torch.add(absent, scores, alpha=self.rule.logit_scale, out=scores)
        highest = best = scores.amax(1)
        allowed, rivals = self.rule.allowed(), scores.sub_(highest[:, None])
        if allowed is not None:
            rivals = scores.masked_fill(~allowed[chosen][..., None, None], -torch.inf)
            best = highest + rivals.amax(1)
            rivals -= rivals.amax(1, keepdim=True)
        classes = self.rule.query_class.float()[chosen][..., None, None]
        labels = torch.add(classes, rivals, alpha=-decoding_plain.STEEP).amin(1)
        total = scores.exp_().sum(1)
        total += (rest @ _among_samples()).view_as(total).sub_(highest).exp_()
        return labels.to(torch.uint8), (best - highest).exp_().div_(total)

    def _enlarged(self, part: Tensor, chosen: Tensor) -> Tensor:
        """Return the scores (n, K, SIDE, SIDE) of chosen queries (n, K), as plain decoding does."""
        y, x, (number, amount) = self.y[part], self.x[part], chosen.shape
        _, height, width = self.values.shape
        rows = (chosen[:, None] * height + self.down.cells[y][:, :, None])[..., None] * width
        index = rows + self.across.cells[x][:, None, None]
        cells = self.values.view(-1).index_select(0, index.flatten()).view(*index.shape[:2], -1)
        taller = (self.down.weights[y] @ cells).view(number, SIDE, amount, -1).transpose(1, 2)
        larger = taller.reshape(number, amount * SIDE, -1) @ self.across.weights[x].transpose(1, 2)
        return larger.view(number, amount, SIDE, SIDE)


@lru_cache(maxsize=1)
def _among_samples() -> Tensor:
    """Return the matrix (samples, pixels) that interpolates linearly between a patch's samples."""
    places = np.interp(np.arange(SIDE), SAMPLES, np.arange(len(SAMPLES)))
    matrix = _linear(torch.from_numpy(places).float(), len(SAMPLES)).T
    return torch.kron(matrix, matrix)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Tell where two maps of winners are not one and the same winner."""
    return (one != other) | (one < 0)


def _highest(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the highest value (h, w) in every patch's window, (n, m)."""
    return values[rows].amax(1)[:, columns].amax(2)


@device_cache(maxsize=64)
def cut(axis: Axis, target: int) -> Cut:
    """Cut one direction of a picture of ``target`` pixels into patches, cached."""
    cpu = torch.device("cpu")
    pixels = torch.arange(-(-target // SIDE) * SIDE).clamp(max=target - 1)  # the last one repeated
    matrix = enlargement(axis, target, cpu)
    parts = -(-target // int(axis.cells * SPACING))
    between, reach = None, matrix
    if parts > 1:
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
    nodes, weights = _windows(reach, 2)
    return Cut(*_windows(matrix[pixels], CELLS), nodes, weights[:, SAMPLES].contiguous(),
               tuple(tile(woven, start, min(start + TILE, len(pixels)), cpu)
                     for start in range(0, len(pixels), TILE)), between)


def _windows(matrix: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Return the columns (n, T) that reach each patch of rows, in order, and their weights."""
    patches = matrix.unflatten(0, (-1, SIDE))
    reached = patches.ne(0).any(1).int()
    first = reached.argmax(1)
    last = reached.shape[1] - 1 - reached.flip(1).argmax(1)
    count = min(max(least, int((last - first).max()) + 1), matrix.shape[1])
    columns = first.clamp(max=matrix.shape[1] - count)[:, None] + torch.arange(count)
    return columns, patches.gather(2, columns[:, None].expand(-1, SIDE, -1)).contiguous()


def _linear(places: Tensor, count: int) -> Tensor:
    """Return the matrix (places, count) that interpolates linearly between nodes 0 to count - 1."""
    first = places.floor().clamp(max=count - 2).long()[:, None]
    share = places[:, None] - first
    matrix = torch.zeros(len(places), count)
    return matrix.scatter_(1, first, 1 - share).scatter_(1, first + 1, share)
