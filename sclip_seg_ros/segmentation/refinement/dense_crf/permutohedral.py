"""High-dimensional Gaussian filtering on the permutohedral lattice, in plain torch operations.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010. Constants, the order of the axes and the breaking of ties are those of
Kraehenbuehl and Koltun's filter ("Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011), so that float32 results agree with theirs to rounding. Where they hash
lattice points, this sorts them: one sort numbers the vertices and lists each vertex' points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

CELL_LIMIT = 2.0**14    # up to here, float32 tells a point's place in its cell to a percent
KEY_LIMIT = 2.0**62     # packed vertex coordinates are signed 64-bit integers
RUN = 128               # members that a GPU's thread adds up; a flat wall's vertex has thousands
TINY = 1e-20            # keeps the normalisation finite where no weight arrives


@dataclass(frozen=True, eq=False)
class Lattice:
    """The simplices that N points of d dimensions lie in, ready to filter values at the points.

    All index tensors are int32. Row M of the vertices' values is always zero; it stands for every
    neighbour that the lattice lacks.

    Attributes:
        corners: (N, d+1) the vertices of each point's simplex.
        weights: (N, d+1) float32, each point's share in these vertices.
        members: ((d+1) N,) points, listed vertex by vertex.
        member_weights: ((d+1) N,) float32, the members' shares.
        runs: (R+1,) where each run of members starts: one vertex' and at most ``RUN``.
        starts: (M+2,) where each vertex' runs start; row M has none.
        lines: (d+1, M+1, 3) each vertex and its two neighbours, along each axis.
        line_weights: (M+1, 3) float32, the blur's shares: 1, 1/2, 1/2.
    """

    corners: Tensor
    weights: Tensor
    members: Tensor
    member_weights: Tensor
    runs: Tensor
    starts: Tensor
    lines: Tensor
    line_weights: Tensor

    @property
    def vertices(self) -> int:
        """Return M, how many lattice points the simplices touch."""
        return self.lines.shape[1] - 1

    def splat(self, values: Tensor) -> Tensor:
        """Gather values (N, C) at the vertices (M+1, C), weighted."""
        sums = embedding_bag(self.members, values, self.runs, mode="sum",
                             per_sample_weights=self.member_weights, include_last_offset=True)
        every = torch.arange(len(sums), dtype=torch.int32, device=sums.device)
        return embedding_bag(every, sums, self.starts, mode="sum", include_last_offset=True)

    def blur(self, values: Tensor) -> Tensor:
        """Convolve vertex values (M+1, C) with (1, 2, 1) / 2 along each of the d+1 axes."""
        for line in self.lines:
            values = interpolate(line, self.line_weights, values)
        return values

    def slice(self, values: Tensor) -> Tensor:
        """Interpolate vertex values (M+1, C) at the points (N, C); the transpose of the splat."""
        return interpolate(self.corners, self.weights, values)

    def blurred_splat(self, values: Tensor, gain: float = 1.0) -> Tensor:
        """Take values (N, C) to the vertices and blur them there, times a gain; slice the result.

        The factor 1 / (1 + 2^-d) undoes what splatting, blurring and slicing add to the kernel's
        height; Kraehenbuehl and Koltun apply it in the slice.
        """
        dimensions = self.corners.shape[1] - 1
        return self.blur(self.splat(values)).mul_(gain / (1.0 + 2.0**-dimensions))

    def filter(self, values: Tensor) -> Tensor:
        """Return sum_j k(i, j) values_j for all points i, the point itself included.

        Args:
            values: (N, C) float32, contiguous.
        """
        return self.slice(self.blurred_splat(values))

    def normalised(self) -> Lattice:
        """Return the lattice that filters with D^-1/2 K D^-1/2, D = diag(K 1)."""
        ones = torch.ones(len(self.corners), 1, device=self.weights.device)
        root = self.filter(ones).add_(TINY).rsqrt_()
        return replace(self, weights=self.weights * root,
                       member_weights=self.member_weights * root[:, 0][self.members])


def interpolate(corners: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Return (N, C) weighted sums of K rows each.

    Args:
        corners: (N, K) int32 rows.
        weights: (N, K) float32.
        values: (M, C) float32.
    """
    return embedding_bag(corners, values, mode="sum", per_sample_weights=weights)


