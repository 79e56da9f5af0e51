"""The picture for people: class colours over the camera image, and a legend."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from sclip_seg_ros.io.blending import blend
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary

MAX_ROWS = 12          # of the legend; more would hide the picture
_ROW_SHARE = 1 / 22    # height of a row in heights of an image of 4:3 that fits in the image
_ROW_PIXELS = (12, 160)
_MOST_OF_IMAGE = 0.6   # height of the legend at most, in image heights
_BOX_SHADE = 0.4       # brightness left under the legend
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_KNOWS_UNICODE = int(cv2.__version__.split(".")[0]) >= 5


def overlay_of(image: np.ndarray | Tensor, labels: np.ndarray | Tensor, vocabulary: Vocabulary,
               coverage: np.ndarray, alpha: float, legend: bool = True) -> np.ndarray:
    """Draw labels over their image in the colours of their vocabulary.

    Args:
        image, labels, alpha: see :func:`draw_overlay`.
        vocabulary: that the labels are ids of.
        coverage: (C,) share of the pixels with each label.
        legend: whether to name the classes present.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    entries = legend_entries(coverage, vocabulary.names) if legend else ()
    return draw_overlay(image, labels, vocabulary.colours, alpha, entries)


def draw_overlay(image: np.ndarray | Tensor, labels: np.ndarray | Tensor, colours: np.ndarray,
                 alpha: float, legend: Sequence[tuple[int, str]] = ()) -> np.ndarray:
    """Blend class colours and outlines over an image, and explain them in a legend.

    See :func:`blend`, also for images on a GPU.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids, 255 = unlabelled.
        colours: (C, 3) uint8 RGB.
        alpha: share of the colours, 0..1.
        legend: id and name of the classes to explain, the most important first.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    picture = blend(image, labels, colours, alpha)
    if legend:
        draw_legend(picture, [(name, colours[index]) for index, name in legend])
    return picture


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
    texts = [(drawable(name), colour) for name, colour in rows]
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


def _font_for(row: int) -> tuple[float, int]:
    """Return scale and line thickness of letters that fill a row of so many pixels."""
    return 0.62 * row / 22.0, max(1, round(row / 18))


def drawable(name: str) -> str:
    """Return a name in the letters that OpenCV's font has; others become question marks.

    Since OpenCV 5 it has those of most languages, before that those of English alone.
    """
    if _KNOWS_UNICODE:
        return name
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    return plain.encode("ascii", "replace").decode()
