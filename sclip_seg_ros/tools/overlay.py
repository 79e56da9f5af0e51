"""The picture for people: class colours over the camera image, outlines and a legend."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from sclip_seg_ros.segmentation.palette import lookup_table
from sclip_seg_ros.segmentation.vocabulary import UNLABELLED

MAX_ROWS = 12          # of the legend; more would hide the picture
_ROW_SHARE = 1 / 22    # height of a row in heights of an image of 4:3 that fits in the image
_ROW_PIXELS = (12, 160)
_MOST_OF_IMAGE = 0.6   # height of the legend at most, in image heights
_BOX_SHADE = 0.4       # brightness left under the legend
_OUTLINE_SHARE = 1 / 480  # thickness of the outlines in image heights; none in tiny images
_OUTLINE_WHITE = 0.7   # share of white in them
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float,
                 legend: Sequence[tuple[int, str]] = ()) -> np.ndarray:
    """Blend class colours over an image; pixels without a class keep the image's colour.

    White outlines tell neighbours of similar colours apart.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids, 255 = unlabelled.
        colours: (C, 3) uint8 RGB.
        alpha: share of the colours, 0..1.
        legend: id and name of the classes to explain, the most important first.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    painted = cv2.applyColorMap(labels, lookup_table(colours)[:, None])  # far faster than take
    blended = cv2.addWeighted(painted, alpha, image, 1.0 - alpha, 0.0)
    unlabelled = cv2.compare(labels, UNLABELLED, cv2.CMP_EQ)
    cv2.copyTo(np.ascontiguousarray(image), unlabelled, blended)
    _draw_outlines(blended, labels, min(1.0, 2 * alpha) * _OUTLINE_WHITE)
    if legend:
        draw_legend(blended, [(name, colours[index]) for index, name in legend])
    return blended


def legend_entries(coverage: np.ndarray, names: Sequence[str]) -> list[tuple[int, str]]:
    """Return id and name of the classes present, the largest first.

    Args:
        coverage: (C,) share of the pixels with each label.
        names: C class names.
    """
    order = np.argsort(-coverage, kind="stable")
    return [(int(index), names[index]) for index in order if coverage[index] > 0]


def draw_legend(image: np.ndarray, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Draw names with their colours on a darkened box in the upper left corner, in place.

    Rows and letters scale with the image; rows that do not fit are counted in the last one.

    Args:
        image: (H, W, 3) uint8 RGB, changed.
        rows: name and RGB colour.
    """
    height, width = image.shape[:2]
    row = int(np.clip(round(min(height, 0.75 * width) * _ROW_SHARE), *_ROW_PIXELS))
    margin = max(2, row // 4)
    room = min(MAX_ROWS, (round(height * _MOST_OF_IMAGE) - 2 * margin) // row)
    if room < min(2, len(rows)):  # one row could only count the others
        return
    texts = [(_drawable(name), colour) for name, colour in rows]
    if len(texts) > room:
        texts = [*texts[:room - 1], (f"+{len(texts) - room + 1} more", None)]
    scale, thickness = _font_for(row)
    widest = max(cv2.getTextSize(text, _FONT, scale, thickness)[0][0] for text, _ in texts)
    right = min(width, 3 * margin + row + widest)
    bottom = min(height, 2 * margin + row * len(texts))
    image[:bottom, :right] = cv2.convertScaleAbs(image[:bottom, :right], alpha=_BOX_SHADE)
    for index, (text, colour) in enumerate(texts):
        top = margin + index * row
        if colour is not None:
            chip = slice(top + 1, top + row - 1)
            image[chip, margin:margin + row - 2] = colour
        baseline = top + round(0.74 * row)
        cv2.putText(image, text, (2 * margin + row, baseline), _FONT, scale, (255, 255, 255),
                    thickness, cv2.LINE_AA)


def _draw_outlines(image: np.ndarray, labels: np.ndarray, white: float) -> None:
    """Whiten an image where two labels meet, in place."""
    thickness = int(len(image) * _OUTLINE_SHARE + 0.5)
    if not thickness or not white:
        return
    kernel = np.ones((thickness + 1, thickness + 1), np.uint8)
    edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, kernel)
    cv2.copyTo(cv2.convertScaleAbs(image, alpha=1.0 - white, beta=255 * white), edges, image)


def _font_for(row: int) -> tuple[float, int]:
    """Return scale and line thickness of letters that fill a row of so many pixels."""
    return 0.62 * row / 22.0, max(1, round(row / 18))


def _drawable(name: str) -> str:
    """Return a name in the letters that OpenCV's font has; others become question marks."""
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    return plain.encode("ascii", "replace").decode()
