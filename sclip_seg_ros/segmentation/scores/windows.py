"""Sliding windows: of which size of an image, where they lie, and how their scores are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores.score_map import Axis, ScoreMap
from sclip_seg_ros.segmentation.settings import SegmentorSettings

MAX_LONG_SIDE = 2048  # pixels, as in the papers' protocol (scale=(2048, short side))


def working_size(height: int, width: int, short_side: int,
                 enlarge: bool = False) -> tuple[int, int]:
    """Return the size an image is worked on: short side at most ``short_side``, long side 2048.

    A smaller image keeps its size, unless ``enlarge`` brings it up to one of the two limits, as
    the papers' ``Resize(scale=(2048, short side), keep_ratio=True)`` does.
    """
    scale = min(short_side / min(height, width), MAX_LONG_SIDE / max(height, width))
    if not enlarge:
        scale = min(scale, 1.0)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def tower_size(height: int, width: int, settings: SegmentorSettings,
               patch: int) -> tuple[int, int]:
    """Return the size an image is worked on with given settings, by a tower of given patches.

    It is :func:`working_size`, but a side that holds no full window is rounded to whole patches:
    the tower drops a remainder, and its cells would be stretched over pixels that it never saw.
    A side smaller than one patch stays, to be refused. With ``enlarge``, the papers' own protocol,
    nothing is rounded: their code leaves the remainder out as well.
    """
    size = working_size(height, width, settings.short_side, settings.enlarge)
    if settings.enlarge:
        return size
    whole = settings.inference == "whole"
    rows, columns = ((side + patch // 2) // patch * patch
                     if side >= patch and (whole or side < settings.crop) else side
                     for side in size)
    return rows, columns


def tower_crop(settings: SegmentorSettings, patch: int) -> int:
    """Return the side of a window in pixels, rounded down to whole patches as in tower_size."""
    return settings.crop if settings.enlarge else settings.crop // patch * patch


class Box(NamedTuple):
    """A window in pixels, upper ends excluded."""

    top: int
    left: int
    bottom: int
    right: int


def window_boxes(height: int, width: int, crop: int, stride: int) -> list[Box]:
    """Lay windows over an image as SCLIP does, row by row.

    The last window of a row or column is shifted back inside; an image smaller than the crop gets
    one window of its own size (Wang et al., SCLIP, ECCV 2024, section 4.1).

    Raises:
        ValueError: a stride that is not positive, or leaves gaps between windows.
    """
    if not 1 <= stride <= crop:
        raise ValueError(f"stride={stride} does not fit windows of {crop} pixels; give 1 to {crop}")
    return [Box(top, left, bottom, right)
            for top, bottom in _spans(height, crop, stride)
            for left, right in _spans(width, crop, stride)]


def _spans(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return [(max(end - crop, 0), end) for end in ends]


def cut(images: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Cut windows out of images: (B, C, H, W) -> (B * len(boxes), C, h, w), image by image."""
    windows = torch.stack([images[..., b.top:b.bottom, b.left:b.right] for b in boxes], dim=1)
    return windows.flatten(0, 1)


def stitch(scores: Tensor, boxes: Sequence[Box], size: tuple[int, int],
           taper: bool = False) -> ScoreMap:
    """Average overlapping windows' scores into one map.

    Args:
        scores: (len(boxes), Q, h, w), one map a window on its own grid; enlarged bilinearly
            (align_corners=False) to the window's size.
        boxes: the windows, a grid of them row by row as :func:`window_boxes` lays them.
        size: (H, W) of the image.
        taper: see :class:`Axis`.

    Returns:
        scores of the image, float32; the enlarged maps are never made one by one.

    Raises:
        ValueError: windows that are not a grid, or not as many as scores.
    """
    down = tuple(dict.fromkeys((box.top, box.bottom) for box in boxes))
    across = tuple(dict.fromkeys((box.left, box.right) for box in boxes))
    if [(*box,) for box in boxes] != [(top, left, bottom, right) for top, bottom in down
                                      for left, right in across]:
        raise ValueError(f"{len(boxes)} windows are not a grid of {len(down)} rows and "
                         f"{len(across)} columns; lay them with window_boxes()")
    if len(scores) != len(boxes):
        raise ValueError(f"scores of {len(scores)} windows do not fit {len(boxes)} boxes; give one "
                         "map a box")
    grid = scores.float().unflatten(0, (len(down), len(across)))
    values = grid.permute(0, 3, 2, 1, 4).flatten(0, 1).flatten(2)
    height, width = scores.shape[2:]
    return ScoreMap(values, Axis(size[0], down, height, taper),
                    Axis(size[1], across, width, taper))
