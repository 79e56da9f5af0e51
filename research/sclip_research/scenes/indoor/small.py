"""Balls, cones, vessels, books, wheels and the solids of geometry."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.indoor.building import (
    DARK,
    PALE,
    STEEL,
    Design,
    any_paint,
    between,
    blob,
    block,
    drum,
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
from sclip_research.scenes.primitives import Lathe, Pyramid


def banded_ball(rng: np.random.Generator) -> Model:
    """Build a ball with one band of another colour."""
    radius = between(rng, 0.08, 0.24)
    around = turn(between(rng, 0, 3), 2) @ turn(between(rng, 0.2, 2.5), 0)
    wide = 0.16 * radius
    edge = math.sqrt(radius * radius - wide * wide) + 0.002
    band = turned(((edge, -wide), (1.004 * radius, 0.0), (edge, wide)), (0, 0, radius),
                  skin=any_paint(rng), rotation=around)
    return model([blob((radius, radius, radius), (0, 0, radius), rotation=around), band])


def oval_ball(rng: np.random.Generator) -> Model:
    """Build a ball for rugby."""
    radius = between(rng, 0.09, 0.13)
    return model([blob((1.5 * radius, radius, radius), (0, 0, radius))])


def road_cone(rng: np.random.Generator) -> Model:
    """Build a traffic cone: square foot, one or two reflecting bands."""
    high, base = between(rng, 0.3, 0.75), between(rng, 0.11, 0.17)
    tip, foot = 0.025, 0.03
    skin = paint(DARK) if rng.random() < 0.5 else None
    pieces = [block((2.5 * base, 2.5 * base, foot), skin=skin),
              turned(((base, foot), (tip, high), (0, high)))]
    bands = [(0.45, 0.68)] if rng.random() < 0.5 else [(0.3, 0.45), (0.6, 0.75)]
    white = paint(PALE, 0.3)
    for low, up in bands:
        r0, r1 = (base + (tip - base) * s + 0.003 for s in (low, up))
        pieces.append(turned(((r0, foot + low * (high - foot)), (r1, foot + up * (high - foot))),
                             skin=white))
    return model(pieces)


def blunt_cone(rng: np.random.Generator) -> Model:
    """Build a low cone with a cut-off tip and a round foot, as for sports."""
    radius, high = between(rng, 0.12, 0.18), between(rng, 0.14, 0.3)
    return model([drum(radius, 0.012), turned(((0.85 * radius, 0.012), (0.3 * radius, high),
                                               (0.22 * radius, high))),
                  drum(0.22 * radius, 0.01, (0, 0, 0.9 * high), 0.3)])


def mug(rng: np.random.Generator) -> Model:
    """Build a straight mug with a round handle, dark or coffee inside."""
    radius = between(rng, 0.05, 0.1)
    high = radius * between(rng, 1.9, 2.5)
    wall, side = 0.08 * radius, between(rng, -2.8, -0.4)
    ear = turn(side) @ turn(0.5 * math.pi, 0)
    at = (radius * math.cos(side), radius * math.sin(side), 0.5 * high)
    drink = paint(one_of(rng, [(0.05, 0.02, 0.008), (0.5, 0.5, 0.48)]))
    return model([turned(((0, 0), (radius, 0), (radius, high), (radius - wall, high))),
                  turned(((radius - wall, high), (radius - wall, 0.8 * high), (0, 0.8 * high)),
                         skin=drink),
                  ring(0.3 * high, 0.055 * high, at, ear)])


def tea_cup(rng: np.random.Generator) -> Model:
    """Build a wide cup on a saucer."""
    radius = between(rng, 0.06, 0.1)
    high, side = 1.1 * radius, between(rng, -2.8, -0.4)
    ear = turn(side) @ turn(0.5 * math.pi, 0)
    at = (0.95 * radius * math.cos(side), 0.95 * radius * math.sin(side), 0.65 * high)
    shell = [(0.45 * radius, 0.015), (0.8 * radius, 0.35 * high), (radius, high)]
    return model([turned(((0, 0), (0.9 * radius, 0), (1.6 * radius, 0.02), (1.5 * radius, 0.022),
                          (0, 0.012))),
                  turned([*shell, (0.94 * radius, high)]),
                  turned([(0.94 * radius, high), (0.8 * radius, 0.5 * high), (0, 0.45 * high)],
                         tint=0.6),
                  ring(0.3 * high, 0.07 * high, at, ear)])


def paper_cup(rng: np.random.Generator) -> Model:
    """Build a cup to take away: tapered, with a lid, perhaps with a sleeve."""
    top, high = between(rng, 0.05, 0.08), between(rng, 0.14, 0.22)
    foot = 0.72 * top
    lid = paint(one_of(rng, [DARK, PALE]), 0.2)
    pieces = [drum(foot, high, top=top), drum(1.06 * top, 0.018, (0, 0, high), skin=lid),
              drum(0.9 * top, 0.012, (0, 0, high + 0.018), skin=lid)]
    if rng.random() < 0.4:
        r0, r1 = (foot + (top - foot) * s + 0.003 for s in (0.35, 0.7))
        pieces.append(turned(((r0, 0.35 * high), (r1, 0.7 * high)), tint=0.6))
    return model(pieces)


def round_bottle(rng: np.random.Generator) -> Model:
    """Build a water bottle: waist, short neck, wide cap."""
    radius = between(rng, 0.045, 0.08)
    high = radius * between(rng, 5.0, 6.5)
    profile = [(0, 0), (radius, 0), (radius, 0.36 * high), (0.85 * radius, 0.44 * high),
               (radius, 0.52 * high), (radius, 0.7 * high), (0.4 * radius, 0.88 * high),
               (0.4 * radius, 0.92 * high)]
    return model([turned(profile), drum(0.48 * radius, 0.09 * high, (0, 0, 0.91 * high),
                                        skin=any_paint(rng))])


def labelled_bottle(rng: np.random.Generator) -> Model:
    """Build a bottle for wine or sauce, with a label around it."""
    radius = between(rng, 0.045, 0.075)
    high = radius * between(rng, 6.0, 8.0)
    return model([turned(((0, 0), (radius, 0), (radius, 0.6 * high), (0.8 * radius, 0.67 * high),
                          (0.36 * radius, 0.74 * high), (0.36 * radius, high), (0, high))),
                  turned(((1.02 * radius, 0.18 * high), (1.02 * radius, 0.48 * high)),
                         skin=paint(PALE, 0.0) if rng.random() < 0.6 else any_paint(rng)),
                  drum(0.4 * radius, 0.12 * high, (0, 0, 0.9 * high), 0.5)])


def spray_bottle(rng: np.random.Generator) -> Model:
    """Build a bottle with a trigger head."""
    radius = between(rng, 0.05, 0.075)
    high = radius * between(rng, 3.2, 4.0)
    head = any_paint(rng)
    around = turn(between(rng, -3.0, 3.0))
    return model([turned(((0, 0), (radius, 0), (radius, 0.6 * high), (0.35 * radius, 0.95 * high),
                          (0.35 * radius, high))),
                  block((1.5 * radius, 0.5 * radius, 0.5 * radius), (0, 0, high), skin=head,
                        rotation=around),
                  drum(0.4 * radius, 0.35 * radius, (0, 0, high - 0.15 * radius), skin=head)])


def flat_bowl(rng: np.random.Generator) -> Model:
    """Build a wide flat bowl."""
    return _bowl(between(rng, 0.14, 0.24), between(rng, 0.3, 0.42), 0.5)


def deep_bowl(rng: np.random.Generator) -> Model:
    """Build a deep bowl on a foot."""
    return _bowl(between(rng, 0.1, 0.18), between(rng, 0.75, 0.95), 0.4)


def _bowl(radius: float, depth: float, foot: float) -> Model:
    """Turn an open shell."""
    high = radius * depth
    steps = np.linspace(0.15, 1.0, 5)
    shell = [(radius * (foot + (1 - foot) * math.sin(0.5 * math.pi * s)), high * s * s)
             for s in steps]
    inside = [(r - 0.05 * radius, max(z, 0.12 * high)) for r, z in reversed(shell)]
    return model([turned([(0, 0), (foot * radius, 0), *shell, (0.95 * radius, high)]),
                  turned([*inside, (0, 0.12 * high)], tint=0.75)])


def tall_pyramid(rng: np.random.Generator) -> Model:
    """Build a slim pyramid."""
    half = between(rng, 0.09, 0.15)
    return model([Piece(Pyramid(half, half * between(rng, 2.4, 3.4)))])


def stepped_pyramid(rng: np.random.Generator) -> Model:
    """Build a pyramid of blocks."""
    wide, step = between(rng, 0.3, 0.46), between(rng, 0.05, 0.08)
    return model([block((wide * (1 - 0.22 * k), wide * (1 - 0.22 * k), step), (0, 0, k * step),
                        1.0 - 0.04 * (k % 2)) for k in range(4)])


def lying_cylinder(rng: np.random.Generator) -> Model:
    """Build a cylinder that lies."""
    radius, long = between(rng, 0.07, 0.16), between(rng, 0.25, 0.5)
    return model([turned(((0, 0), (radius, 0), (radius, long), (0, long)), (-0.5 * long, 0, radius),
                         rotation=lying())])


def tall_cylinder(rng: np.random.Generator) -> Model:
    """Build a slim cylinder."""
    radius = between(rng, 0.06, 0.11)
    return model([drum(radius, radius * between(rng, 3.0, 5.0))])


def lying_book(rng: np.random.Generator) -> Model:
    """Build a thick closed book that lies."""
    return model(_book(rng, 0.0, 0.0))


def pile_of_books(rng: np.random.Generator) -> Model:
    """Pile two to four books of the same colour, each turned."""
    pieces: list[Piece] = []
    level = 0.0
    for _ in range(int(rng.integers(2, 5))):
        pieces += _book(rng, level, between(rng, -0.5, 0.5))
        level = pieces[-1].position[2] + 0.5 * 0.012
    return model(pieces)


def _book(rng: np.random.Generator, low: float, angle: float) -> list[Piece]:
    """Put pages between two covers with a spine."""
    wide, long, thick = between(rng, 0.16, 0.26), between(rng, 0.24, 0.34), between(rng, 0.03, 0.07)
    around = turn(angle)
    x, y, _ = around @ np.array([0.5 * wide - 0.006, 0.0, 0.0])
    return [block((wide, long, 0.012), (0, 0, low), rotation=around),
            block((0.012, long, thick), (-float(x), -float(y), low), rotation=around),
            block((0.94 * wide, 0.95 * long, thick - 0.02), (0, 0, low + 0.01),
                  skin=paint((0.7, 0.66, 0.55), 0.0), rotation=around),
            block((wide, long, 0.012), (0, 0, low + thick - 0.012), rotation=around)]


def open_book(rng: np.random.Generator) -> Model:
    """Build an open book: two pages over a cover that shows around them."""
    wide, long = between(rng, 0.2, 0.28), between(rng, 0.26, 0.36)
    page = paint((0.72, 0.69, 0.6), 0.0)
    pieces = []
    for s in (-1, 1):
        tilt = turn(-s * 0.16, 1)
        pieces.append(block((wide + 0.03, long + 0.05, 0.014), (s * 0.5 * wide, 0, 0.012),
                            rotation=tilt))
        pieces.append(block((wide - 0.01, long, 0.03), (s * 0.49 * wide, 0, 0.02), skin=page,
                            rotation=tilt))
    return model(pieces)


def standing_book(rng: np.random.Generator) -> Model:
    """Build a large book that stands half open."""
    wide, long, thick = between(rng, 0.18, 0.26), between(rng, 0.26, 0.36), 0.03
    pieces = []
    for s in (-1, 1):
        around = turn(s * between(rng, 0.3, 0.6))
        x, y, _ = around @ np.array([s * 0.5 * wide, 0.0, 0.0])
        pieces.append(block((wide, thick, long), (float(x), float(y), 0), rotation=around))
    return model(pieces)


def tyre(rng: np.random.Generator) -> Model:
    """Stand or lay a car's wheel: tyre, rim with holes."""
    outer = between(rng, 0.2, 0.32)
    wide = outer * between(rng, 0.25, 0.35)
    tube = Lathe(((0.62 * outer, -wide), (0.9 * outer, -wide), (outer, -0.7 * wide),
                  (outer, 0.7 * wide), (0.9 * outer, wide), (0.62 * outer, wide)))
    rim = Lathe(((0.0, -0.5 * wide), (0.62 * outer, -0.6 * wide), (0.62 * outer, 0.6 * wide),
                 (0.0, 0.5 * wide)))
    pieces = [Piece(tube), Piece(rim, skin=paint(one_of(rng, [STEEL, PALE, DARK]), 0.5))]
    for k in range(5):
        angle = 2 * math.pi * k / 5
        at = (0.38 * outer * math.cos(angle), 0.38 * outer * math.sin(angle), 0.0)
        pieces.append(blob((0.1 * outer, 0.1 * outer, 0.62 * wide), at, skin=paint(DARK)))
    return _stood(pieces, outer, wide, rng)


