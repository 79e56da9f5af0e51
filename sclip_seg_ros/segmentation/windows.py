"""Sliding windows: where they lie, how they are cut out, how their scores are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate


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


def stitch(scores: Tensor, boxes: Sequence[Box], size: tuple[int, int]) -> Tensor:
    """Average overlapping windows' scores into one map.

    Args:
        scores: (len(boxes), Q, h, w), one map a window on its own grid; enlarged bilinearly
            (align_corners=False) to the window's size.
        boxes: the windows.
        size: (H, W) of the image.

    Returns:
        (Q, H, W) float32.
    """
    total = scores.new_zeros((scores.shape[1], *size), dtype=torch.float32)
    count = scores.new_zeros(size, dtype=torch.float32)
    for window, box in zip(scores, boxes, strict=True):
        extent = (box.bottom - box.top, box.right - box.left)
        enlarged = interpolate(window[None].float(), size=extent, mode="bilinear",
                               align_corners=False)[0]
        total[:, box.top:box.bottom, box.left:box.right] += enlarged
        count[box.top:box.bottom, box.left:box.right] += 1
    return total / count
