"""Surface patterns, filtered to the size of a pixel, and the words that name them.

A pattern maps texture coordinates (metres) to the share of a second colour and to a
brightness factor, so that the first colour, the one that is named, always dominates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from sclip_research.scenes.colours import LinearColour, mix

NOISE_SIZE = 512

Painted = tuple["np.ndarray | float", "np.ndarray | float"]


@dataclass(frozen=True)
class Finish:
    """How a surface takes light.

    Attributes:
        base: the named colour, linear.
        second: the colour the pattern brings in, linear.
        pattern: "plain" or a key of PATTERNS.
        period: size of the pattern in metres.
        gloss: strength of highlights.
        glow: light that the surface gives off by itself.
        shift: where the pattern begins, in metres.
        skirting: height in metres of a darker strip along the bottom (of a wall).
    """

    base: LinearColour
    second: LinearColour
    pattern: str = "plain"
    period: float = 0.1
    gloss: float = 0.08
    glow: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    skirting: float = 0.0

    def tinted(self, factor: float) -> Finish:
        """Return the plain finish whose colour is darker (below one) or lighter."""
        red, green, blue = (min(1.0, factor * value) for value in self.base)
        tint = (red, green, blue)
        return Finish(tint, tint, gloss=self.gloss, glow=self.glow)

    def albedo(self, u: np.ndarray, v: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        """Return the linear colour (3, N) at texture coordinates.

        Args:
            u: first texture coordinate in metres, (N,).
            v: second texture coordinate in metres, (N,).
            pixel: extent of a pixel on the surface in metres, (N,).
        """
        base = np.array(self.base, np.float32)[:, None]
        if self.skirting:
            edge = np.clip((self.skirting - v) / pixel + 0.5, 0.0, 1.0)
            return self._patterned(base, u, v, pixel) * (1.0 - 0.45 * edge)
        return self._patterned(base, u, v, pixel)

    def _patterned(
        self, base: np.ndarray, u: np.ndarray, v: np.ndarray, pixel: np.ndarray
    ) -> np.ndarray:
        """Blend base (3, 1) and second colour by the pattern."""
        if self.pattern == "plain":
            return np.broadcast_to(base, (3, len(u)))
        share, gain = PATTERNS[self.pattern](
            u + self.shift[0], v + self.shift[1], pixel, self.period
        )
        second = np.array(self.second, np.float32)[:, None]
        return (base + share * (second - base)) * gain


def _line(x: np.ndarray, period: float, width: float, pixel: np.ndarray) -> np.ndarray:
    """Cover a pixel by lines of a width, repeated with a period (box filter)."""
    turn = x * (1.0 / period)
    distance = np.abs(turn - np.rint(turn)) * period
    return np.clip((0.5 * width - distance) / pixel + 0.5, 0.0, 1.0)


def _fade(pixel: np.ndarray, period: float) -> np.ndarray:
    """Let a pattern vanish where a pixel nears its period."""
    return np.clip(1.5 - 2.0 * pixel / period, 0.0, 1.0)


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """Return a square of smooth seamless noise with mean zero and deviation one."""
    rng = np.random.default_rng(7)
    field = rng.standard_normal((NOISE_SIZE, NOISE_SIZE)).astype(np.float32)
    total = np.zeros_like(field)
    for sigma in (1.2, 3.0, 8.0):
        pad = 32
        wrapped = cv2.copyMakeBorder(field, pad, pad, pad, pad, cv2.BORDER_WRAP)
        soft = cv2.GaussianBlur(wrapped, (0, 0), sigma)[pad:-pad, pad:-pad]
        total += soft / soft.std()
    return total / total.std()


def _noise_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Look noise up, one unit a texel."""
    columns = np.floor(u).astype(np.int32) & (NOISE_SIZE - 1)
    rows = np.floor(v).astype(np.int32) & (NOISE_SIZE - 1)
    return _noise()[rows, columns]


