"""Tables, shelves, cabinets, boxes, pallets, bins and buckets."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.indoor.building import (
    DARK,
    PALE,
    Design,
    any_paint,
    between,
    block,
    drum,
    legs,
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

TAPE = (0.42, 0.27, 0.10)


def four_legged_table(rng: np.random.Generator) -> Model:
    """Build a dining or coffee table."""
    wide, deep = between(rng, 0.8, 1.7), between(rng, 0.55, 0.9)
    high, thick = between(rng, 0.38, 0.78), between(rng, 0.025, 0.05)
    skin = steel(rng) if rng.random() < 0.4 else None
    return model([block((wide, deep, thick), (0, 0, high - thick)),
                  *legs((wide, deep), high - thick, between(rng, 0.035, 0.07), 0.8, skin,
                        rng.random() < 0.5, 0.0)], high)  # fmt: skip


def round_table(rng: np.random.Generator) -> Model:
    """Build a round top on a column with a foot."""
    radius, high = between(rng, 0.32, 0.6), between(rng, 0.45, 0.78)
    skin = steel(rng) if rng.random() < 0.5 else None
    return model([drum(radius, 0.03, (0, 0, high - 0.03)),
                  rod((0, 0, 0), (0, 0, high - 0.02), between(rng, 0.03, 0.06), 0.8, skin),
                  drum(0.5 * radius, 0.03, tint=0.8, skin=skin)], high)  # fmt: skip


def trestle_table(rng: np.random.Generator) -> Model:
    """Build a top on two crossed trestles."""
    wide, deep, high = between(rng, 1.1, 1.8), between(rng, 0.6, 0.8), between(rng, 0.68, 0.76)
    skin = steel(rng) if rng.random() < 0.4 else None
    pieces = [block((wide, deep, 0.03), (0, 0, high - 0.03))]
    for x in (-0.38 * wide, 0.38 * wide):
        for y in (-0.4 * deep, 0.4 * deep):
            pieces.append(rod((x, y, 0), (x, -0.8 * y, high - 0.03), 0.024, 0.8, skin))
    return model(pieces, high)


def desk(rng: np.random.Generator) -> Model:
    """Build a desk with a chest of drawers on one side and a panel on the other."""
    wide, deep, high = between(rng, 1.1, 1.6), between(rng, 0.6, 0.75), between(rng, 0.7, 0.76)
    side = one_of(rng, (-1, 1))
    x = side * (0.5 * wide - 0.2)
    pieces = [block((wide, deep, 0.03), (0, 0, high - 0.03)),
              block((0.38, deep - 0.06, high - 0.03), (x, 0, 0), 0.85),
              block((0.03, deep - 0.06, high - 0.03), (-side * (0.5 * wide - 0.03), 0, 0), 0.85),
              block((wide - 0.1, 0.02, 0.3), (0, 0.4 * deep, high - 0.35), 0.8)]
    for k in range(3):
        z = 0.06 + k * (high - 0.12) / 3
        pieces.append(block((0.34, 0.02, (high - 0.12) / 3 - 0.02), (x, -0.5 * deep + 0.03, z)))
        pieces.append(block((0.12, 0.02, 0.02), (x, -0.5 * deep + 0.015, z + 0.12),
                            skin=steel(rng)))
    return model(pieces, high)


def bookcase(rng: np.random.Generator) -> Model:
    """Build a bookcase with rows of books, which belong to it."""
    wide, deep = between(rng, 0.6, 1.1), between(rng, 0.25, 0.35)
    levels = int(rng.integers(2, 6))
    step = between(rng, 0.3, 0.38)
    high = levels * step + 0.05
    pieces = _carcass(wide, deep, high, back=rng.random() < 0.8)
    for k in range(1, levels):
        pieces.append(block((wide - 0.04, deep - 0.01, 0.025), (0, 0, k * step)))
    for k in range(levels):
        if rng.random() < 0.75:
            pieces += _row_of_books(rng, wide, deep, k * step + 0.03, step)
    return model(pieces, high)


def rack(rng: np.random.Generator) -> Model:
    """Build a metal rack with boxes, which belong to it."""
    wide, deep, high = between(rng, 0.8, 1.4), between(rng, 0.35, 0.5), between(rng, 1.2, 1.9)
    levels = int(rng.integers(3, 6))
    pieces = [block((0.04, 0.04, high), (x * (0.5 * wide - 0.02), y * (0.5 * deep - 0.02), 0))
              for x in (-1, 1) for y in (-1, 1)]
    for z in np.linspace(0.1, high - 0.04, levels):
        pieces.append(block((wide, deep, 0.035), (0, 0, float(z)), 0.9))
        for x in (-0.25, 0.25):
            if rng.random() < 0.5 and z < high - 0.3:
                size = (between(rng, 0.2, 0.36), 0.25, between(rng, 0.12, 0.24))
                skin = paint((0.4, 0.25, 0.12), 0.0) if rng.random() < 0.6 else any_paint(rng)
                pieces.append(block(size, (x * wide, 0, float(z) + 0.035), skin=skin))
    return model(pieces)


def cube_shelf(rng: np.random.Generator) -> Model:
    """Build a shelf of square cells, some with things in them that belong to it."""
    cell, deep = between(rng, 0.3, 0.38), between(rng, 0.3, 0.38)
    across, up = int(rng.integers(2, 4)), int(rng.integers(2, 5))
    wide, high = across * cell + 0.03, up * cell + 0.03
    pieces = _carcass(wide, deep, high, back=rng.random() < 0.7)
    pieces += [block((0.02, deep - 0.01, high), ((k - 0.5 * across) * cell, 0, 0))
               for k in range(1, across)]
    pieces += [block((wide, deep - 0.01, 0.02), (0, 0, k * cell)) for k in range(1, up)]
    for column in range(across):
        for row in range(up):
            if rng.random() < 0.4:
                x = (column - 0.5 * (across - 1)) * cell
                size = (0.75 * cell, 0.7 * deep, between(rng, 0.3, 0.8) * cell)
                pieces.append(block(size, (x, 0, row * cell + 0.03), skin=any_paint(rng)))
    return model(pieces, high)


def _carcass(wide: float, deep: float, high: float, back: bool) -> list[Piece]:
    """Join two sides, top and bottom, and perhaps a back."""
    pieces = [block((0.03, deep, high), (s * 0.5 * (wide - 0.03), 0, 0)) for s in (-1, 1)]
    pieces += [block((wide, deep, 0.03), (0, 0, z)) for z in (0.0, high - 0.03)]
    if back:
        pieces.append(block((wide, 0.015, high), (0, 0.5 * deep - 0.01, 0), 0.6))
    return pieces


def _row_of_books(rng: np.random.Generator, wide: float, deep: float, low: float, step: float,
                  ) -> list[Piece]:  # fmt: skip
    """Stand books side by side, over a part of a board."""
    pieces, x = [], -0.5 * wide + 0.05
    end = x + between(rng, 0.4, 1.0) * (wide - 0.12)
    while x < end and len(pieces) < 7:
        thick = between(rng, 0.05, 0.12)
        size = (thick, 0.6 * deep, between(rng, 0.55, 0.85) * step)
        pieces.append(block(size, (x + 0.5 * thick, -0.05 * deep, low), skin=any_paint(rng)))
        x += thick + 0.004
    return pieces


def cupboard(rng: np.random.Generator) -> Model:
    """Build a cabinet with two or three doors, knobs and a plinth."""
    doors = int(rng.integers(2, 4))
    wide, deep = doors * between(rng, 0.35, 0.5), between(rng, 0.35, 0.55)
    high = between(rng, 0.75, 1.9)
    metal = steel(rng)
    pieces = [block((wide, deep, high - 0.06), (0, 0, 0.06)),
              block((wide - 0.05, deep - 0.05, 0.06), tint=0.4)]
    for k in range(doors):
        x = (k - 0.5 * (doors - 1)) * wide / doors
        pieces.append(block((wide / doors - 0.02, 0.02, high - 0.12), (x, -0.5 * deep, 0.09), 1.08))
        side = -1 if k % 2 else 1
        knob = (x + side * 0.4 * wide / doors, -0.5 * deep - 0.02, 0.5 * high)
        pieces.append(block((0.02, 0.03, 0.14), knob, skin=metal))
    return model(pieces, high)


def drawers(rng: np.random.Generator) -> Model:
    """Build a chest of three to five drawers."""
    wide, deep, rows = between(rng, 0.5, 1.0), between(rng, 0.4, 0.5), int(rng.integers(3, 6))
    step = between(rng, 0.18, 0.24)
    high = rows * step + 0.1
    metal = steel(rng)
    pieces = [block((wide, deep, high - 0.08), (0, 0, 0.08)),
              *legs((wide, deep), 0.08, 0.05, 0.6)]
    for k in range(rows):
        z = 0.1 + k * step
        pieces.append(block((wide - 0.04, 0.02, step - 0.025), (0, -0.5 * deep, z), 1.1))
        pieces.append(block((0.2 * wide, 0.03, 0.02), (0, -0.5 * deep - 0.015, z + 0.5 * step),
                            skin=metal))
    return model(pieces, high)


def locker(rng: np.random.Generator) -> Model:
    """Build tall metal lockers with slots in their doors."""
    doors = int(rng.integers(1, 4))
    step, deep, high = between(rng, 0.3, 0.38), between(rng, 0.4, 0.5), between(rng, 1.5, 1.85)
    wide = doors * step
    pieces = [block((wide, deep, high))]
    for k in range(doors):
        x = (k - 0.5 * (doors - 1)) * step
        pieces.append(block((step - 0.02, 0.015, high - 0.08), (x, -0.5 * deep, 0.04), 1.1))
        for z in (0.80, 0.83, 0.86):
            pieces.append(block((0.4 * step, 0.018, 0.012), (x, -0.5 * deep - 0.001, z * high),
                                skin=paint(DARK)))
        pieces.append(block((0.03, 0.03, 0.1), (x + 0.35 * step, -0.5 * deep - 0.01, 0.5 * high),
                            skin=paint(DARK)))
    return model(pieces, high)


def taped_box(rng: np.random.Generator) -> Model:
    """Build a closed carton with a strip of tape, perhaps with a label."""
    x, y, z = (between(rng, 0.2, 0.5) for _ in range(3))
    tape = paint(one_of(rng, [TAPE, (0.7, 0.62, 0.45), (0.75, 0.75, 0.75)]), 0.3)
    width = between(rng, 0.04, 0.07)
    pieces = [block((x, y, z)), block((width, y + 0.004, z + 0.003), skin=tape),
              block((x + 0.003, 0.006, z + 0.002), (0, 0, 0.0), 0.6)]
    if rng.random() < 0.5:
        pieces.append(block((0.35 * x, y + 0.006, 0.3 * z), (0.25 * x, 0, 0.5 * z),
                            skin=paint(PALE, 0.0)))
    return model(pieces, z)


def open_box(rng: np.random.Generator) -> Model:
    """Build a carton with its four flaps up or aside."""
    x, y, z = between(rng, 0.25, 0.5), between(rng, 0.25, 0.45), between(rng, 0.18, 0.4)
    thin = 0.01
    pieces = [block((x, y, thin), tint=0.7)]
    for s in (-1, 1):
        pieces.append(block((thin, y, z), (s * 0.5 * x, 0, 0)))
        pieces.append(block((x, thin, z), (0, s * 0.5 * y, 0)))
        one, other = s * between(rng, 0.3, 1.9), -s * between(rng, 0.3, 1.9)
        pieces.append(_flap((thin, y, 0.3 * x), (s * 0.5 * x, 0, z), 1, one))
        pieces.append(_flap((x, thin, 0.3 * y), (0, s * 0.5 * y, z), 0, other))
    return model(pieces)


def _flap(size: tuple[float, float, float], hinge: tuple[float, float, float], axis: int,
          angle: float) -> Piece:  # fmt: skip
    """Hang a board on its lower edge and tilt it."""
    rotation = turn(angle, axis)
    x, y, z = rotation @ np.array([0.0, 0.0, 0.5 * size[2]]) + np.array(hinge)
    return block(size, (float(x), float(y), float(z) - 0.5 * size[2]), 1.1, rotation=rotation)


def crate(rng: np.random.Generator) -> Model:
    """Build a crate of slats."""
    x, y, z = between(rng, 0.35, 0.55), between(rng, 0.25, 0.4), between(rng, 0.2, 0.35)
    rows = 3
    pieces = [block((x, y, 0.015), tint=0.7)]
    for k in range(rows):
        low, tall = k * z / rows, 0.75 * z / rows
        for s in (-1, 1):
            pieces.append(block((x, 0.015, tall), (0, s * 0.5 * y, low)))
            pieces.append(block((0.015, y, tall), (s * 0.5 * x, 0, low), 0.95))
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = (sx * (0.5 * x - 0.03), sy * (0.5 * y - 0.03), 0)
            pieces.append(block((0.04, 0.04, z), at, 0.85))
    return model(pieces)


def euro_pallet(rng: np.random.Generator) -> Model:
    """Build a pallet: boards above, blocks, boards below."""
    long, deep = between(rng, 0.9, 1.2), between(rng, 0.65, 0.8)
    boards = int(rng.integers(4, 7))
    pieces = []
    for y in np.linspace(-0.5, 0.5, boards) * (deep - 0.1):
        pieces.append(block((long, 0.72 * deep / boards, 0.022), (0, float(y), 0.122)))
    for x in (-1, 0, 1):
        at = x * (0.5 * long - 0.07)
        pieces.append(block((0.1, deep, 0.022), (at, 0, 0.1), 0.9))
        pieces.append(block((0.1, deep, 0.022), (at, 0, 0.0), 0.85))
        for y in (-1, 0, 1):
            pieces.append(block((0.1, 0.12, 0.08), (at, y * (0.5 * deep - 0.06), 0.022), 0.75))
    return model(pieces, 0.144)


def plastic_pallet(rng: np.random.Generator) -> Model:
    """Build a moulded pallet: a closed deck on nine feet."""
    long, deep = between(rng, 0.9, 1.2), between(rng, 0.7, 0.9)
    feet = [drum(0.075, 0.1, (x * (0.5 * long - 0.09), y * (0.5 * deep - 0.09), 0), 0.85)
            for x in (-1, 0, 1) for y in (-1, 0, 1)]
    return model([block((long, deep, 0.05), (0, 0, 0.1)),
                  block((long, 0.03, 0.06), (0, -0.5 * deep + 0.015, 0.08), 0.9), *feet], 0.15)


def stacked_pallets(rng: np.random.Generator) -> Model:
    """Stack two or three pallets, each turned a little."""
    pieces: list[Piece] = []
    one = euro_pallet(rng)
    for k in range(int(rng.integers(2, 4))):
        around = turn(between(rng, -0.06, 0.06))
        for piece in one.pieces:
            x, y, z = around @ np.array(piece.position)
            pieces.append(Piece(piece.shape, (float(x), float(y), float(z) + 0.146 * k), around,
                                piece.tint))
    return model(pieces, 0.146 * (k + 1))


def open_bin(rng: np.random.Generator) -> Model:
    """Build an open waste bin, dark inside, perhaps with a bag over its rim."""
    foot, high = between(rng, 0.1, 0.16), between(rng, 0.28, 0.45)
    top = foot * between(rng, 1.15, 1.4)
    wall = 0.012
    pieces = [turned(((0, 0), (foot, 0), (top, high), (top - wall, high))),
              turned(((top - wall, high), (foot - wall, 0.05), (0, 0.05)), tint=0.35)]
    if rng.random() < 0.5:
        skin = paint(one_of(rng, [DARK, PALE]), 0.3)
        pieces.append(turned(((top + 0.006, 0.85 * high), (top + 0.008, high + 0.008),
                              (top - wall, high + 0.008)), skin=skin))
    return model(pieces)


def pedal_bin(rng: np.random.Generator) -> Model:
    """Build a round bin with a domed lid and a pedal."""
    radius, high = between(rng, 0.13, 0.19), between(rng, 0.4, 0.65)
    steps = [(radius * math.cos(a), high + 0.35 * radius * math.sin(a))
             for a in np.linspace(0, 0.5 * math.pi, 5)]
    return model([drum(radius, high), turned(steps, tint=0.75),
                  drum(radius + 0.008, 0.04, skin=paint(DARK)),
                  block((0.1, 0.1, 0.02), (0, -radius - 0.03, 0.01), skin=paint(DARK))])


def wheeled_bin(rng: np.random.Generator) -> Model:
    """Build a tapered bin with a sloping lid, a grip and two wheels."""
    wide, deep, high = between(rng, 0.4, 0.5), between(rng, 0.42, 0.52), between(rng, 0.8, 1.0)
    lid = any_paint(rng) if rng.random() < 0.4 else None
    pieces = [turned(((0, 0.06), (0.58 * wide, 0.06), (0.7 * wide, high), (0, high)))
              if rng.random() < 0.2 else block((wide, deep, high - 0.06), (0, 0, 0.06)),
              block((wide + 0.06, deep + 0.08, 0.06), (0, -0.01, high), 0.8, lid,
                    turn(-0.05, 0)),
              rod((-0.4 * wide, 0.5 * deep + 0.05, high - 0.02),
                  (0.4 * wide, 0.5 * deep + 0.05, high - 0.02), 0.016, 0.7)]
    for s in (-1, 1):
        tyre = Lathe(((0.0, 0.0), (0.1, 0.0), (0.1, 0.05), (0.0, 0.05)))
        pieces.append(Piece(tyre, (s * 0.4 * wide, 0.5 * deep, 0.1), turn(0.5 * s * math.pi, 1),
                            skin=paint(DARK, 0.0)))
        pieces.append(block((0.03, 0.012, high - 0.2), (s * 0.25 * wide, -0.5 * deep, 0.1), 0.85))
    return model(pieces)


def swing_bin(rng: np.random.Generator) -> Model:
    """Build a square bin with a roof-shaped lid."""
    wide, deep, high = between(rng, 0.26, 0.38), between(rng, 0.24, 0.34), between(rng, 0.4, 0.6)
    pieces = [block((wide, deep, high)), block((wide + 0.02, deep + 0.02, 0.04), (0, 0, high), 0.7)]
    for s in (-1, 1):
        pieces.append(block((wide, 0.6 * deep, 0.015), (0, s * 0.24 * deep, high + 0.08), 0.75,
                            rotation=turn(-s * 0.6, 0)))
    pieces.append(block((0.7 * wide, 0.4 * deep, 0.08), (0, 0, high + 0.03), skin=paint(DARK)))
    return model(pieces)


def _pail(foot: float, top: float, high: float) -> list[Piece]:
    """Build an open round vessel with a rim."""
    wall = 0.01
    return [turned(((0, 0), (foot, 0), (top, high), (top - wall, high))),
            turned(((top - wall, high), (foot - wall, 0.03), (0, 0.03)), tint=0.45),
            ring(top, 0.008, (0, 0, high), tint=1.1)]


def handled_bucket(rng: np.random.Generator) -> Model:
    """Build a bucket whose handle stands or has fallen aside."""
    foot, high = between(rng, 0.1, 0.13), between(rng, 0.22, 0.32)
    top = foot * between(rng, 1.25, 1.45)
    fall, reach = one_of(rng, (0.1, 1.2, 1.5)), 1.02 * top
    arc = []
    for angle in np.linspace(0, math.pi, 7):
        x, up = reach * math.cos(angle), reach * math.sin(angle)
        arc.append((x, -up * math.sin(fall), high - 0.01 + up * math.cos(fall)))
    metal = steel(rng)
    return model([*_pail(foot, top, high),
                  *(rod(a, b, 0.006, skin=metal) for a, b in zip(arc[:-1], arc[1:], strict=True))])


def wide_bucket(rng: np.random.Generator) -> Model:
    """Build a tub with two grips."""
    foot, high = between(rng, 0.15, 0.2), between(rng, 0.16, 0.24)
    top = 1.25 * foot
    grips = [ring(0.045, 0.012, (s * (top + 0.01), 0, high - 0.005), turn(0.5 * math.pi, 0), 0.9)
             for s in (-1, 1)]
    return model([*_pail(foot, top, high), *grips])


def lidded_bucket(rng: np.random.Generator) -> Model:
    """Build a paint bucket with its lid on and a label around it."""
    radius, high = between(rng, 0.11, 0.16), between(rng, 0.2, 0.32)
    label = ((0.96 * radius + 0.004, 0.25 * high), (0.985 * radius + 0.004, 0.7 * high))
    return model([drum(0.94 * radius, high, top=radius),
                  drum(1.05 * radius, 0.025, (0, 0, high), 0.8),
                  turned(label, skin=any_paint(rng)),
                  rod((-radius, 0, 0.85 * high), (0, -1.25 * radius, 0.5 * high), 0.005,
                      skin=steel(rng)),
                  rod((0, -1.25 * radius, 0.5 * high), (radius, 0, 0.85 * high), 0.005,
                      skin=steel(rng))])


DESIGNS: dict[str, tuple[Design, ...]] = {
    "table": (four_legged_table, round_table, trestle_table, desk),
    "shelf": (bookcase, rack, cube_shelf),
    "cabinet": (cupboard, drawers, locker),
    "box": (toy("box"), taped_box, open_box, crate),
    "pallet": (euro_pallet, plastic_pallet, stacked_pallets),
    "bin": (open_bin, pedal_bin, wheeled_bin, swing_bin),
    "bucket": (handled_bucket, wide_bucket, lidded_bucket),
}
