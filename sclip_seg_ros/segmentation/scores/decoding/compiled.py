"""Enlargement, softmax and choice of the class on the CPU, in compiled code.

Enlarged scores lie between those of the cells that reach a pixel. The picture is cut into patches
of 16x16 pixels. Only those queries can win in a patch whose highest value at its cells is above the
lowest of another; others count for confidence alone. Those that can win or count for something
are summed pixel by pixel, relative to one another. What is left is one query more: the logarithm
of its sum goes straight from cell to cell. Where that would be too much, more queries are summed.

The build makes two libraries of compiled.cpp: for any processor, and for x86 with AVX2.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import sclip_seg_ros
from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import Axis, ScoreMap, enlargement

SIDE = 16    # pixels of a patch each way, as in the C++ file
MOST = 170   # cells that may reach a patch: with more of them plain decoding is faster
WITH_AVX2, ANYWHERE = "_decoding_avx2", "_decoding"
_INT, _FLOAT = ctypes.c_int, ctypes.c_float
_FLOATS, _INTS, _BYTES = (np.ctypeslib.ndpointer(kind, flags="C_CONTIGUOUS")
                          for kind in (np.float32, np.int32, np.uint8))
_CUT = (_INTS, _FLOATS, _INT, _INT)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | str:
    """Return the library for this processor, or why there is none."""
    failure = ("it is not built; `colcon build` and `pip install` do so where there is a C++ "
               "compiler")
    for name in (WITH_AVX2, ANYWHERE) if has_avx2() else (ANYWHERE,):
        for folder in sclip_seg_ros.__path__:  # the source tree, and what was built of it
            for file in Path(folder).glob(f"{name}.*so"):
                try:
                    found = ctypes.CDLL(str(file))
                    found.decode.restype = None
                    found.decode.argtypes = (_FLOATS, _INT, _INT, _FLOAT, *_CUT, *_CUT, _BYTES,
                                             _BYTES, _FLOAT, _INT, _INT, _BYTES, _FLOATS)
                    return found
                except (OSError, AttributeError) as error:
                    failure = first_line(error)
    return failure


def has_avx2() -> bool:
    """Tell whether the processor has AVX2, and torch is not told to do without."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def fallback() -> str | None:
    """Return why torch decodes in its place; None where it runs."""
    found = library()
    return found if isinstance(found, str) else None


def library_name() -> str:
    """Return which library runs, such as ``_decoding_avx2``; empty where none does."""
    found = library()
    return "" if isinstance(found, str) else Path(found._name).name.partition(".")[0]


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
        the library is not built, many cells to a patch, scores that are not numbers.
    """
    compiled, values = library(), scores.values
    if isinstance(compiled, str) or not bool(values.sum().isfinite()):
        return None
    down, across = (cut(axis, length)
                    for axis, length in zip((scores.rows, scores.columns), size, strict=True))
    if down[0].shape[1] * across[0].shape[1] > MOST:
        return None
    allowed = rule.allowed()
    if allowed is None:
        allowed = torch.ones_like(rule.query_class)
    labels, confidence = torch.empty(size, dtype=torch.uint8), torch.empty(size)
    compiled.decode(
        values.contiguous().numpy(), *values.shape[1:], rule.logit_scale,
        *(part for cells, weights in (down, across)
          for part in (cells.numpy(), weights.numpy(), *cells.shape)),
        allowed.to(torch.uint8).numpy(), rule.query_class.to(torch.uint8).numpy(),
        rule.least if rule.selective else -1.0, *size, labels.numpy(), confidence.numpy())
    if rule.selective:
        labels.masked_fill_(confidence < rule.least, rule.fallback)
    return labels, confidence


@device_cache(maxsize=64)
def cut(axis: Axis, target: int) -> tuple[Tensor, Tensor]:
    """Cut one direction of a picture of ``target`` pixels into n patches, cached.

    Returns:
        the cells that reach each patch, (n, M) int32, and the weights (n, M, SIDE) float32 by which
        they reach its pixels.
    """
    matrix = enlargement(axis, target, torch.device("cpu"))
    pixels = torch.arange(-(-target // SIDE) * SIDE).clamp(max=target - 1)  # the last one repeated
    patches = matrix[pixels].unflatten(0, (-1, SIDE))
    reached = patches.ne(0).any(1)
    most = int(reached.sum(1).max())
    # Those that reach it first; where there are fewer, others fill up with a weight of zero.
    cells = reached.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    cells = torch.where(reached.gather(1, cells), cells, cells[:, :1])
    weights = patches.gather(2, cells[:, None].expand(-1, SIDE, -1))
    first = torch.arange(most) < reached.sum(1, keepdim=True)
    return (cells.int().contiguous(),
            (weights * first[:, None]).transpose(1, 2).float().contiguous())