def build_lattice(features: Tensor) -> Lattice:
    """Find the vertices around each point and link them.

    Args:
        features: (d, N) float32, in standard deviations of the Gaussian.

    Raises:
        ValueError: the features spread over more lattice cells than float32 can tell apart or
            64-bit keys can number.
    """
    rounded, rank, inside = _enclosing_simplices(features)
    keys, strides, layer = _vertex_keys(rounded, rank)
    weights = _barycentric(rank, inside)
    # Keys of one remainder all precede those of the next: each has its own, smaller sort. Stable,
    # so that sums over a vertex' members have one order on every run.
    ordered, members = map(torch.stack, zip(*(key.sort(stable=True) for key in keys), strict=True))
    unique, vertex, counts = torch.unique_consecutive(ordered, return_inverse=True,
                                                      return_counts=True)
    corners = torch.empty_like(vertex, dtype=torch.int32).scatter_(1, members, vertex.int())
    lines = _lines(unique, strides, layer)
    starts = pad(counts.cumsum(0), (1, 0))
    # Cut where a vertex starts and at every multiple of RUN; where both fall together, the run
    # between them is empty.
    regular = torch.arange(0, members.numel(), RUN, device=starts.device)
    runs = torch.cat([starts, regular]).sort().values
    return Lattice(
        corners=corners.T.contiguous(),
        weights=weights.T.contiguous(),
        members=members.reshape(-1).int(),
        member_weights=weights.gather(1, members).reshape(-1),
        runs=runs.int(),
        starts=torch.searchsorted(runs, torch.cat([starts, starts[-1:]])).int(),
        lines=lines,
        line_weights=weights.new_tensor([1.0, 0.5, 0.5]).expand(lines.shape[1:]).contiguous(),
    )


