"""How each noun is built of primitives, in a frame that stands on the ground.

A model's origin is the middle of its footprint on the ground; lengths are metres. The little
world is toy-like: cups and bottles are larger than in a kitchen, tables are low.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sclip_research.scenes.primitives import Box, Lathe, Pyramid, Shape, Sphere
from sclip_research.scenes.textures import Finish


@dataclass(frozen=True, eq=False)
class Piece:
    """A shape of a model, its place and rotation in it, and how its finish differs.

    A `tint` other than one makes the piece plain and darker or lighter than the thing; a `skin`
    gives it a colour of its own.
    """

    shape: Shape
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: np.ndarray | None = None
    tint: float = 1.0
    glow: float = 0.0
    skin: Finish | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """The pieces of a thing, half the sides of its footprint, its height and surface for things.

    `deck` is the height at which other things may stand on it; None if they may not.
    """

    pieces: tuple[Piece, ...]
    half: tuple[float, float]
    height: float
    deck: float | None = None


def turn(angle: float, axis: int = 2) -> np.ndarray:
    """Return the rotation by an angle in radians about an axis (0, 1 or 2)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix


def build(noun: str, rng: np.random.Generator) -> Model:
    """Build a model of the noun in one of its shapes and sizes.

    Raises:
        ValueError: nothing of that name can be built.
    """
    if noun not in BUILDERS:
        raise ValueError(f"cannot build {noun!r}; choose one of {', '.join(BUILDERS)}")
    return BUILDERS[noun](rng)


def _round(piece: Lathe, *more: Piece) -> Model:
    """Wrap a turned shape as a model, with further pieces."""
    _, upper = piece.bounds()
    return Model((Piece(piece), *more), (float(upper[0]), float(upper[0])), float(upper[2]))


def _ball(rng: np.random.Generator) -> Model:
    """Turn a sphere so that its texture shows from any side."""
    radius = float(rng.uniform(0.11, 0.21))
    tilt = turn(float(rng.uniform(0, math.pi)), 2) @ turn(float(rng.uniform(0.2, 1.3)), 0)
    piece = Piece(Sphere(radius), (0.0, 0.0, radius), tilt)
    return Model((piece,), (radius, radius), 2 * radius)


def _box(rng: np.random.Generator) -> Model:
    """Draw the three edges apart."""
    x, y, z = (float(value) for value in rng.uniform(0.11, 0.21, 3))
    return Model((Piece(Box((x, y, z)), (0.0, 0.0, z)),), (x, y), 2 * z)


def _cone(rng: np.random.Generator) -> Model:
    """Point a slim cone up."""
    radius = float(rng.uniform(0.12, 0.18))
    height = radius * float(rng.uniform(2.1, 2.9))
    return _round(Lathe(((0.0, 0.0), (radius, 0.0), (0.0, height))))


def _pyramid(rng: np.random.Generator) -> Model:
    """Draw a square pyramid."""
    half = float(rng.uniform(0.15, 0.22))
    height = half * float(rng.uniform(1.4, 1.9))
    return Model((Piece(Pyramid(half, height)),), (half, half), height)


def _cylinder(rng: np.random.Generator) -> Model:
    """Build a squat cylinder with a fine bevel."""
    radius = float(rng.uniform(0.11, 0.17))
    height = radius * float(rng.uniform(1.3, 2.4))
    bevel = 0.04 * radius
    profile = (
        (0.0, 0.0), (radius, 0.0), (radius, height - bevel), (radius - bevel, height),
        (0.0, height),
    )  # fmt: skip
    return _round(Lathe(profile))


