"""Lamps, monitors, keyboards and cables."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.colours import COLOURS, mix, sample_colour
from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.indoor.building import (
    DARK,
    PALE,
    Design,
    between,
    blob,
    block,
    drum,
    model,
    one_of,
    paint,
    ring,
    rod,
    steel,
    toy,
    turned,
)
from sclip_research.scenes.textures import Finish


def table_lamp(rng: np.random.Generator) -> Model:
    """Build a bellied foot under a cylindrical shade."""
    shade, tall = between(rng, 0.1, 0.18), between(rng, 0.14, 0.22)
    foot, low = 0.6 * shade, between(rng, 0.18, 0.28)
    base = [(0, 0), (foot, 0), (foot, 0.02), (0.5 * foot, 0.04), (0.9 * foot, 0.35 * low),
            (0.2 * foot, 0.8 * low), (0.1 * foot, low + 0.06)]
    return model([turned(base, tint=0.6),
                  _glowing(turned(((shade, low), (0.85 * shade, low + tall))), rng)])


def globe_lamp(rng: np.random.Generator) -> Model:
    """Build a ball of light on a pole or a short foot."""
    radius = between(rng, 0.1, 0.17)
    pole = between(rng, 0.05, 0.2) if rng.random() < 0.5 else between(rng, 0.6, 1.2)
    metal = steel(rng)
    return model([drum(0.8 * radius, 0.02, skin=metal), rod((0, 0, 0), (0, 0, pole), 0.014,
                                                            skin=metal),
                  _glowing(blob((radius, radius, radius), (0, 0, pole + 0.9 * radius)), rng)])


def arm_lamp(rng: np.random.Generator) -> Model:
    """Build a work lamp: foot, bent arm, conical head."""
    first, second = between(rng, 0.25, 0.5), between(rng, 0.2, 0.4)
    head = between(rng, 0.08, 0.13)
    elbow = (-0.25 * first, 0.0, first)
    end = (elbow[0] + 0.8 * second, 0.0, elbow[2] + 0.5 * second)
    tilt = turn(between(rng, 0.2, 0.8), 1)
    metal = steel(rng) if rng.random() < 0.5 else None
    return model([drum(0.1, 0.025), rod((0, 0, 0.02), elbow, 0.012, 0.8, metal),
                  rod(elbow, end, 0.012, 0.8, metal),
                  _glowing(turned(((0.35 * head, 0.0), (head, -1.3 * head)), end, rotation=tilt),
                           rng),
                  blob((0.4 * head, 0.4 * head, 0.4 * head), end)])


def _glowing(piece: Piece, rng: np.random.Generator) -> Piece:
    """Let a shade give light, or be off."""
    glow = between(rng, 0.3, 0.6) if rng.random() < 0.7 else 0.0
    return Piece(piece.shape, piece.position, piece.rotation, piece.tint, glow)


def _screen(rng: np.random.Generator) -> Finish:
    """Return what a screen shows: nothing, lines of text, a picture."""
    draw = rng.random()
    if draw < 0.35:
        return paint((0.012, 0.013, 0.016), 0.6)
    base = sample_colour(one_of(rng, list(COLOURS)), rng, muted=0.7)
    other = mix(base, one_of(rng, [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)]), 0.7)
    pattern = "striped" if draw < 0.65 else one_of(rng, ["art", "plain"])
    return Finish(base, other, pattern, between(rng, 0.03, 0.12), 0.3, between(rng, 0.5, 0.8),
                  (between(rng, 0, 2), between(rng, 0, 2)))


def desk_monitor(rng: np.random.Generator) -> Model:
    """Build a screen on a neck with a flat foot."""
    wide = between(rng, 0.45, 0.75)
    tall, low = wide * between(rng, 0.54, 0.64), between(rng, 0.1, 0.18)
    tilt, rim = turn(between(rng, -0.12, 0.02), 0), between(rng, 0.025, 0.05)
    return model([block((wide, 0.04, tall), (0, 0, low), rotation=tilt),
                  block((wide - rim, 0.012, tall - rim), (0, -0.018, low + 0.5 * rim),
                        skin=_screen(rng), rotation=tilt),
                  rod((0, 0.05, 0), (0, 0.03, low + 0.4 * tall), 0.025, 0.8),
                  block((0.4 * wide, 0.2, 0.015), tint=0.8)])


def big_screen(rng: np.random.Generator) -> Model:
    """Build a large flat screen on two feet."""
    wide = between(rng, 0.8, 1.3)
    tall, rim = 0.57 * wide, between(rng, 0.03, 0.06)
    feet = [block((0.03, 0.24, 0.06), (s * 0.35 * wide, 0, 0), 0.9) for s in (-1, 1)]
    return model([block((wide, 0.05, tall), (0, 0, 0.06)),
                  block((wide - rim, 0.02, tall - rim), (0, -0.02, 0.06 + 0.5 * rim),
                        skin=_screen(rng)), *feet])


def tube_monitor(rng: np.random.Generator) -> Model:
    """Build an old deep monitor."""
    wide = between(rng, 0.36, 0.48)
    tall = 0.85 * wide
    return model([block((wide, 0.16, tall), (0, -0.1, 0.06)),
                  block((0.7 * wide, 0.24, 0.7 * tall), (0, 0.08, 0.1), 0.85),
                  block((0.82 * wide, 0.02, 0.72 * tall), (0, -0.175, 0.06 + 0.17 * tall),
                        skin=_screen(rng)),
                  drum(0.3 * wide, 0.06, tint=0.8)])


def wide_keyboard(rng: np.random.Generator) -> Model:
    """Build a keyboard with a block of numbers."""
    wide, deep = between(rng, 0.44, 0.56), between(rng, 0.15, 0.19)
    keys = _keys(rng)
    return model([block((wide, deep, 0.022)),
                  block((0.68 * wide, 0.78 * deep, 0.014), (-0.13 * wide, 0, 0.02), skin=keys),
                  block((0.2 * wide, 0.78 * deep, 0.014), (0.36 * wide, 0, 0.02), skin=keys)])


def small_keyboard(rng: np.random.Generator) -> Model:
    """Build a keyboard without numbers, with thick high keys."""
    wide, deep = between(rng, 0.32, 0.42), between(rng, 0.13, 0.16)
    rows = 4
    keys = _keys(rng)
    pieces = [block((wide, deep, 0.03))]
    for k in range(rows):
        y = (k - 0.5 * (rows - 1)) * 0.86 * deep / rows
        pieces.append(block((0.94 * wide, 0.17 * deep, 0.018), (0, y, 0.028 + 0.003 * k),
                            skin=keys))
    return model(pieces)


def split_keyboard(rng: np.random.Generator) -> Model:
    """Build a keyboard of two halves at an angle, with rests for the palms."""
    wide, deep = between(rng, 0.22, 0.26), between(rng, 0.15, 0.18)
    keys = _keys(rng)
    pieces = []
    for s in (-1, 1):
        around = turn(-s * between(rng, 0.1, 0.25))
        x = s * (0.55 * wide + 0.02)
        pieces.append(block((wide, deep + 0.07, 0.024), (x, -0.02, 0), rotation=around))
        pieces.append(block((0.9 * wide, 0.75 * deep, 0.014), (x, 0.02, 0.022), skin=keys,
                            rotation=around))
    return model(pieces)


def _keys(rng: np.random.Generator) -> Finish:
    """Return the pattern of keys: dark ones with pale gaps or the other way round."""
    dark = rng.random() < 0.6
    tone, gap = ((0.03, 0.03, 0.035), (0.3, 0.3, 0.3)) if dark else (PALE, DARK)
    return Finish(tone, gap, "keys", 0.024, 0.1)


def snake(rng: np.random.Generator) -> Model:
    """Lay a cable in a winding line."""
    return model(_winding(rng, between(rng, 0.8, 1.6), int(rng.integers(8, 13))))


def coil(rng: np.random.Generator) -> Model:
    """Lay a cable in a coil with two loose ends."""
    radius, thick = between(rng, 0.12, 0.24), between(rng, 0.012, 0.02)
    rings = [ring(radius * (1 - 0.09 * k), thick, (0.02 * (k % 2), 0.015 * k, thick * (1 + k % 3)))
             for k in range(int(rng.integers(2, 5)))]
    ends = [rod((radius * 0.9, 0, thick), (radius + 0.2, -0.15, thick), thick),
            rod((radius + 0.2, -0.15, thick), (radius + 0.3, 0.05, thick), thick)]
    return model([*rings, *ends])


def extension_lead(rng: np.random.Generator) -> Model:
    """Lay a cable that ends in a strip of sockets."""
    pieces = _winding(rng, between(rng, 0.5, 0.9), 7)
    last = pieces[-1].position
    strip = (last[0] + 0.16, last[1], 0.0)
    sockets = [drum(0.02, 0.004, (strip[0] + 0.06 * k, strip[1], 0.045), skin=paint(DARK))
               for k in (-1.5, -0.5, 0.5, 1.5)]
    return model([*pieces, block((0.32, 0.07, 0.045), strip), *sockets])


def _winding(rng: np.random.Generator, long: float, steps: int) -> list[Piece]:
    """Join short bars along a curve on the floor."""
    thick, angle = between(rng, 0.011, 0.02), between(rng, -0.6, 0.6)
    points = [np.zeros(2)]
    for _ in range(steps):
        angle += between(rng, -0.75, 0.75) - 0.12 * angle
        points.append(points[-1] + long / steps * np.array([math.cos(angle), math.sin(angle)]))
    path = np.array(points) - np.mean(points, axis=0)
    ends = [(float(x), float(y), thick) for x, y in path]
    return [rod(a, b, thick) for a, b in zip(ends[:-1], ends[1:], strict=True)]


DESIGNS: dict[str, tuple[Design, ...]] = {
    "lamp": (toy("lamp"), table_lamp, globe_lamp, arm_lamp),
    "monitor": (desk_monitor, big_screen, tube_monitor),
    "keyboard": (wide_keyboard, small_keyboard, split_keyboard),
    "cable": (snake, coil, extension_lead),
}