def _enclosing_simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Embed points in the hyperplane of coordinate sum 0 and find their simplices there.

    Section 3 of Adams et al.: a simplex is named by its vertex of remainder 0 and by the order of
    the differences to it. Ties of the order go to the earlier coordinate.

    Returns:
        For each of d+1 coordinates and N points: the vertex of remainder 0 in units of d+1 (int64),
        the rank of the difference to it, 0 for the largest (int64), and the difference in the same
        units (float32).
    """
    elevated = _elevate(features)
    size = len(elevated)
    rounded = (elevated * (1.0 / size)).round_()
    difference = elevated - rounded * size
    # Rounding can leave the hyperplane by a few whole steps; as many of the coordinates that were
    # moved farthest go back, which turns the ranks by as many places.
    turned = rounded.sum(0).to(torch.int8)
    rank = torch.stack([turned + place for place in range(size)])
    for first in range(size):
        for second in range(first + 1, size):
            behind = (difference[first] < difference[second]).view(torch.int8)
            rank[first] += behind
            rank[second] -= behind
    turn = (rank < 0).to(torch.int8) - (rank >= size).to(torch.int8)
    rank += turn * size
    rounded += turn
    difference = elevated.sub_(rounded * size)
    return rounded.long(), rank.long(), difference.mul_(1.0 / size)


def _elevate(features: Tensor) -> Tensor:
    """Return the (d+1, N) lattice coordinates of (d, N) features.

    The blur's standard deviation on the lattice is (d+1) sqrt(2/3); the features are scaled up to
    it (page 6 of Adams et al.).
    """
    dimensions = len(features)
    deviation = torch.tensor(math.sqrt(2.0 / 3.0) * (dimensions + 1)).item()    # as float32
    elevated = features.new_empty(dimensions + 1, features.shape[1])
    above = torch.zeros_like(features[0])
    for index in range(dimensions, 0, -1):
        scaled = features[index - 1] * (deviation / math.sqrt(index * (index + 1)))
        elevated[index] = above - scaled * index
        above += scaled
    elevated[0] = above
    return elevated


def _barycentric(rank: Tensor, difference: Tensor) -> Tensor:
    """Return the (d+1, N) weights of the simplices' vertices, by remainder.

    Proposition 4.2 of Adams et al.: the gaps between differences in ascending order.
    """
    ascending = torch.empty_like(difference).scatter_(0, len(rank) - 1 - rank, difference)
    weights = torch.empty_like(ascending)
    torch.sub(ascending[1:], ascending[:-1], out=weights[1:])
    weights[0] = ascending[0] + (1.0 - ascending[-1])
    return weights


def _vertex_keys(rounded: Tensor, rank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pack the coordinates of every simplex' vertices into 64-bit integers.

    A vertex of remainder r has coordinates (d+1) q_i + r. The key's digits are r, q_1, ..., q_d in
    mixed radix, where each q has values to spare at both ends, for neighbours that do not exist.

    Returns:
        (d+1, N) keys by remainder; the (d+1,) place values of the q, 0 for the last coordinate,
        which follows from the others; and the place value of r.
    """
    size = len(rounded)
    lowest = rounded[:-1].amin(1) - 2
    extents = rounded[:-1].amax(1) - lowest + 2
    if rounded.abs().amax() > CELL_LIMIT or extents.double().prod() * size >= KEY_LIMIT:
        raise ValueError(f"features spread over {' x '.join(map(str, extents.tolist()))} lattice "
                         "cells, too many to number; give larger kernel widths")
    products = extents.flip(0).cumprod(0).flip(0)
    layer = products[0]
    strides = torch.cat([products[1:], products.new_tensor([1, 0])])
    keys = torch.empty_like(rank)
    keys[0] = -(lowest * strides[:-1]).sum()
    for quotient, stride in zip(rounded[:-1], strides, strict=False):
        keys[0] += quotient * stride
    # From each vertex to the next all coordinates gain 1, but one loses d, so that its quotient
    # falls by 1: that of the last rank first.
    falling = torch.empty_like(rank).scatter_(0, size - 1 - rank,
                                              strides[:, None].expand_as(rank))
    for remainder in range(1, size):
        torch.sub(keys[remainder - 1], falling[remainder - 1] - layer, out=keys[remainder])
    return keys, strides, layer


def _lines(keys: Tensor, strides: Tensor, layer: Tensor) -> Tensor:
    """Find both neighbours of each vertex along each axis.

    One neighbour has d more in that coordinate and 1 less in all others: remainder r-1 and a
    quotient raised by 1; from remainder 0 it is d, and all quotients fall by 1 as well. Of the
    other neighbour, the vertex itself is this one.

    Args:
        keys: (M,) ascending.
        strides: place values of the quotients.
        layer: place value of the remainder.

    Returns:
        (d+1, M+1, 3) int32: the vertex, the one neighbour and the other; M where there is none.
    """
    missing = len(keys)
    step = torch.where(keys < layer, layer * (len(strides) - 1) - strides.sum(), -layer)
    own = torch.arange(missing, device=keys.device, dtype=torch.int32)
    lines = torch.full((len(strides), missing + 1, 3), missing, dtype=torch.int32,
                       device=keys.device)
    lines[:, :-1, 0] = own
    for line, stride in zip(lines, strides, strict=True):
        wanted = keys + step + stride
        found = torch.searchsorted(keys, wanted).clamp_max_(missing - 1)
        found = torch.where(keys[found] == wanted, found, missing)
        line[:-1, 1] = found
        line[found, 2] = own
        line[-1, 2] = missing
    return lines