def _cup(rng: np.random.Generator) -> Model:
    """Build an open cup, dark inside, with half a ring for a handle."""
    foot = float(rng.uniform(0.08, 0.11))
    mouth = foot * float(rng.uniform(1.1, 1.35))
    height = mouth * float(rng.uniform(1.6, 2.0))
    wall = 0.09 * mouth
    outside = Lathe((
        (0.0, 0.0), (foot * 0.9, 0.0), (foot, 0.07 * height), (mouth, height),
        (mouth - wall, height),
    ))  # fmt: skip
    inside = Lathe(((mouth - wall, height), (foot - wall, 2 * wall), (0.0, 2 * wall)))
    ring, thick = 0.29 * height, 0.065 * height
    angles = np.linspace(0.0, 2 * math.pi, 7)
    section = tuple(
        (float(ring + thick * math.cos(a)), float(1.2 * thick * math.sin(a))) for a in angles
    )
    reach = 0.5 * (foot + mouth) - 0.4 * thick
    side = float(rng.uniform(-0.5, 0.5)) + (0.0 if rng.random() < 0.5 else math.pi)
    around = turn(side)
    x, y, _ = around @ np.array([reach, 0.0, 0.0])
    handle = Piece(
        Lathe(section, half_turn=True),
        (float(x), float(y), 0.53 * height),
        around @ turn(math.pi / 2, 0),
        tint=0.97,
    )
    return _round(outside, Piece(inside, tint=0.55), handle)


def _bottle(rng: np.random.Generator) -> Model:
    """Build a slim tall bottle: body, shoulder, neck and cap."""
    radius = float(rng.uniform(0.065, 0.09))
    height = radius * float(rng.uniform(5.6, 6.8))
    neck = 0.36 * radius
    body, top = 0.56 * height, 0.92 * height
    shoulder = 0.14 * height
    bend = tuple(
        (
            neck + (radius - neck) * (0.5 + 0.5 * math.cos(math.pi * s)),
            body + shoulder * s,
        )
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    glass = Lathe(((0.0, 0.0), (radius * 0.93, 0.0), (radius, 0.03 * height), *bend, (neck, top)))
    cap = Lathe(((0.0, top), (neck * 1.25, top), (neck * 1.25, height), (0.0, height)))
    return Model((Piece(glass), Piece(cap, tint=0.6)), (radius, radius), height)


def _bowl(rng: np.random.Generator) -> Model:
    """Build an open shell wider than high."""
    radius = float(rng.uniform(0.15, 0.23))
    height = radius * float(rng.uniform(0.55, 0.7))
    foot, wall = 0.42 * radius, 0.06 * radius
    steps = np.linspace(0.0, 0.5 * math.pi, 6)

    def shell(rim: float, bottom: float, base: float) -> list[tuple[float, float]]:
        """Draw a quarter of an ellipse from the bottom to the rim."""
        return [
            (
                float(base + (rim - base) * math.sin(s)),
                float(bottom + (height - bottom) * (1 - math.cos(s))),
            )
            for s in steps
        ]

    outside = Lathe((
        (0.0, 0.0), (foot, 0.0), *shell(radius, 0.06 * height, foot), (radius - wall, height),
    ))  # fmt: skip
    inside = Lathe(tuple([*reversed(shell(radius - wall, 0.16 * height, 0.3 * foot)),
                          (0.0, 0.16 * height)]))  # fmt: skip
    return _round(outside, Piece(inside, tint=0.7))


def _legs(half: tuple[float, float], height: float, thick: float, tint: float) -> list[Piece]:
    """Put four legs under the corners of a top."""
    leg = Box((thick, thick, 0.5 * height))
    return [
        Piece(leg, (sx * (half[0] - 1.3 * thick), sy * (half[1] - 1.3 * thick), 0.5 * height),
              tint=tint)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]  # fmt: skip


def _table(rng: np.random.Generator) -> Model:
    """Put a top on four legs."""
    half = (float(rng.uniform(0.55, 0.8)), float(rng.uniform(0.36, 0.5)))
    height = float(rng.uniform(0.42, 0.62))
    top, thick = 0.025, float(rng.uniform(0.03, 0.045))
    pieces = [Piece(Box((*half, top)), (0.0, 0.0, height - top))]
    pieces += _legs(half, height - 2 * top, thick, tint=0.8)
    return Model(tuple(pieces), half, height, deck=height)


def _chair(rng: np.random.Generator) -> Model:
    """Put a seat on four legs, with two posts and two slats behind."""
    half = float(rng.uniform(0.18, 0.22))
    seat = float(rng.uniform(0.36, 0.44))
    back = seat + float(rng.uniform(0.36, 0.46))
    thick = 0.022
    pieces = [Piece(Box((half, half, thick)), (0.0, 0.0, seat - thick))]
    pieces += _legs((half, half), seat - 2 * thick, thick, tint=0.8)
    posts = Box((thick, thick, 0.5 * (back - seat)))
    middle, rear = 0.5 * (seat + back), half - thick
    pieces += [Piece(posts, (s * (half - thick), rear, middle)) for s in (-1, 1)]
    slat = 0.17 * (back - seat)
    board = Box((half, 0.8 * thick, slat))
    pieces += [Piece(board, (0.0, rear, seat + h * (back - seat))) for h in (0.36, 0.83)]
    return Model(tuple(pieces), (half, half), back)


def _lamp(rng: np.random.Generator) -> Model:
    """Build a foot and pole under a glowing conical shade."""
    height = float(rng.uniform(0.5, 1.15))
    shade = float(rng.uniform(0.15, 0.2))
    tall = shade * float(rng.uniform(1.2, 1.5))
    foot = 0.62 * shade
    low = height - tall
    cloth = Lathe(((shade, low), (0.55 * shade, height)))
    base = Lathe((
        (0.0, 0.0), (foot, 0.0), (foot, 0.02), (0.03, 0.05), (0.016, 0.07), (0.016, low + 0.05),
    ))  # fmt: skip
    return Model((Piece(cloth, glow=0.45), Piece(base, tint=0.5)), (shade, shade), height)


def _rug(rng: np.random.Generator) -> Model:
    """Lay a thin rectangle or disc."""
    half = (float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.4, 0.65)))
    thick = 0.006
    if rng.random() < 0.35:
        radius = 1.1 * half[1]
        disc = Lathe(((0.0, 0.0), (radius, 0.0), (radius, 2 * thick), (0.0, 2 * thick)))
        return _round(disc)
    return Model((Piece(Box((*half, thick)), (0.0, 0.0, thick)),), half, 2 * thick)


