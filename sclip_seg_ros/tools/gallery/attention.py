"""Where one place of an image looks in the last block, under each attention rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.backbones.attention import attention_rule, last_block_rules
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.tools.gallery.sheet import Tile

_IMAGE_SHARE = 0.35  # how much of the image shows through the brightest heat
_MARK = (255, 255, 255)


@torch.inference_mode()
def attention_maps(scorer: WindowScorer, window: Tensor, point: tuple[float, float],
                   options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return how much the patch at a point takes from every token, by attention rule.

    Args:
        scorer: without LoftUp.
        window: (1, 3, h, w) in 0..1.
        point: column and row, as shares of the image's width and height.
        options: values of the rules' settings, e.g. ``{"naclip_sigma": 5.0}``.

    Returns:
        (P + h*w,) each, mean over the heads, summing to 1, the tower's P leading tokens first.
    """
    penultimate = scorer.penultimate(window)
    row, column = patch_at(point, penultimate.grid)
    asked = scorer.backbone.prefix + row * penultimate.grid[1] + column
    maps = {}
    for name in last_block_rules():
        weights = scorer.backbone.attention_weights(penultimate, attention_rule(name, options))
        taken = weights[0, :, asked].float().mean(0)
        maps[name] = (taken / taken.sum()).cpu().numpy()  # SCLIP's rows add up to 2
    return maps


def attention_tiles(image: np.ndarray, maps: dict[str, np.ndarray], grid: tuple[int, int],
                    point: tuple[float, float]) -> list[Tile]:
    """Show the point, and each rule's map over the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        maps: of `attention_maps`.
        grid: (rows, columns) of the patches.
        point: as there.
    """
    tiles = [Tile(_marked(image, point), "the point that looks",
                  f"{round(point[0] * image.shape[1])}, {round(point[1] * image.shape[0])}")]
    row, column = patch_at(point, grid)
    for name, taken in maps.items():
        leading = len(taken) - grid[0] * grid[1]
        patches = taken[leading:].reshape(grid)
        first = f"class token {taken[0]:.1%}, " if leading else ""
        note = f"itself {patches[row, column]:.1%}, {first}most {patches.max():.1%}"
        tiles.append(Tile(_marked(_heated(image, patches), point), name, note))
    return tiles


def patch_at(point: tuple[float, float], grid: tuple[int, int]) -> tuple[int, int]:
    """Return row and column of the patch under a point of the image."""
    rows, columns = grid
    return min(int(point[1] * rows), rows - 1), min(int(point[0] * columns), columns - 1)


def _heated(image: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Darken an image where little is taken from, and colour it where much is."""
    size = (image.shape[1], image.shape[0])
    heat = cv2.resize(patches / max(float(patches.max()), 1e-12), size,
                      interpolation=cv2.INTER_NEAREST)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return cv2.addWeighted(image, _IMAGE_SHARE, np.ascontiguousarray(colours), 1 - _IMAGE_SHARE, 0)


def _marked(image: np.ndarray, point: tuple[float, float]) -> np.ndarray:
    marked, width = image.copy(), image.shape[1]
    centre = (round(point[0] * width), round(point[1] * image.shape[0]))
    radius, line = max(3, width // 60), max(1, width // 300)
    cv2.circle(marked, centre, radius + line, (0, 0, 0), line, cv2.LINE_AA)
    cv2.circle(marked, centre, radius, _MARK, line, cv2.LINE_AA)
    return marked
