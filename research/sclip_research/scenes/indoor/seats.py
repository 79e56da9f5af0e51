"""Chairs, stools, sofas, beds and pillows."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.indoor.building import (
    PALE,
    Design,
    any_paint,
    between,
    blob,
    block,
    drum,
    legs,
    lying,
    model,
    one_of,
    paint,
    ring,
    rod,
    steel,
    toy,
    turned,
)
from sclip_research.scenes.primitives import Lathe


def solid_chair(rng: np.random.Generator) -> Model:
    """Build a kitchen chair with a closed, leaning back."""
    wide, seat = between(rng, 0.38, 0.48), between(rng, 0.40, 0.48)
    tall, thick = between(rng, 0.35, 0.55), between(rng, 0.03, 0.06)
    lean = turn(between(rng, -0.22, -0.05), 0)
    skin = steel(rng) if rng.random() < 0.5 else None
    return model([
        block((wide, wide, thick), (0, 0, seat - thick)),
        block((wide, 0.03, tall), (0, 0.5 * wide + 0.02, seat), rotation=lean),
        *legs((wide, wide), seat - thick, 0.035, 0.75, skin, True, between(rng, 0.0, 0.05)),
    ])  # fmt: skip


def office_chair(rng: np.random.Generator) -> Model:
    """Build a swivel chair: five feet with castors, column, seat, back, perhaps arms."""
    wide, seat = between(rng, 0.44, 0.54), between(rng, 0.42, 0.54)
    tall = between(rng, 0.4, 0.65)
    metal = steel(rng)
    pieces = []
    for k in range(5):
        angle = 0.3 + 2 * math.pi * k / 5
        x, y = 0.29 * math.cos(angle), 0.29 * math.sin(angle)
        pieces.append(rod((0, 0, 0.11), (x, y, 0.06), 0.022, skin=metal))
        pieces.append(blob((0.03, 0.03, 0.03), (x, y, 0.03), skin=paint((0.01, 0.01, 0.01))))
    pieces.append(rod((0, 0, 0.08), (0, 0, seat - 0.06), 0.03, skin=metal))
    pieces.append(block((wide, wide, 0.08), (0, 0, seat - 0.08)))
    back = turn(between(rng, -0.2, -0.05), 0)
    pieces.append(block((0.9 * wide, 0.06, tall), (0, 0.5 * wide, seat + 0.08), rotation=back))
    pieces.append(rod((0, 0.4 * wide, seat - 0.04), (0, 0.53 * wide, seat + 0.2), 0.02, skin=metal))
    if rng.random() < 0.6:
        for side in (-1, 1):
            x = side * (0.5 * wide + 0.02)
            pieces.append(rod((x, 0.05, seat - 0.05), (x, 0.05, seat + 0.2), 0.016, skin=metal))
            pieces.append(block((0.05, 0.28, 0.03), (x, 0.02, seat + 0.2), 0.7))
    return model(pieces)


def tube_chair(rng: np.random.Generator) -> Model:
    """Build a cantilever chair of bent tube with a shell for seat and back."""
    wide, seat, tall = between(rng, 0.42, 0.5), between(rng, 0.42, 0.47), between(rng, 0.32, 0.45)
    metal, half = steel(rng), 0.25
    pieces = [block((wide, 0.44, 0.025), (0, 0, seat)),
              block((wide, 0.025, tall), (0, 0.24, seat + 0.03), rotation=turn(-0.15, 0))]
    for side in (-1, 1):
        x = side * 0.5 * wide
        path = [(x, half, 0.02), (x, -half + 0.03, 0.02), (x, -half + 0.03, seat),
                (x, half - 0.03, seat), (x, half + 0.05, seat + 0.9 * tall)]
        pieces += [rod(a, b, 0.014, skin=metal) for a, b in zip(path[:-1], path[1:], strict=True)]
    pieces.append(rod((-0.5 * wide, half, 0.02), (0.5 * wide, half, 0.02), 0.014, skin=metal))
    return model(pieces)


def spindle_chair(rng: np.random.Generator) -> Model:
    """Build a chair with round seat and a back of thin bars."""
    half, seat = between(rng, 0.19, 0.23), between(rng, 0.42, 0.48)
    tall = between(rng, 0.36, 0.5)
    pieces = [drum(half, 0.035, (0, 0, seat - 0.035)),
              *legs((1.7 * half, 1.7 * half), seat - 0.03, 0.035, 0.85, None, True, 0.04)]
    for x in np.linspace(-0.8, 0.8, int(rng.integers(4, 7))) * half:
        y = math.sqrt(half * half - x * x)
        pieces.append(rod((x, 0.9 * y, seat), (1.1 * x, half + 0.06, seat + tall), 0.011))
    pieces.append(block((1.9 * half, 0.035, 0.07), (0, half + 0.06, seat + tall - 0.03)))
    return model(pieces)


def round_stool(rng: np.random.Generator) -> Model:
    """Build a stool with three splayed legs."""
    radius, high = between(rng, 0.15, 0.2), between(rng, 0.35, 0.55)
    pieces = [drum(radius, 0.04, (0, 0, high - 0.04))]
    for k in range(3):
        c, s = math.cos(2.1 * k), math.sin(2.1 * k)
        pieces.append(rod((1.1 * radius * c, 1.1 * radius * s, 0),
                          (0.65 * radius * c, 0.65 * radius * s, high - 0.03), 0.018, 0.8))
    return model(pieces)


def bar_stool(rng: np.random.Generator) -> Model:
    """Build a high stool on one column with a foot plate and a ring to rest feet on."""
    radius, high = between(rng, 0.16, 0.2), between(rng, 0.6, 0.8)
    metal = steel(rng)
    return model([
        drum(radius, 0.07, (0, 0, high - 0.07)), drum(0.2, 0.02, skin=metal),
        rod((0, 0, 0), (0, 0, high - 0.05), 0.028, skin=metal),
        ring(0.14, 0.012, (0, 0, 0.28), skin=metal),
        rod((-0.14, 0, 0.28), (0.14, 0, 0.28), 0.01, skin=metal),
    ])  # fmt: skip


def square_stool(rng: np.random.Generator) -> Model:
    """Build a stool with four legs and bars between them."""
    wide, high = between(rng, 0.28, 0.38), between(rng, 0.38, 0.5)
    bar = 0.42 * high
    reach = 0.5 * wide - 0.035
    return model([
        block((wide, wide, 0.04), (0, 0, high - 0.04)),
        *legs((wide, wide), high - 0.04, 0.035, 0.8),
        *(block((0.02, wide - 0.08, 0.03), (s * reach, 0, bar), 0.8) for s in (-1, 1)),
        *(block((wide - 0.08, 0.02, 0.03), (0, s * reach, 0.7 * bar), 0.8) for s in (-1, 1)),
    ])  # fmt: skip


def block_sofa(rng: np.random.Generator) -> Model:
    """Build a sofa with two or three cushions between square arms."""
    seats = int(rng.integers(2, 4))
    wide, deep = seats * between(rng, 0.5, 0.64), between(rng, 0.62, 0.78)
    seat, back, arm = between(rng, 0.36, 0.44), between(rng, 0.3, 0.44), between(rng, 0.12, 0.2)
    foot = between(rng, 0.04, 0.12)
    pieces = [block((wide, deep, seat - foot - 0.1), (0, 0, foot), 0.9),
              block((wide, 0.18, back), (0, 0.5 * deep - 0.09, seat - 0.1))]
    for k in range(seats):
        x = (k - 0.5 * (seats - 1)) * wide / seats
        width = wide / seats - 0.015
        pieces.append(block((width, deep - 0.2, 0.12), (x, -0.1, seat - 0.1)))
        pieces.append(block((width, 0.13, back), (x, 0.5 * deep - 0.22, seat + 0.02), 1.05,
                            rotation=turn(-0.12, 0)))
    for side in (-1, 1):
        at = (side * 0.5 * (wide + arm), 0, foot)
        pieces.append(block((arm, deep, seat + 0.18 - foot), at, 0.95))
    pieces += _cushions(rng, wide, seat)
    pieces += legs((wide, deep), foot, 0.05, skin=steel(rng))
    return model(pieces, seat + 0.02)


def round_sofa(rng: np.random.Generator) -> Model:
    """Build a sofa with rolled arms and a rolled back."""
    wide, deep = between(rng, 1.0, 1.8), between(rng, 0.66, 0.8)
    seat, back, roll = between(rng, 0.36, 0.44), between(rng, 0.3, 0.4), between(rng, 0.09, 0.12)
    roller = ((0.0, 0.0), (roll, 0.0), (roll, deep), (0.0, deep))
    pieces = [block((wide, deep, seat - 0.05), (0, 0, 0.05)),
              block((wide, 0.16, back), (0, 0.5 * deep - 0.08, seat)),
              turned(((roll, 0.0), (roll, wide)), (-0.5 * wide, 0.5 * deep - 0.08, seat + back),
                     rotation=lying())]
    for side in (-1, 1):
        x = side * (0.5 * wide + 0.5 * roll)
        pieces.append(block((1.3 * roll, deep, seat + 0.08), (x, 0, 0.02), 0.92))
        pieces.append(Piece(Lathe(roller), (x, -0.5 * deep, seat + 0.14), turn(-0.5 * math.pi, 0)))
    return model(pieces + _cushions(rng, wide, seat), seat)


def corner_sofa(rng: np.random.Generator) -> Model:
    """Build a sofa with a long seat at one side."""
    wide, deep, long = between(rng, 1.5, 2.0), between(rng, 0.68, 0.8), between(rng, 1.1, 1.4)
    seat, back, side = between(rng, 0.34, 0.42), between(rng, 0.3, 0.4), one_of(rng, (-1, 1))
    x = side * (0.5 * wide - 0.35)
    shift = 0.5 * (long - deep)
    return model([
        block((wide, deep, seat - 0.06), (0, shift, 0.06)),
        block((0.7, long, seat - 0.06), (x, 0, 0.06), 0.97),
        block((wide, 0.16, back), (0, 0.5 * long - 0.08, seat)),
        block((0.16, deep, 0.2), (-side * (0.5 * wide - 0.08), shift, seat)),
        *_cushions(rng, wide, seat),
    ], seat)  # fmt: skip


def _cushions(rng: np.random.Generator, wide: float, seat: float) -> list[Piece]:
    """Lean up to two cushions of another colour, which belong to the sofa, against its back."""
    return [blob((0.17, 0.07, 0.15), (between(rng, -0.4, 0.4) * wide, 0.1, seat + 0.15),
                 skin=any_paint(rng, 0.0), rotation=turn(-0.3, 0))
            for _ in range(int(rng.integers(0, 2)))]  # fmt: skip


def headboard_bed(rng: np.random.Generator) -> Model:
    """Build a bed with headboard, mattress, blanket and pillows; the blanket has the colour."""
    wide, long, high = between(rng, 0.85, 1.5), between(rng, 1.7, 2.0), between(rng, 0.3, 0.5)
    wood = paint(one_of(rng, [(0.2, 0.1, 0.04), (0.5, 0.35, 0.2), (0.75, 0.75, 0.72)]))
    pieces = [block((wide + 0.06, long, high - 0.15), (0, 0, 0.08), skin=wood),
              block((wide + 0.08, 0.06, high + between(rng, 0.3, 0.6)), (0, 0.5 * long, 0),
                    skin=wood),
              block((wide, long - 0.06, 0.14), (0, -0.02, high - 0.07), skin=paint(PALE, 0.0)),
              block((wide + 0.05, 0.7 * long, 0.16), (0, -0.15 * long - 0.02, high - 0.06))]
    return model(pieces + _bed_pillows(rng, wide, long, high + 0.07), high + 0.1)


def metal_bed(rng: np.random.Generator) -> Model:
    """Build a bed of bars, with a grid at head and foot."""
    wide, long, high = between(rng, 0.85, 1.2), between(rng, 1.7, 2.0), between(rng, 0.35, 0.5)
    metal = steel(rng)
    pieces = [block((wide, long, 0.18), (0, 0, high - 0.1)),
              block((wide, 0.25 * long, 0.18), (0, 0.37 * long, high - 0.09),
                    skin=paint(PALE, 0.0))]
    for end, tall in ((-1, high + 0.2), (1, high + 0.5)):
        y = 0.5 * end * (long + 0.05)
        for x in np.linspace(-0.5, 0.5, 6) * wide:
            pieces.append(rod((x, y, 0.0), (x, y, tall), 0.014, skin=metal))
        pieces.append(rod((-0.5 * wide, y, tall), (0.5 * wide, y, tall), 0.02, skin=metal))
    return model(pieces + _bed_pillows(rng, wide, long, high + 0.08), high + 0.08)


def box_bed(rng: np.random.Generator) -> Model:
    """Build a padded bed down to the floor with a thick mattress."""
    wide, long, high = between(rng, 0.9, 1.6), between(rng, 1.8, 2.0), between(rng, 0.28, 0.4)
    return model([
        block((wide, long, high), tint=0.85),
        block((wide - 0.02, long - 0.02, 0.16), (0, 0, high), skin=paint(PALE, 0.0)),
        block((wide + 0.02, 0.62 * long, 0.18), (0, -0.19 * long, high)),
        block((wide + 0.1, 0.12, high + 0.55), (0, 0.5 * long + 0.05, 0), 0.9),
        *_bed_pillows(rng, wide, long, high + 0.16),
    ], high + 0.18)  # fmt: skip


def _bed_pillows(rng: np.random.Generator, wide: float, long: float, high: float) -> list[Piece]:
    """Put pillows, which belong to the bed, at its head."""
    count = 2 if wide > 1.1 else 1
    skin = any_paint(rng, 0.0) if rng.random() < 0.3 else paint(PALE, 0.0)
    return [blob((0.28, 0.18, 0.09), ((k - 0.5 * (count - 1)) * 0.6, 0.38 * long, high + 0.04),
                 skin=skin) for k in range(count)]  # fmt: skip


def flat_pillow(rng: np.random.Generator) -> Model:
    """Build a soft pillow that lies."""
    half = (between(rng, 0.2, 0.3), between(rng, 0.16, 0.24), between(rng, 0.06, 0.1))
    return model(_pillow(half, (0.0, 0.0, half[2]), np.eye(3)))


def leaning_pillow(rng: np.random.Generator) -> Model:
    """Build a square cushion that stands on an edge."""
    side = between(rng, 0.17, 0.24)
    upright = turn(between(rng, 1.1, 1.5), 0)
    return model(_pillow((side, side, 0.08), (0.0, 0.0, side), upright))


def _pillow(half: tuple[float, float, float], at: tuple[float, float, float],
            rotation: np.ndarray) -> list[Piece]:  # fmt: skip
    """Build a soft body that lies flat before it is turned, with four corners."""
    pieces = [blob(half, at, rotation=rotation)]
    for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        corner = np.array([0.55 * x * half[0], 0.55 * y * half[1], 0.0])
        px, py, pz = rotation @ corner + np.array(at)
        around = rotation @ turn(0.25 * math.pi * x * y * half[1] / half[0])
        size = (0.48 * half[0], 0.36 * half[1], 0.62 * half[2])
        pieces.append(blob(size, (float(px), float(py), float(pz)), rotation=around))
    return pieces


def bolster(rng: np.random.Generator) -> Model:
    """Build a round roll."""
    radius, long = between(rng, 0.08, 0.12), between(rng, 0.4, 0.6)
    roll = ((0.0, 0.0), (0.7 * radius, 0.0), (radius, 0.05), (radius, long - 0.05),
            (0.7 * radius, long), (0.0, long))
    return model([turned(roll, (-0.5 * long, 0, radius), rotation=lying())])


DESIGNS: dict[str, tuple[Design, ...]] = {
    "chair": (toy("chair"), solid_chair, office_chair, tube_chair, spindle_chair),
    "stool": (round_stool, bar_stool, square_stool),
    "sofa": (block_sofa, round_sofa, corner_sofa),
    "bed": (headboard_bed, metal_bed, box_bed),
    "pillow": (flat_pillow, leaning_pillow, bolster),
}