def _door(rng: np.random.Generator) -> Model:
    """A door whose back lies in the wall, with frame, four panels and a knob; it faces -y."""
    half, tall = float(rng.uniform(0.38, 0.46)), float(rng.uniform(1.8, 2.0))
    pieces = [Piece(Box((half, 0.03, 0.5 * tall)), (0.0, 0.0, 0.5 * tall))]
    frame = 0.035
    for side in (-1, 1):
        post = Box((frame, 0.05, 0.5 * tall + frame))
        pieces.append(Piece(post, (side * (half + frame), 0.0, 0.5 * tall + frame), tint=0.75))
    pieces.append(Piece(Box((half, 0.05, frame)), (0.0, 0.0, tall + frame), tint=0.75))
    for side in (-1, 1):
        for low, high in ((0.1, 0.45), (0.55, 0.92)):
            panel = Box((0.34 * half, 0.016, 0.5 * (high - low) * tall))
            pieces.append(Piece(panel, (side * 0.47 * half, -0.03, 0.5 * (low + high) * tall),
                                tint=0.9))  # fmt: skip
    knob = 0.035
    pieces.append(Piece(Sphere(knob), (0.86 * half, -0.06, 0.5 * tall), tint=0.4))
    return Model(tuple(pieces), (half + 2 * frame, 0.05), tall + 2 * frame)


BUILDERS: dict[str, Callable[[np.random.Generator], Model]] = {
    "ball": _ball,
    "box": _box,
    "cone": _cone,
    "cup": _cup,
    "bottle": _bottle,
    "bowl": _bowl,
    "pyramid": _pyramid,
    "cylinder": _cylinder,
    "chair": _chair,
    "table": _table,
    "lamp": _lamp,
    "rug": _rug,
    "door": _door,
}