def spoked_wheel(rng: np.random.Generator) -> Model:
    """Stand a wheel with spokes, as of a bicycle or cart."""
    outer = between(rng, 0.22, 0.34)
    thick = outer * between(rng, 0.06, 0.11)
    metal = steel(rng) if rng.random() < 0.5 else None
    pieces = [ring(outer - thick, thick, (0, 0, 0)),
              drum(0.12 * outer, 0.1, (0, 0, -0.05), 0.9)]
    spokes = int(rng.integers(6, 11))
    for k in range(spokes):
        angle = 2 * math.pi * k / spokes
        reach = (outer - thick) * np.array([math.cos(angle), math.sin(angle)])
        pieces.append(rod((0, 0, 0), (float(reach[0]), float(reach[1]), 0), 0.01, skin=metal))
    return _stood(pieces, outer, max(thick, 0.05), rng)


def solid_wheel(rng: np.random.Generator) -> Model:
    """Stand a hand cart's wheel: dark tread, coloured disc, hub."""
    outer = between(rng, 0.12, 0.22)
    wide = outer * between(rng, 0.18, 0.3)
    tread = paint(DARK, 0.0)
    disc = Lathe(((0.0, -0.9 * wide), (0.86 * outer, -0.9 * wide), (0.86 * outer, 0.9 * wide),
                  (0.0, 0.9 * wide)))
    pieces = [Piece(disc), turned(((0.84 * outer, -wide), (outer, -0.8 * wide), (outer, 0.8 * wide),
                                   (0.84 * outer, wide)), skin=tread),
              drum(0.2 * outer, 2.6 * wide, (0, 0, -1.3 * wide), skin=paint(STEEL, 0.5))]
    return _stood(pieces, outer, wide, rng)