def _cell_tone(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Give each cell of a grid its own value in -0.5..0.5."""
    mixed = (column.astype(np.int32) * 73 + row.astype(np.int32) * 151) * 37 & 255
    return mixed.astype(np.float32) / 255.0 - 0.5


def _striped(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Cover two fifths with bands of the second colour."""
    return _line(v, period, 0.4 * period, pixel), 1.0


def _checkered(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Alternate squares of both colours."""
    half = 0.5 * period
    first, second = _line(u, period, half, pixel), _line(v, period, half, pixel)
    fade = _fade(pixel, period)
    return 0.5 + fade * (first + second - 2.0 * first * second - 0.5), 1.0


def _dotted(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Lay dots of the second colour in staggered rows."""
    row = np.rint(v / period)
    turn = u / period + 0.5 * (row.astype(np.int32) & 1)
    across, along = (turn - np.rint(turn)) * period, v - row * period
    distance = np.sqrt(across * across + along * along)
    return np.clip((0.27 * period - distance) / pixel + 0.5, 0.0, 1.0), 1.0


def _wood(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Draw long grain along u."""
    grain = _noise_at(u * 60.0, v * 420.0) * 0.22 + _noise_at(u * 25.0, v * 130.0) * 0.2
    return np.clip(0.4 + grain, 0.0, 1.0), 1.0


def _planks(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Draw grain on staggered boards, each of its own tone."""
    row = np.floor(v / period)
    shifted = u + row * 0.61
    length = 8.0 * period
    joints = np.maximum(_line(v, period, 0.006, pixel), _line(shifted, length, 0.006, pixel))
    tone = _cell_tone(np.floor(shifted / length + 0.5), row)
    grain, _ = _wood(shifted + tone * 9.0, v, pixel, period)
    return np.clip(grain, 0.0, 1.0), (1.0 + 0.3 * tone) * (1.0 - 0.55 * joints)


def _brick(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Lay bricks of differing tone in a running bond."""
    height = 0.36 * period
    row = np.floor(v / height)
    shifted = u + 0.5 * period * (row.astype(np.int32) & 1)
    mortar = np.maximum(
        _line(v, height, 0.1 * height, pixel), _line(shifted, period, 0.1 * height, pixel)
    )
    tone = _cell_tone(np.floor(shifted / period + 0.5), row)
    return mortar, 1.0 + (1.0 - mortar) * (0.35 * tone + 0.04 * _noise_at(u * 220.0, v * 220.0))


def _tiled(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Lay square tiles of differing tone, parted by grout."""
    width = 0.035 * period
    grout = np.maximum(_line(u, period, width, pixel), _line(v, period, width, pixel))
    tone = _cell_tone(np.floor(u / period + 0.5), np.floor(v / period + 0.5))
    return grout, 1.0 + 0.12 * tone


def _carpet(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Vary the brightness of a pile."""
    fade = _fade(pixel, 0.03)
    pile = _noise_at(u * 260.0, v * 260.0) * 0.07 * fade + _noise_at(u * 40.0, v * 40.0) * 0.018
    return 0.0, 1.0 + pile


def _weave(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Cross threads, brightest where one lies above."""
    fade = _fade(pixel, period)
    threads = np.sin(u * (6.2832 / period)) * np.sin(v * (6.2832 / period)) * 0.12 * fade
    return 0.0, 1.0 + threads + _noise_at(u * 100.0, v * 100.0) * 0.03


def _brushed(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Scratch long fine lines along u."""
    return 0.0, 1.0 + _noise_at(u * 9.0, v * 500.0) * 0.07 + _noise_at(u * 6.0, v * 20.0) * 0.03


def _marble(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Draw thin veins where smooth noise passes zero."""
    veins = np.abs(_noise_at(u * 80.0, v * 80.0) + 0.3 * _noise_at(u * 260.0, v * 260.0))
    return np.clip(0.75 - 2.2 * veins, 0.0, 1.0), 1.0


def _mottled(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Vary the brightness in soft spots, as cardboard and leather do."""
    return 0.0, 1.0 + _noise_at(u * 100.0, v * 100.0) * 0.06


def _art(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Paint large soft-edged islands of the second colour."""
    return np.clip(3.0 * _noise_at(u * (24.0 / period), v * (24.0 / period)) - 1.6, 0.0, 1.0), 1.0


def _keys(u: np.ndarray, v: np.ndarray, pixel: np.ndarray, period: float) -> Painted:
    """Part small squares by wide gaps, shifted from row to row."""
    shifted = u + 0.3 * period * np.floor(v / period)
    width = 0.24 * period
    return np.maximum(_line(shifted, period, width, pixel), _line(v, period, width, pixel)), 1.0


Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, float], Painted]
PATTERNS: dict[str, Pattern] = {
    "striped": _striped,
    "checkered": _checkered,
    "dotted": _dotted,
    "wood": _wood,
    "planks": _planks,
    "brick": _brick,
    "tiled": _tiled,
    "carpet": _carpet,
    "weave": _weave,
    "brushed": _brushed,
    "marble": _marble,
    "mottled": _mottled,
    "art": _art,
    "keys": _keys,
}

_SOLID = {None: 5.0, "shiny": 1.5, "striped": 1.0, "dotted": 0.8, "checkered": 0.6}
_FURNITURE = {None: 4.0, "wooden": 2.5}
MATERIALS: dict[str, dict[str | None, float]] = {
    "floor": {None: 1.0, "wooden": 3.0, "tiled": 2.0, "carpeted": 1.5, "checkered": 0.6},
    "wall": {None: 4.0, "brick": 1.5, "tiled": 0.5, "striped": 0.5},
    "rug": {None: 2.0, "striped": 1.5, "checkered": 0.7, "dotted": 0.7},
    "door": _FURNITURE,
    "table": _FURNITURE,
    "chair": _FURNITURE,
    "lamp": {None: 1.0},
    "box": _SOLID | {"wooden": 1.0},
    "ball": _SOLID,
    "cone": {None: 4.0, "shiny": 1.0, "striped": 1.5},
    "cup": {None: 4.0, "shiny": 2.0, "striped": 1.0, "dotted": 1.0},
    "bottle": {None: 3.0, "shiny": 3.0},
    "bowl": {None: 4.0, "shiny": 2.0, "striped": 1.0, "wooden": 0.6},
    "pyramid": {None: 4.0, "shiny": 1.0, "striped": 1.0},
    "cylinder": _SOLID,
}
_COLOURS_OF: dict[str, tuple[str, ...]] = {
    "wooden": ("brown", "orange", "gray", "white", "black"),
    "brick": ("red", "brown", "orange", "gray", "white"),
    "cardboard": ("brown", "orange", "white", "gray"),
    "leather": ("brown", "black", "white", "red", "gray", "orange"),
    "marble": ("white", "gray", "black", "brown", "pink", "green"),
}


def sample_material(
    noun: str, colour: str, rng: np.random.Generator,
    materials: Mapping[str, Mapping[str | None, float]] = MATERIALS,
) -> str | None:  # fmt: skip
    """Draw a material word that suits the noun and the colour; None is plain."""
    options = {
        word: weight
        for word, weight in materials[noun].items()
        if word not in _COLOURS_OF or colour in _COLOURS_OF[word]
    }
    weights = np.array(list(options.values()))
    return list(options)[rng.choice(len(options), p=weights / weights.sum())]


def finish(noun: str, material: str | None, base: LinearColour, rng: np.random.Generator) -> Finish:
    """Turn a material word into the finish of a thing of that noun and colour."""
    shift = (float(rng.uniform(0, 2)), float(rng.uniform(0, 2)))
    brightness = sum(base) / 3.0
    large = noun in ("floor", "wall")
    darker, paler = mix(base, (0.0, 0.0, 0.0), 0.55), mix(base, (1.0, 1.0, 1.0), 0.75)
    contrast = darker if brightness > 0.6 else paler
    gloss = float(rng.uniform(0.02, 0.12))
    if material == "shiny":
        return Finish(base, base, gloss=float(rng.uniform(0.5, 0.9)))
    if material == "wooden":
        pattern = "planks" if large else "wood"
        grain = mix(base, darker, 0.7 if brightness > 0.3 else 1.0)
        return Finish(base, grain, pattern, float(rng.uniform(0.1, 0.17)), gloss + 0.08, 0, shift)
    if material == "brick":
        mortar = mix(base, (0.6, 0.58, 0.55), 0.55) if brightness < 0.6 else darker
        return Finish(base, mortar, "brick", float(rng.uniform(0.24, 0.36)), 0.0, 0, shift)
    if material == "tiled":
        grout = contrast if brightness < 0.05 else mix(base, (0.0, 0.0, 0.0), 0.5)
        return Finish(base, grout, "tiled", float(rng.uniform(0.25, 0.5)), 0.3, 0, shift)
    if material == "carpeted":
        return Finish(base, base, "carpet", gloss=0.0, shift=shift)
    if material == "checkered" or (material == "striped" and large):
        second = mix(base, contrast, 0.3 if large else 0.9)
        period = rng.uniform(0.4, 0.8) if large else rng.uniform(0.1, 0.16)
        return Finish(base, second, material, float(period), gloss, 0, shift)
    if material in ("striped", "dotted"):
        return Finish(base, contrast, material, float(rng.uniform(0.07, 0.12)), gloss, 0, shift)
    pattern = "carpet" if noun == "rug" else "plain"
    return Finish(base, base, pattern, gloss=gloss, shift=shift)
