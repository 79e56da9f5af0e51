"""A sheet of pictures of one width, each with its title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sclip_seg_ros.io.overlay import drawable

WIDTH = 400       # pixels of a picture on the sheet
_MARGIN = 20
_LINE = 22        # pixels of a line of text
_PAPER, _INK, _QUIET = 252, (34, 29, 32), (120, 112, 104)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.5


@dataclass(frozen=True)
class Tile:
    """A picture (H, W, 3) uint8 RGB with a title, and a quieter line below it.

    Attributes:
        grid: show the single cells of a coarse map instead of blending them.
    """

    picture: np.ndarray
    title: str
    note: str = ""
    grid: bool = False


def draw_sheet(heading: str, tiles: Sequence[Tile], columns: int) -> np.ndarray:
    """Lay tiles out in rows under a heading.

    Every tile gets the first one's shape, which is the image's.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = tiles[0].picture.shape[:2]
    size = (WIDTH, max(1, round(WIDTH * height / width)))
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step = (size[1] + 2 * _LINE + _MARGIN, size[0] + _MARGIN)
    top = 2 * _MARGIN + _LINE
    sheet = np.full((top + rows * step[0], _MARGIN + columns * step[1], 3), _PAPER, np.uint8)
    _write(sheet, heading, (_MARGIN, _MARGIN + 16), 1.3 * _SIZE, _INK)
    for index, tile in enumerate(tiles):
        y, x = top + index // columns * step[0], _MARGIN + index % columns * step[1]
        sheet[y:y + size[1], x:x + size[0]] = _fitted(tile, size)
        _write(sheet, tile.title, (x, y + size[1] + 17), _SIZE, _INK)
        _write(sheet, tile.note, (x, y + size[1] + 17 + _LINE), 0.9 * _SIZE, _QUIET)
    return sheet


def _fitted(tile: Tile, size: tuple[int, int]) -> np.ndarray:
    enlarged = tile.picture.shape[1] < size[0]
    smooth = cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA
    return cv2.resize(tile.picture, size, interpolation=cv2.INTER_NEAREST if tile.grid else smooth)


def _write(sheet: np.ndarray, text: str, place: tuple[int, int], size: float,
           colour: tuple[int, int, int]) -> None:
    """Write a line, no wider than a picture."""
    text = drawable(text)
    while text and place[0] + cv2.getTextSize(text, _FONT, size, 1)[0][0] > sheet.shape[1]:
        text = text[:-1]
    cv2.putText(sheet, text, place, _FONT, size, colour, 1, cv2.LINE_AA)