def _stood(pieces: list[Piece], outer: float, wide: float, rng: np.random.Generator) -> Model:
    """Stand a wheel, built around z, on its tread, or leave it lying."""
    stands = rng.random() < 0.75
    around = turn(0.5 * math.pi, 0) if stands else np.eye(3)
    lift = np.array([0.0, 0.0, outer if stands else 1.3 * wide])
    placed = []
    for piece in pieces:
        x, y, z = around @ np.array(piece.position) + lift
        rotation = around if piece.rotation is None else around @ piece.rotation
        placed.append(Piece(piece.shape, (float(x), float(y), float(z)), rotation, piece.tint,
                            skin=piece.skin))
    return model(placed)


DESIGNS: dict[str, tuple[Design, ...]] = {
    "ball": (toy("ball"), banded_ball, oval_ball),
    "cone": (toy("cone"), road_cone, blunt_cone),
    "cup": (toy("cup"), mug, tea_cup, paper_cup),
    "bottle": (toy("bottle"), round_bottle, labelled_bottle, spray_bottle),
    "bowl": (toy("bowl"), flat_bowl, deep_bowl),
    "pyramid": (toy("pyramid"), tall_pyramid, stepped_pyramid),
    "cylinder": (toy("cylinder"), lying_cylinder, tall_cylinder),
    "book": (lying_book, pile_of_books, open_book, standing_book),
    "wheel": (tyre, spoked_wheel, solid_wheel),
}
