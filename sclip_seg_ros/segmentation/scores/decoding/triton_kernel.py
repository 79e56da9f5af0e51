"""Enlargement, softmax and choice of the class in one CUDA kernel, written in Triton.

Each program labels a run of pixels of one row. It walks over the queries once, enlarging each one's
score from the few cells that reach the pixel, and keeps the highest score, the sum of exponentials
relative to it, and the best query so far (online softmax, Milakov and Gimelshein, 2018). Scores of
the camera's size are never stored.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap, enlargement, taps

try:
    import triton
    import triton.language as tl
except ImportError:  # an optional package: torch's builds for the CPU come without it
    triton = None

PIXELS = 128               # of a program
ENLARGED_ROWS = 8_000_000  # scores of one piece of rows, enlarged downwards only: 32 MB
ALIGNMENT = 16             # rows; a piece that begins between such bytes needs its own program

_log = logging.getLogger(__name__)
_failure: str | None = None


def usable(device: torch.device) -> bool:
    """Tell whether the kernel runs on a device; tried once, and a failure is logged once.

    Raises:
        torch.cuda.OutOfMemoryError: which says nothing about the kernel.
    """
    global _failure
    if _failure is None:
        try:
            if triton is None:
                raise ImportError("triton is not installed")
            _try_out(device)
            _failure = ""
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, an old driver: as many kinds as there are causes
            _failure = first_line(error)
            _log.warning("the decoding kernel cannot run (%s); torch decodes block by block, "
                         "which is slower", _failure)
    return not _failure


def fallback() -> str | None:
    """Return why torch decodes in the kernel's place; None while nothing has failed."""
    return _failure or None


def label(scores: ScoreMap, rule: DecodingRule, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Label all pixels.

    Args:
        scores: of Q queries.
        rule: how a pixel's scores become its label.
        size: (H, W) of the labels.

    Returns:
        labels (H, W) uint8 and confidence (H, W) float32.
    """
    device = scores.values.device
    height, width = size
    labels = torch.empty(size, dtype=torch.uint8, device=device)
    confidence = torch.empty(size, device=device)
    cells, weights = taps(scores.columns, width, device)
    matrix = enlargement(scores.rows, height, device)
    flat = scores.values.flatten(1)
    classes = rule.query_class.to(torch.int32)
    allowed = rule.allowed()
    allowed = torch.ones_like(classes) if allowed is None else allowed.to(torch.int32)
    step = max(ALIGNMENT, ENLARGED_ROWS // flat.shape[1] // ALIGNMENT * ALIGNMENT)
    for start in range(0, height, step):
        taller = matrix[start:start + step] @ flat
        with torch.cuda.device_of(taller):  # Triton launches on the current device
            _label_rows[(len(taller), triton.cdiv(width, PIXELS))](
                taller, cells, weights, classes, allowed, labels[start:], confidence[start:],
                width, scores.queries, scores.values.shape[2], rule.logit_scale, rule.least,
                rule.fallback, TAPS=cells.shape[1], PIXELS=PIXELS)
    return labels, confidence


def _try_out(device: torch.device) -> None:
    """Label a tiny image with the kernel, and check what comes out.

    Raises:
        RuntimeError: a wrong label or confidence.
        Exception: whatever keeps the kernel from being compiled or run.
    """
    scores = ScoreMap.of(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]], device=device))
    labels, confidence = label(scores, DecodingRule(torch.arange(2, device=device), 2.0), (1, 2))
    expected = torch.tensor([2.0], device=device).sigmoid().expand(1, 2)
    if labels.tolist() != [[1, 0]] or not torch.allclose(confidence, expected, atol=1e-5):
        raise RuntimeError("its labels of a known image are wrong")


def _label_rows_source(rows, cells, weights, classes, allowed, labels, confidence, width, queries,
                       row_cells, scale, least, fallback, TAPS: tl.constexpr,
                       PIXELS: tl.constexpr):
    """Label PIXELS pixels of a row: program (row, run); rows (R, Q, row_cells) float32."""
    row = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < width
    tap = pixel[:, None] * TAPS + tl.arange(0, TAPS)[None, :]
    cell = tl.load(cells + tap, mask=inside[:, None], other=0)
    weight = tl.load(weights + tap, mask=inside[:, None], other=0.0)
    here = rows + row * queries * row_cells
    highest = tl.full((PIXELS,), -3.0e38, tl.float32)
    best = tl.full((PIXELS,), -3.0e38, tl.float32)
    total = tl.zeros((PIXELS,), tl.float32)
    winner = tl.zeros((PIXELS,), tl.int32)
    for query in range(queries):
        score = scale * tl.sum(weight * tl.load(here + query * row_cells + cell), axis=1)
        higher = tl.maximum(highest, score)
        total = total * tl.exp(highest - higher) + tl.exp(score - higher)
        highest = higher
        better = (score > best) & (tl.load(allowed + query) != 0)
        best = tl.where(better, score, best)
        winner = tl.where(better, tl.load(classes + query), winner)
    probability = tl.exp(best - highest) / total
    probability = tl.where(probability == probability, probability, 0.0)  # NaN is no probability
    place = row * width + pixel
    tl.store(labels + place, tl.where(probability >= least, winner, fallback).to(tl.uint8),
             mask=inside)
    tl.store(confidence + place, probability, mask=inside)


# One program for all sizes and vocabularies: Triton would compile another, in the middle of a
# video, where one of these numbers becomes 1 or a multiple of 16.
_label_rows: Any = triton.jit(
    _label_rows_source, do_not_specialize=["width", "queries", "row_cells", "fallback"],
) if triton is not None else None
