"""Short words for the pieces that furniture is built of.

A model's origin is the middle of its footprint on the ground; it looks towards -y, so that its back
can stand against a wall. Lengths are metres, sizes are whole sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sclip_research.scenes.colours import COLOURS, LinearColour, sample_colour
from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.furniture import build as build_toy
from sclip_research.scenes.primitives import Box, Ellipsoid, Lathe
from sclip_research.scenes.textures import Finish

Point = tuple[float, float, float]
Design = Callable[[np.random.Generator], Model]
DARK: LinearColour = (0.012, 0.012, 0.014)
STEEL: LinearColour = (0.30, 0.30, 0.32)
PALE: LinearColour = (0.80, 0.79, 0.75)


def toy(noun: str) -> Design:
    """Return the toy world's design of a noun."""
    def design(rng: np.random.Generator) -> Model:
        """Build it."""
        return build_toy(noun, rng)
    return design


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number."""
    return float(rng.uniform(low, high))


def one_of(rng: np.random.Generator, options: Sequence):
    """Draw one of several."""
    return options[int(rng.integers(len(options)))]


def paint(colour: LinearColour, gloss: float = 0.08, glow: float = 0.0) -> Finish:
    """Return the finish of a piece that has a colour of its own, whatever the thing is called."""
    return Finish(colour, colour, gloss=gloss, glow=glow)


def any_paint(rng: np.random.Generator, gloss: float = 0.08) -> Finish:
    """Return the finish of a piece in some colour."""
    return paint(sample_colour(one_of(rng, list(COLOURS)), rng, muted=0.8), gloss)


def steel(rng: np.random.Generator) -> Finish:
    """Return the finish of legs and frames: bright or black metal."""
    return paint(one_of(rng, [STEEL, DARK, (0.55, 0.55, 0.57)]), gloss=0.5)


def block(size: Point, at: Point = (0.0, 0.0, 0.0), tint: float = 1.0, skin: Finish | None = None,
          rotation: np.ndarray | None = None) -> Piece:  # fmt: skip
    """Stand a cuboid of a size with the middle of its bottom at a point."""
    x, y, z = (0.5 * side for side in size)
    return Piece(Box((x, y, z)), (at[0], at[1], at[2] + z), rotation, tint, skin=skin)


def blob(half: Point, at: Point, tint: float = 1.0, skin: Finish | None = None,
         rotation: np.ndarray | None = None) -> Piece:  # fmt: skip
    """Put an ellipsoid with these half axes around a point."""
    return Piece(Ellipsoid(half), at, rotation, tint, skin=skin)


def turned(profile: Sequence[tuple[float, float]], at: Point = (0.0, 0.0, 0.0), tint: float = 1.0,
           skin: Finish | None = None, rotation: np.ndarray | None = None) -> Piece:  # fmt: skip
    """Turn a profile of (radius, height) around the vertical through a point."""
    steps = tuple((float(radius), float(height)) for radius, height in profile)
    return Piece(Lathe(steps), at, rotation, tint, skin=skin)


def drum(radius: float, height: float, at: Point = (0.0, 0.0, 0.0), tint: float = 1.0,
         skin: Finish | None = None, top: float | None = None) -> Piece:  # fmt: skip
    """Stand a closed cylinder; with `top` its upper radius differs."""
    upper = radius if top is None else top
    return turned(((0.0, 0.0), (radius, 0.0), (upper, height), (0.0, height)), at, tint, skin)


def rod(start: Point, end: Point, radius: float, tint: float = 1.0,
        skin: Finish | None = None) -> Piece:  # fmt: skip
    """Join two points by a round bar."""
    vector = np.subtract(end, start)
    length = float(np.linalg.norm(vector))
    return Piece(Lathe(((radius, 0.0), (radius, length))), start, _upright_to(vector / length),
                 tint, skin=skin)  # fmt: skip


def limb(start: Point, end: Point, radius: float, tint: float = 1.0,
         skin: Finish | None = None) -> Piece:  # fmt: skip
    """Join two points by an elongated ellipsoid, for arms, legs and leaves."""
    vector = np.subtract(end, start)
    length = float(np.linalg.norm(vector))
    middle = np.add(start, end) / 2
    at = (float(middle[0]), float(middle[1]), float(middle[2]))
    half = (radius, radius, 0.5 * length + 0.5 * radius)
    return Piece(Ellipsoid(half), at, _upright_to(vector / length), tint, skin=skin)


def _upright_to(direction: np.ndarray) -> np.ndarray:
    """Return a rotation that takes the z axis to a direction of length one."""
    other = np.array([1.0, 0.0, 0.0]) if abs(direction[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    x = np.cross(other, direction)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(direction, x), direction])


def ring(radius: float, thick: float, at: Point, rotation: np.ndarray | None = None,
         tint: float = 1.0, skin: Finish | None = None) -> Piece:  # fmt: skip
    """Lay a torus."""
    angles = np.linspace(0.0, 2 * math.pi, 8)
    profile = [(radius + thick * math.cos(a), thick * math.sin(a)) for a in angles]
    return turned(profile, at, tint, skin, rotation)


def legs(size: tuple[float, float], height: float, thick: float, tint: float = 1.0,
         skin: Finish | None = None, round_ones: bool = False, splay: float = 0.0,
         ) -> list[Piece]:  # fmt: skip
    """Put four legs under the corners of a top of this size."""
    pieces = []
    for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        px, py = x * (0.5 * size[0] - thick), y * (0.5 * size[1] - thick)
        if round_ones or splay:
            foot = (px + x * splay, py + y * splay, 0.0)
            pieces.append(rod(foot, (px, py, height), 0.6 * thick, tint, skin))
        else:
            pieces.append(block((thick, thick, height), (px, py, 0.0), tint, skin))
    return pieces


def model(pieces: Sequence[Piece], deck: float | None = None) -> Model:
    """Wrap pieces as a model; footprint and height are measured."""
    corners = np.concatenate([_corners(piece) for piece in pieces])
    half = np.abs(corners[:, :2]).max(axis=0)
    return Model(tuple(pieces), (float(half[0]), float(half[1])), float(corners[:, 2].max()), deck)


def _corners(piece: Piece) -> np.ndarray:
    """Return the corners (8, 3) of a piece's box."""
    bounds = piece.shape.bounds()
    grid = np.array(np.meshgrid(*zip(*bounds, strict=True), indexing="ij")).reshape(3, -1).T
    if piece.rotation is not None:
        grid = grid @ piece.rotation.T
    return grid + np.array(piece.position)


def lying(angle: float = 0.0) -> np.ndarray:
    """Return the rotation that lays an upright shape down along x, then turns it."""
    return turn(angle) @ turn(0.5 * math.pi, 1)
