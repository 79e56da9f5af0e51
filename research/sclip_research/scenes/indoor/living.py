"""Figures of people, and plants in pots."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.furniture import Model, Piece
from sclip_research.scenes.indoor.building import (
    DARK,
    Design,
    any_paint,
    between,
    blob,
    block,
    drum,
    limb,
    model,
    one_of,
    paint,
    turned,
)

SKINS = ((0.72, 0.45, 0.32), (0.55, 0.3, 0.18), (0.3, 0.15, 0.08), (0.12, 0.055, 0.03),
         (0.8, 0.55, 0.42))  # fmt: skip
HAIR = ((0.01, 0.008, 0.006), (0.06, 0.03, 0.012), (0.2, 0.1, 0.03), (0.5, 0.35, 0.12),
        (0.35, 0.35, 0.35))  # fmt: skip
TROUSERS = ((0.02, 0.025, 0.06), (0.01, 0.01, 0.012), (0.12, 0.12, 0.13), (0.2, 0.14, 0.08),
            (0.05, 0.09, 0.2))  # fmt: skip
SOIL = (0.03, 0.018, 0.01)


def standing_person(rng: np.random.Generator) -> Model:
    """Build a person who stands, arms down."""
    return _person(rng, 0.0, (0.12, 0.12), skirt=False)


def walking_person(rng: np.random.Generator) -> Model:
    """Build a person in mid-stride."""
    return _person(rng, between(rng, 0.12, 0.24), (between(rng, 0.1, 0.2), -0.1), skirt=False)


def person_in_dress(rng: np.random.Generator) -> Model:
    """Build a person in a dress or a long coat."""
    return _person(rng, between(rng, 0.0, 0.1), (0.1, 0.08), skirt=True)


def reaching_person(rng: np.random.Generator) -> Model:
    """Build a person who holds an arm out or up."""
    return _person(rng, 0.05, (0.1, between(rng, 0.5, 1.0)), skirt=False)


def _person(rng: np.random.Generator, stride: float, arms: tuple[float, float], skirt: bool,
            ) -> Model:  # fmt: skip
    """Build a person; what covers the trunk has the thing's colour.

    Args:
        stride: how far a foot is ahead of the middle, metres.
        arms: how far either hand is raised to the side, metres; above 0.4 it points up.
        skirt: whether the colour goes down to the knees.
    """
    tall = between(rng, 1.5, 1.85)
    s = tall / 1.75
    stout = between(rng, 0.85, 1.2)
    skin, hair = paint(one_of(rng, SKINS), 0.05), paint(one_of(rng, HAIR), 0.15)
    trousers, shoes = paint(one_of(rng, TROUSERS), 0.0), paint(one_of(rng, [DARK, (0.5, 0.5, 0.5)]))
    whole = not skirt and rng.random() < 0.2     # overalls: the legs have the colour too
    hip, shoulder = 0.9 * s, 1.42 * s
    half = 0.19 * s * stout
    pieces: list[Piece] = []
    for side in (-1, 1):
        x, y = side * 0.095 * s, side * stride
        leg = skin if skirt else None if whole else trousers
        pieces.append(limb((x, 0, hip), (x, 0.5 * y, 0.47 * s), 0.085 * s * stout, 0.9, leg))
        pieces.append(limb((x, 0.5 * y, 0.47 * s), (x, y, 0.09 * s), 0.06 * s, 0.9, leg))
        pieces.append(blob((0.05 * s, 0.13 * s, 0.05 * s), (x, y - 0.05 * s, 0.05 * s), skin=shoes))
    pieces.append(turned(((0.85 * half, 0.85 * s), (0.8 * half, 1.05 * s), (half, 1.32 * s),
                          (0.75 * half, shoulder + 0.03 * s), (0.06 * s, 1.5 * s))))
    pieces.append(blob((1.15 * half, 0.11 * s, 0.1 * s), (0, 0, 1.38 * s)))
    if skirt:
        pieces.append(turned(((between(rng, 1.3, 1.8) * half, between(rng, 0.35, 0.55) * s),
                              (0.82 * half, s))))
    long_sleeves = rng.random() < 0.6
    for side, raised in zip((-1, 1), arms, strict=True):
        top = (side * 1.08 * half, 0.0, shoulder - 0.04 * s)
        out = side * (1.2 * half + min(abs(raised), 0.4))
        ahead = -0.12 * s if raised > 0 else 0.12 * s
        if raised > 0.4:
            elbow = (out, -0.15 * s, shoulder - 0.1 * s)
            hand = (out + side * 0.05, -0.3 * s, shoulder + (raised - 0.5) * 0.6)
        else:
            elbow = (0.5 * (top[0] + out) + side * 0.03, 0.0, 1.13 * s)
            hand = (out, ahead, 0.88 * s)
        pieces.append(limb(top, elbow, 0.055 * s * stout, 0.95))
        pieces.append(limb(elbow, hand, 0.042 * s, 0.95, None if long_sleeves else skin))
        pieces.append(blob((0.045 * s, 0.05 * s, 0.06 * s), hand, skin=skin))
    head = (0.0, 0.0, 1.62 * s)
    pieces.append(drum(0.055 * s, 0.12 * s, (0, 0, 1.45 * s), skin=skin))
    pieces.append(blob((0.085 * s, 0.1 * s, 0.125 * s), head, skin=skin))
    pieces.append(blob((0.095 * s, 0.1 * s, 0.11 * s), (0, 0.03 * s, 1.67 * s), skin=hair))
    if skirt or rng.random() < 0.3:
        pieces.append(blob((0.1 * s, 0.06 * s, 0.17 * s), (0, 0.07 * s, 1.58 * s), skin=hair))
    return model(pieces)


def bushy_plant(rng: np.random.Generator) -> Model:
    """Build a pot with leaves on all sides."""
    pieces, top = _pot(rng)
    size = between(rng, 0.14, 0.3)
    for k in range(int(rng.integers(12, 20))):
        angle, up = 2.4 * k, between(rng, 0.1, 1.3)
        reach = size * between(rng, 0.7, 1.2)
        tip = (reach * math.cos(angle) * math.cos(up), reach * math.sin(angle) * math.cos(up),
               top + 0.3 * size + reach * math.sin(up))
        pieces.append(_leaf((0, 0, top), tip, 0.28 * size, between(rng, 0.7, 1.15)))
    return model(pieces)


def palm(rng: np.random.Generator) -> Model:
    """Build a pot with a stem and long leaves that hang over."""
    pieces, top = _pot(rng)
    stem, long = between(rng, 0.05, 0.7), between(rng, 0.25, 0.5)
    crown = top + stem
    if stem > 0.15:
        pieces.append(drum(0.025, stem, (0, 0, top), skin=paint((0.12, 0.07, 0.03), 0.0)))
    for k in range(int(rng.integers(7, 12))):
        angle, rise = 2.4 * k + between(rng, -0.3, 0.3), between(rng, 0.5, 1.1)
        c, s = math.cos(angle), math.sin(angle)
        bend = (0.55 * long * c, 0.55 * long * s, crown + 0.6 * long * rise)
        tip = (long * c, long * s, crown + long * (0.75 * rise - 0.35))
        tint = between(rng, 0.75, 1.1)
        pieces.append(_leaf((0, 0, crown), bend, 0.045, tint))
        pieces.append(_leaf(bend, tip, 0.04, tint))
    return model(pieces)


def cactus(rng: np.random.Generator) -> Model:
    """Build a pot with a column and arms."""
    pieces, top = _pot(rng)
    high, radius = between(rng, 0.25, 0.6), between(rng, 0.05, 0.09)
    pieces.append(blob((radius, radius, 0.55 * high), (0, 0, top + 0.45 * high)))
    for side in (-1, 1)[: int(rng.integers(1, 3))]:
        level, reach = top + between(rng, 0.3, 0.5) * high, side * (radius + 0.08)
        pieces.append(limb((0, 0, level), (reach, 0, level + 0.02), 0.6 * radius, 0.95))
        pieces.append(limb((reach, 0, level), (reach, 0, level + 0.35 * high), 0.6 * radius, 0.95))
    return model(pieces)


def small_tree(rng: np.random.Generator) -> Model:
    """Build a pot with a trunk and a crown of round clumps."""
    pieces, top = _pot(rng)
    trunk, size = between(rng, 0.3, 0.8), between(rng, 0.14, 0.26)
    pieces.append(drum(0.022, trunk, (0, 0, top), skin=paint((0.1, 0.06, 0.03), 0.0)))
    for k in range(int(rng.integers(5, 9))):
        angle, spread = 2.4 * k, 0.75 * size if k else 0.0
        radius = size * between(rng, 0.5, 0.8)
        at = (spread * math.cos(angle), spread * math.sin(angle),
              top + trunk + between(rng, -0.1, 0.6) * size)
        pieces.append(blob((radius, radius, 0.85 * radius), at, between(rng, 0.75, 1.1)))
    return model(pieces)


def _pot(rng: np.random.Generator) -> tuple[list[Piece], float]:
    """Build a pot with soil in a colour of its own; return it and the height of the soil."""
    radius, high = between(rng, 0.09, 0.18), between(rng, 0.12, 0.3)
    skin = paint((0.42, 0.16, 0.08), 0.0) if rng.random() < 0.4 else any_paint(rng)
    soil = drum(0.9 * radius, 0.01, (0, 0, 0.88 * high), skin=paint(SOIL, 0.0))
    if rng.random() < 0.25:
        wide = 1.7 * radius
        return [block((wide, wide, high), skin=skin), soil], high
    rim = drum(1.06 * radius, 0.18 * high, (0, 0, 0.82 * high), skin=skin)
    return [drum(0.7 * radius, 0.85 * high, skin=skin, top=radius), rim, soil], high


def _leaf(start: tuple[float, float, float], end: tuple[float, float, float], wide: float,
          tint: float) -> Piece:  # fmt: skip
    """Build a flat leaf between two points, its broad side up."""
    vector = np.subtract(end, start)
    length = float(np.linalg.norm(vector))
    along = vector / length
    across = np.cross(along, (0.0, 0.0, 1.0))
    norm = float(np.linalg.norm(across))
    across = across / norm if norm > 1e-6 else np.array([1.0, 0.0, 0.0])
    rotation = np.column_stack([across, np.cross(along, across), along])
    x, y, z = (float(value) for value in np.add(start, end) / 2)
    return blob((wide, 0.012, 0.5 * length), (x, y, z), tint, rotation=rotation)


DESIGNS: dict[str, tuple[Design, ...]] = {
    "person": (standing_person, walking_person, person_in_dress, reaching_person),
    "plant": (bushy_plant, palm, cactus, small_tree),
}
