"""Class scores on a small grid, and the matrices that enlarge them to any size.

Enlarging each window's scores, averaging overlapping windows and enlarging the average to the
camera's size are all linear, and treat rows and columns apart. So they are one product,

    score[q, y, x] = sum over a, b of rows[y, a] values[a, q, b] columns[x, b],

whose matrices depend on sizes alone. A piece of the result is made where it is needed, of any size,
from the few cells that reach it; the whole need never exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.common.device_cache import device_cache

TILE_COLUMNS = (32, 256)  # of a block: fewer cost calls, more reach cells that weigh nothing


@dataclass(frozen=True)
class Axis:
    """How the cells of one direction lie on the pixels of an image.

    Attributes:
        length: pixels of the image.
        spans: (first, end) pixels of each window, end excluded; together they cover the image.
        cells: number of cells in each window.
        taper: where windows overlap, the weight of each falls linearly from its middle to its rims,
            where it knows least of what surrounds a pixel; else all count alike.
    """

    length: int
    spans: tuple[tuple[int, int], ...]
    cells: int
    taper: bool = False


@dataclass(frozen=True)
class Tile:
    """A run of target pixels, and the cells that reach them.

    Attributes:
        pixels: the run.
        cells: (K,) indices of the cells, or their slice.
        weights: (pixels, K) float32.
    """

    pixels: slice
    cells: Tensor | slice
    weights: Tensor


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """Scores (Q, H, W) of an image, factored.

    Attributes:
        values: (a, Q, b) float32, scores of the cells.
        rows, columns: where the cells lie.
    """

    values: Tensor
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, scores: Tensor) -> ScoreMap:
        """Hold scores (Q, H, W) that have a cell for each pixel."""
        return cls.of_cells(scores, (scores.shape[1], scores.shape[2]))

    @classmethod
    def of_cells(cls, scores: Tensor, size: tuple[int, int]) -> ScoreMap:
        """Hold scores (Q, h, w) whose cells share an image of a size (H, W) evenly."""
        rows, columns = (Axis(length, ((0, length),), cells)
                         for length, cells in zip(size, scores.shape[1:], strict=True))
        return cls(scores.float().transpose(0, 1), rows, columns)

    @property
    def queries(self) -> int:
        """Number of queries Q."""
        return self.values.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image the cells lie on."""
        return self.rows.length, self.columns.length

    def dense(self, size: tuple[int, int] | None = None, antialias: bool = False) -> Tensor:
        """Return all scores (Q, H, W) at a size, by default the image's own.

        Args:
            size: (H, W); another size than the image's is reached by a bilinear resize. Cells of
                one window that are as many are returned as they are.
            antialias: of that resize, for a smaller one.
        """
        height, width = size or self.size
        if (height, width) == (self.values.shape[0], self.values.shape[2]) \
                and len(self.rows.spans) == len(self.columns.spans) == 1:
            return self.values.transpose(0, 1)  # they lie so already
        device = self.values.device
        rows = enlargement(self.rows, height, device, antialias)
        columns = enlargement(self.columns, width, device, antialias)
        return torch.matmul(rows, self.values.transpose(0, 1)) @ columns.T

    def blocks(self, size: tuple[int, int], budget: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the scores at a size piece by piece, bilinearly enlarged (align_corners=False).

        Args:
            size: (H, W).
            budget: scores in a piece at most, as far as one pixel of every query allows.

        Yields:
            rows and columns of the piece, and its scores (rows, Q, columns), free to be changed.
        """
        device = self.values.device
        pixels = max(1, budget // self.queries)
        wide = _tile_columns(pixels, size[1])
        for across in tiles(self.columns, size[1], wide, device):
            reached = self.values[:, :, across.cells]
            for down in tiles(self.rows, size[0], max(1, pixels // wide), device):
                taller = down.weights @ reached[down.cells].flatten(1)
                piece = taller.view(-1, across.weights.shape[1]) @ across.weights.T
                yield (down.pixels, across.pixels,
                       piece.view(taller.shape[0], self.queries, piece.shape[1]))


def _tile_columns(pixels: int, width: int) -> int:
    """Return how wide a block of so many pixels is: about as wide as high."""
    low, high = TILE_COLUMNS
    wide = low
    while wide < high and wide * wide < pixels:
        wide *= 2
    return max(1, min(wide, width, pixels))


@device_cache(maxsize=64)
def enlargement(axis: Axis, target: int, device: torch.device, antialias: bool = False) -> Tensor:
    """Return the matrix (target, cells of all windows) that enlarges one direction, cached.

    It enlarges each window bilinearly, averages where windows overlap, and resizes the whole to
    ``target`` pixels. Do not write into it.
    """
    whole = torch.zeros(axis.length, len(axis.spans) * axis.cells)
    count = torch.zeros(axis.length, 1)
    for index, (first, end) in enumerate(axis.spans):
        own = slice(index * axis.cells, (index + 1) * axis.cells)
        weight = _triangle(end - first) if axis.taper else torch.ones(end - first, 1)
        whole[first:end, own] = weight * _bilinear(torch.eye(axis.cells), end - first)
        count[first:end] += weight
    return _bilinear(whole.div_(count), target, antialias).to(device)


def _triangle(length: int) -> Tensor:
    """Return weights (length, 1) that fall linearly from the middle to the rims, 1 at the least."""
    return torch.arange(1.0, length + 1).minimum(torch.arange(float(length), 0.0, -1.0))[:, None]


def _bilinear(columns: Tensor, target: int, antialias: bool = False) -> Tensor:
    """Resize every column of a matrix as torch resizes an image's."""
    if len(columns) == target:
        return columns
    return interpolate(columns[None, None], size=(target, columns.shape[1]), mode="bilinear",
                       align_corners=False, antialias=antialias)[0, 0]


@device_cache(maxsize=64)
def tiles(axis: Axis, target: int, step: int, device: torch.device) -> tuple[Tile, ...]:
    """Cut the matrix of one direction into runs of ``step`` pixels with their own cells, cached."""
    matrix = enlargement(axis, target, torch.device("cpu"))
    return tuple(tile(matrix, start, min(start + step, target), device)
                 for start in range(0, target, step))


def tile(matrix: Tensor, start: int, end: int, device: torch.device) -> Tile:
    """Cut rows ``start`` to ``end`` out of a matrix, with the columns that reach them."""
    cells = matrix[start:end].any(0).nonzero()[:, 0]
    weights = matrix[start:end, cells].contiguous().to(device)
    if int(cells[-1] - cells[0]) + 1 == len(cells):
        return Tile(slice(start, end), slice(int(cells[0]), int(cells[-1]) + 1), weights)
    return Tile(slice(start, end), cells.to(device), weights)


@device_cache(maxsize=64)
def taps(axis: Axis, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return each target pixel's cells and their weights, padded with weight zero, cached.

    Returns:
        cells (target, J) int32 and weights (target, J) float32, J a power of two.
    """
    matrix = enlargement(axis, target, torch.device("cpu"))
    most = int((matrix != 0).sum(1).max())
    count = min(1 << (most - 1).bit_length(), matrix.shape[1]) if most > 1 else 1
    weights, cells = matrix.abs().topk(count, dim=1)
    weights = matrix.gather(1, cells)
    spare = (1 << (count - 1).bit_length()) - count
    pad = torch.nn.functional.pad
    return (pad(cells, (0, spare)).int().contiguous().to(device),
            pad(weights, (0, spare)).contiguous().to(device))
