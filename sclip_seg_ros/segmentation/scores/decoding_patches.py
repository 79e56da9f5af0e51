"""Labels of a picture in which few queries can win at any place: a fraction of the work.

Enlarged scores lie between those of the nodes around a pixel (decoding_nodes.py). The picture is
cut into patches of a few pixels.

* Where one query wins at all nodes that reach a patch, it wins in the whole patch.
* Elsewhere only those queries can win whose highest value at these nodes is above the lowest of
  another. Labels are decided between them, pixel by pixel.

Confidence needs the sum over all queries of exp(score). Its logarithm is known at the nodes and
bent between them: halfway between nodes with softmax v and w it lies below the straight line by
minus the log of their Bhattacharyya coefficient, sum of sqrt(v w). Where that is little, a
parabola accounts for it. In other patches the queries that can win or count for something are
summed pixel by pixel; the small rest is one query more, whose logarithm goes straight from node to
node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores import decoding_nodes
from sclip_seg_ros.segmentation.scores.decoding_nodes import (
    CHUNK,
    LEAST,
    SIDE,
    TINY,
    Cut,
    Nodes,
    cut,
    exp_in_place,
)
from sclip_seg_ros.segmentation.scores.decoding_rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED

MOST = 0.5        # share of patches to be decided pixel by pixel, above which nothing is gained
BENT = 0.015      # of a probability: what a parabola accounts for, with an error below 0.0075
LITTLE = 0.005    # of probability: what may be part of the rest
REST = 0.1        # of probability times the share of the rest, above which there is no rest
STEPS = 6         # of a logarithm, by which queries are told apart that may be part of the rest
EQUAL = 1e-5      # of logarithms: what rounding may make of equal scores
NOTHING = 3e-5    # what rounding may leave where there is no rest
NONE = -1e4       # logarithm of nothing
HUGE = 20.0       # logarithm of a rest that is far too large


def label(scores: ScoreMap, rule: DecodingRule,
          size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Label all pixels, with plain decoding's labels, and its confidence but for 2/255.

    Where two queries differ by rounding alone, either may win.

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
    nodes = decoding_nodes.look(scores, rule, down, across, size)
    if nodes is None:
        return None
    contest = _Contest(nodes, rule, down, across)
    if len(contest.y) > MOST * len(down.nodes) * len(across.nodes):
        return None
    labels, confidence = _smooth(nodes, rule, down, across)
    contest.decide(labels, confidence)
    height, width = size
    labels, confidence = (part[:height, :width].contiguous() for part in (labels, confidence))
    if rule.selective:
        labels.masked_fill_(confidence < rule.least, rule.fallback)
    return labels, confidence


def _smooth(nodes: Nodes, rule: DecodingRule, down: Cut, across: Cut) -> tuple[Tensor, Tensor]:
    """Return labels and confidence as if one query won each patch, and little were bent."""
    first = nodes.winner[down.nodes[:, 0]][:, across.nodes[:, 0]].long().clamp_(min=0)
    high, wide = (length * SIDE for length in first.shape)
    labels = cv2.resize(rule.query_class.to(torch.uint8)[first].numpy(), (wide, high),
                        interpolation=cv2.INTER_NEAREST)
    rows, columns = nodes.winner.shape
    woven = torch.zeros(2 * rows - 1, 2 * columns - 1)
    woven[::2, ::2] = nodes.probability.clamp(min=LEAST).log_()
    woven[::2, 1::2] = nodes.across
    woven[1::2, ::2] = nodes.down
    taller, confidence = torch.empty(high, woven.shape[1]), torch.empty(high, wide)
    for tall in down.tiles:
        torch.mm(tall.weights, woven[tall.cells], out=taller[tall.pixels])
    for broad in across.tiles:
        torch.mm(taller[:, broad.cells], broad.weights.T, out=confidence[:, broad.pixels])
    exp_in_place(confidence)
    return torch.from_numpy(labels), confidence


class _Contest:
    """Patches that several queries can win, or whose confidence is bent too much.

    Attributes:
        y, x: (n,) rows and columns of the patches.
    """

    def __init__(self, nodes: Nodes, rule: DecodingRule, down: Cut, across: Cut) -> None:
        """Find them."""
        self.nodes, self.rule, self.down, self.across = nodes, rule, down, across
        self._weights = (np.repeat(down.weights.numpy(), SIDE, 2),
                         np.tile(across.weights.numpy(), SIDE))
        allowed = rule.allowed()
        self._allowed = None if allowed is None else np.append(allowed.numpy(), False)
        # The lowest of equal classes wins, so ids count downwards; what is no query never does.
        self._rank = np.append(UNLABELLED - rule.query_class.numpy(), 0).astype(np.uint8)
        rows, columns, winner = down.nodes, across.nodes, nodes.winner
        bend = (_highest(nodes.across, rows, columns[:, :-1])
                + _highest(nodes.down, rows[:, :-1], columns))
        beside, below = (_differ(*pair).float() for pair in (
            (winner[:, 1:], winner[:, :-1]), (winner[1:], winner[:-1])))
        surest = _highest(nodes.probability, rows, columns)
        hard = ((_highest(beside, rows, columns[:, :-1])
                 + _highest(below, rows[:, :-1], columns) > 0) | (surest * bend > BENT))
        exact = torch.zeros_like(hard)
        if rule.selective:  # where the least probability decides on a label, it is to be exact
            exact = ((-_highest(-nodes.probability, rows, columns) < rule.least)
                     & (surest + 2 * BENT >= rule.least))
            hard |= exact
        self.y, self.x = np.nonzero(hard.numpy())
        self._exact, self._bend = exact.numpy()[self.y, self.x], bend.numpy()[self.y, self.x]

    def decide(self, labels: Tensor, confidence: Tensor) -> None:
        """Write them where they belong."""
        number = len(self.y)
        if not number:
            return
        table, places = self._near()
        wanted = self._wanted(table, places)
        found = np.empty((number, SIDE**2), np.uint8), np.empty((number, SIDE**2), np.float32)
        left = np.arange(number)
        for rest in True, False:
            crowded = []
            for some, chosen in _alike(wanted):
                part = left[some]
                found[0][part], found[1][part], much = self._between(
                    part, table, places[part], chosen, rest)
                crowded.append(part[much])
            left = np.concatenate(crowded)
            if not len(left):
                break
            wanted = np.ones((len(left), wanted.shape[1]), bool)
        place = self.y[:, None] * SIDE + np.arange(SIDE), self.x[:, None]
        for part, values in zip((labels, confidence), found, strict=True):
            row = f"V{SIDE * values.itemsize}"  # of a patch, as one item
            part.numpy().view(row)[place] = values.view(row)

    def _near(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log probabilities (N, Q + 1) of nodes that reach patches, and which do (n, M^2).

        A query after the last one is never probable.
        """
        place = (self.down.nodes.numpy()[self.y][:, :, None] * self.nodes.winner.shape[1]
                 + self.across.nodes.numpy()[self.x][:, None]).reshape(len(self.y), -1)
        reached = np.zeros(self.nodes.winner.numel(), bool)
        reached[place] = True
        here = torch.from_numpy(np.flatnonzero(reached))
        columns = self.nodes.scores.flatten(1).index_select(1, here)
        table = torch.full((len(here), len(columns) + 1), NONE)
        torch.add(-self.nodes.total.view(-1)[here][:, None],
                  torch.from_numpy(cv2.transpose(columns.numpy())).view(-1, len(columns)),
                  alpha=self.rule.logit_scale, out=table[:, :-1])
        return table.numpy(), (reached.cumsum() - 1)[place]

    def _wanted(self, table: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return which queries are to be summed pixel by pixel in each patch, (n, Q) bool.

        Args:
            table, places: see :meth:`_near`.
        """
        codes = np.clip(255 + STEPS * table[:, :-1], 0, 255).astype(np.uint8)
        low, high = codes[places[:, 0]], codes[places[:, 0]]
        for place in places.T[1:]:
            here = codes[place]
            np.minimum(low, here, out=low)
            np.maximum(high, here, out=high)
        if self._allowed is not None:
            low *= self._allowed[:-1]
        # Of two queries in one step either may win; where the total is bent all count for more.
        least = np.minimum(low.max(1) - 1.0, 255 + STEPS * (math.log(LITTLE) - self._bend))
        return (high >= np.clip(least, 0, 255).astype(np.uint8)[:, None]) | self._exact[:, None]

    def _between(self, part: np.ndarray, table: np.ndarray, places: np.ndarray,
                 chosen: np.ndarray, rest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decide patches between some queries.

        Args:
            part: (n,) of the patches.
            table: see :meth:`_near`.
            places: (n, M^2) of these patches.
            chosen: (K, n) queries; Q stands for none.
            rest: whether there are others.

        Returns:
            labels uint8 and confidence (n, SIDE^2), and (n,) whether others count for too much.
        """
        amount, number = chosen.shape
        near = np.empty((amount + rest, *places.shape), np.float32)
        np.take(table.reshape(-1), places * table.shape[1] + chosen[..., None], out=near[:amount],
                mode="clip")  # unchecked: in two thirds of the time
        if rest:
            powers = cv2.exp(near[:amount].reshape(amount, -1))
            others = 1 - powers.sum(0)
            others[others < NOTHING] = TINY
            near[amount] = cv2.log(others[None]).reshape(places.shape)
        down, across = self._weights[0][self.y[part]], self._weights[1][self.x[part]]
        weights = (down[:, :, None] * across[:, None]).reshape(number, -1, SIDE**2)
        scores = np.empty((len(near), number, SIDE**2), np.float32)
        np.matmul(near.transpose(1, 0, 2), weights, out=scores.transpose(1, 0, 2))
        rivals = scores[:amount]
        scores -= rivals.max(0)
        best = 1.0
        if self._allowed is not None:
            rivals = np.where(self._allowed[chosen][..., None], rivals, np.float32(-np.inf))
            highest = rivals.max(0)
            rivals, best = rivals - highest, np.exp(highest)
        first = np.multiply(rivals >= -EQUAL, self._rank[chosen][..., None], dtype=np.uint8)
        labels = UNLABELLED - first.max(0)
        if rest:
            np.minimum(scores[amount], HUGE, out=scores[amount])
        powers = scores.reshape(len(near), -1)
        cv2.exp(powers, powers)
        total = powers[:amount].sum(0).reshape(labels.shape)
        if not rest:
            return labels, best / total, np.zeros(number, bool)
        others = scores[amount]
        confidence = best / (total + others)
        return labels, confidence, (confidence * others > REST * total).any(1)


def _alike(wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Put patches together that want about as many queries.

    Args:
        wanted: (n, Q) bool.

    Yields:
        which patches (m,), and the queries (K, m) they want, filled up with Q.
    """
    needed = np.count_nonzero(wanted, axis=1)
    order = np.argsort(-needed)
    queries = np.flatnonzero(wanted[order]) % wanted.shape[1]
    needed = needed[order]
    ends, start = needed.cumsum(), 0
    while start < len(order):
        amount = needed[start]
        end = min(start + max(1, CHUNK // (amount * SIDE**2)), len(order))
        chosen = np.full((end - start, amount), wanted.shape[1])
        chosen[np.arange(amount) < needed[start:end, None]] = queries[
            ends[start] - amount:ends[end - 1]]
        yield order[start:end], np.ascontiguousarray(chosen.T)
        start = end


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Tell where two maps of winners are not one and the same winner."""
    return (one != other) | (one < 0)


def _highest(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the highest value (h, w) in every patch's window, (n, m)."""
    taller = values.index_select(0, rows.flatten()).view(*rows.shape, -1).amax(1)
    return taller.index_select(1, columns.flatten()).view(-1, *columns.shape).amax(2)
