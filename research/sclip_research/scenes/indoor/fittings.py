"""What belongs to the room: doors, windows, curtains, pictures, stairs and rugs."""

from __future__ import annotations

import math

import numpy as np

from sclip_research.scenes.colours import mix
from sclip_research.scenes.furniture import Model, Piece, turn
from sclip_research.scenes.indoor.building import (
    DARK,
    PALE,
    Design,
    any_paint,
    between,
    blob,
    block,
    drum,
    model,
    one_of,
    paint,
    rod,
    steel,
    toy,
    turned,
)
from sclip_research.scenes.textures import Finish


def flat_door(rng: np.random.Generator) -> Model:
    """Build a plain door with a lever handle, perhaps with a window or a vent."""
    wide, tall = between(rng, 0.75, 1.0), between(rng, 1.9, 2.1)
    frame = _frame(wide, tall, 0.06, paint(PALE) if rng.random() < 0.5 else None)
    metal = steel(rng)
    x = one_of(rng, (-1, 1)) * 0.4 * wide
    pieces = [block((wide, 0.04, tall)), *frame,
              block((0.12, 0.03, 0.02), (x * 0.88, -0.06, 1.0), skin=metal),
              block((0.04, 0.03, 0.2), (x, -0.03, 0.92), skin=metal)]
    draw = rng.random()
    if draw < 0.35:
        pieces.append(block((0.35 * wide, 0.05, 0.5), (0, 0, 0.65 * tall), skin=_glass(rng)))
    elif draw < 0.55:
        pieces += [block((0.6 * wide, 0.05, 0.02), (0, 0, 0.15 + 0.05 * k), 0.5) for k in range(4)]
    return model(pieces)


def double_door(rng: np.random.Generator) -> Model:
    """Build two wings with bars to push or with panes."""
    wide, tall = between(rng, 1.3, 1.7), between(rng, 1.95, 2.1)
    metal = steel(rng)
    panes = rng.random() < 0.5
    pieces = [*_frame(wide, tall, 0.07, None)]
    for s in (-1, 1):
        x = s * 0.25 * wide
        pieces.append(block((0.49 * wide, 0.04, tall), (x, 0, 0)))
        if panes:
            pieces.append(block((0.3 * wide, 0.05, 0.5 * tall), (x, 0, 0.4 * tall),
                                skin=_glass(rng)))
        pieces.append(block((0.36 * wide, 0.06, 0.05), (x, -0.03, 0.98), skin=metal))
    return model(pieces)


def _frame(wide: float, tall: float, thick: float, skin: Finish | None) -> list[Piece]:
    """Put a frame around an opening."""
    posts = [block((thick, 0.09, tall + thick), (s * 0.5 * (wide + thick), 0, 0), 0.8, skin)
             for s in (-1, 1)]
    return [*posts, block((wide, 0.09, thick), (0, 0, tall), 0.8, skin)]


def _glass(rng: np.random.Generator) -> Finish:
    """Return a pane with daylight or night behind it."""
    if rng.random() < 0.2:
        return paint((0.02, 0.025, 0.05), 0.7)
    sky = mix((0.5, 0.68, 0.95), (0.95, 0.95, 0.95), between(rng, 0.0, 1.0))
    return paint(sky, 0.3, between(rng, 0.45, 0.9))


def barred_window(rng: np.random.Generator) -> Model:
    """Build a window with two to six panes and a sill."""
    wide, tall = between(rng, 0.7, 1.5), between(rng, 0.7, 1.3)
    across, up = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    bar = between(rng, 0.05, 0.09)
    pieces = [block((wide, 0.03, tall), skin=_glass(rng)), *_around(wide, tall, bar),
              block((wide + 0.15, 0.16, 0.04), (0, -0.03, -0.05))]
    pieces += [block((0.7 * bar, 0.05, tall), ((k / across - 0.5) * wide, 0, 0))
               for k in range(1, across)]
    pieces += [block((wide, 0.05, 0.7 * bar), (0, 0, k * tall / up)) for k in range(1, up)]
    return model(pieces)


def blind_window(rng: np.random.Generator) -> Model:
    """Build a window with a blind half drawn, whose slats are the window's."""
    wide, tall = between(rng, 0.7, 1.4), between(rng, 0.8, 1.3)
    slats = int(rng.integers(4, 9))
    tilt = turn(0.5, 0)
    pieces = [block((wide, 0.03, tall), skin=_glass(rng)), *_around(wide, tall, 0.07)]
    pieces += [block((wide - 0.02, 0.05, 0.012), (0, -0.05, tall - 0.06 - 0.07 * k), 1.05,
                     rotation=tilt) for k in range(slats)]
    return model([*pieces, block((wide, 0.07, 0.05), (0, -0.05, tall - 0.05))])


def round_window(rng: np.random.Generator) -> Model:
    """Build a round window with a cross of bars."""
    radius, bar = between(rng, 0.35, 0.6), between(rng, 0.05, 0.08)
    across = turn(0.5 * math.pi, 0)
    rim = turned(((radius - bar, 0.0), (radius - bar, 0.06), (radius, 0.06), (radius, 0.0)),
                 (0, 0.03, radius), rotation=across)
    pane = turned(((0, 0.045), (radius - bar, 0.045)), (0, 0.03, radius), skin=_glass(rng),
                  rotation=across)
    return model([rim, pane, block((0.04, 0.05, 2 * radius - bar), (0, 0, 0.5 * bar)),
                  block((2 * radius - bar, 0.05, 0.04), (0, 0, radius - 0.02))])


def _around(wide: float, tall: float, bar: float) -> list[Piece]:
    """Put a frame around a pane."""
    return [*(block((bar, 0.08, tall), (s * 0.5 * (wide - bar), 0, 0)) for s in (-1, 1)),
            *(block((wide, 0.08, bar), (0, 0, z)) for z in (0.0, tall - bar))]


def wavy_curtain(rng: np.random.Generator) -> Model:
    """Hang a curtain in round folds from a rail."""
    folds = int(rng.integers(5, 10))
    return model(_folds(folds, between(rng, 0.05, 0.09), between(rng, 1.5, 2.2), 0.0, rng))


def parted_curtain(rng: np.random.Generator) -> Model:
    """Hang two wings, one to each side."""
    folds, radius, tall = int(rng.integers(3, 5)), between(rng, 0.05, 0.08), between(rng, 1.5, 2.2)
    apart = between(rng, 0.4, 0.7)
    wings = [piece for x in (-apart, apart) for piece in _folds(folds, radius, tall, x, rng)]
    return model([*wings,
                  rod((-apart - 0.3, 0, tall), (apart + 0.3, 0, tall), 0.018, skin=steel(rng))])


def pleated_curtain(rng: np.random.Generator) -> Model:
    """Hang a curtain in sharp folds: boards at angles to each other."""
    folds, step, tall = int(rng.integers(6, 11)), between(rng, 0.1, 0.16), between(rng, 1.4, 2.1)
    return model([block((1.15 * step, 0.015, tall), ((k - 0.5 * (folds - 1)) * step, 0, 0),
                        1.0 - 0.06 * (k % 2), rotation=turn(0.5 if k % 2 else -0.5))
                  for k in range(folds)])


def _folds(count: int, radius: float, tall: float, x: float, rng: np.random.Generator,
           ) -> list[Piece]:  # fmt: skip
    """Stand slim upright tubes side by side."""
    step = 1.5 * radius
    return [turned(((radius * between(rng, 0.9, 1.2), 0.0), (0.8 * radius, tall)),
                   (x + (k - 0.5 * (count - 1)) * step, 0.02 * (k % 2), 0), 1.0 - 0.04 * (k % 2))
            for k in range(count)]


def framed_picture(rng: np.random.Generator) -> Model:
    """Hang a picture in a frame, with a margin around it; frame and picture share the colour."""
    wide, tall = between(rng, 0.4, 1.0), between(rng, 0.4, 0.9)
    rim = between(rng, 0.04, 0.08)
    inner = (wide - 2 * rim, tall - 2 * rim)
    pieces = [block((wide, 0.03, tall))]
    if rng.random() < 0.5:
        pieces.append(block((inner[0], 0.034, inner[1]), (0, 0, rim), skin=paint(PALE, 0.0)))
        inner = (inner[0] - 0.12, inner[1] - 0.12)
    low = 0.5 * (tall - inner[1])
    return model([*pieces, block((inner[0], 0.04, inner[1]), (0, 0, low), 0.9),
                  *_drawing(rng, inner, low)])


def poster(rng: np.random.Generator) -> Model:
    """Hang a sheet with a heading, shapes and lines of text."""
    wide = between(rng, 0.5, 0.9)
    tall = wide * between(rng, 1.2, 1.5)
    ink = any_paint(rng, 0.0)
    pieces = [block((wide, 0.01, tall))]
    pieces.append(block((0.7 * wide, 0.014, 0.08 * tall), (0, 0, 0.84 * tall), skin=ink))
    pieces += [block((between(rng, 0.4, 0.8) * wide, 0.014, 0.02 * tall),
                     (0, 0, (0.08 + 0.05 * k) * tall), skin=ink) for k in range(3)]
    return model([*pieces, *_drawing(rng, (0.7 * wide, 0.5 * tall), 0.28 * tall, 0.016)])


def landscape(rng: np.random.Generator) -> Model:
    """Hang a wide canvas with a horizon, hills and a sun."""
    wide = between(rng, 0.7, 1.3)
    tall = wide * between(rng, 0.5, 0.7)
    return model([block((wide, 0.04, tall)),
                  block((wide, 0.042, 0.3 * tall), tint=0.5),
                  blob((0.35 * wide, 0.03, 0.2 * tall), (0.1 * wide, 0, 0.3 * tall), 0.7),
                  blob((0.07 * wide, 0.03, 0.07 * wide), (-0.25 * wide, 0, 0.75 * tall),
                       skin=any_paint(rng, 0.0))])


def _drawing(rng: np.random.Generator, size: tuple[float, float], low: float,
             deep: float = 0.045) -> list[Piece]:  # fmt: skip
    """Put one to three discs and blocks of other colours onto a sheet."""
    pieces = []
    for _ in range(int(rng.integers(1, 4))):
        reach = between(rng, 0.08, 0.22) * min(size)
        at = (between(rng, -0.3, 0.3) * size[0], low + between(rng, 0.25, 0.75) * size[1])
        if rng.random() < 0.5:
            pieces.append(blob((reach, 0.5 * deep, reach), (at[0], 0, at[1]),
                               skin=any_paint(rng, 0.0)))
        else:
            pieces.append(block((2 * reach, deep, reach), (at[0], 0, at[1] - 0.5 * reach),
                                skin=any_paint(rng, 0.0)))
    return pieces


def solid_stairs(rng: np.random.Generator) -> Model:
    """Build a closed flight of four to eight steps that rises away from the viewer."""
    steps, wide, rise, tread = _flight(rng)
    return model([block((wide, (steps - k) * tread, rise), (0, 0.5 * k * tread, k * rise),
                        1.0 - 0.12 * (k % 2)) for k in range(steps)])


def open_stairs(rng: np.random.Generator) -> Model:
    """Build boards between two sloping beams."""
    steps, wide, rise, tread = _flight(rng)
    long, high = steps * tread, steps * rise
    lean = turn(math.atan2(high, long), 0)
    beam = math.hypot(long, high)
    pieces = [block((wide, tread + 0.03, 0.04),
                    (0, (k + 0.5) * tread - 0.5 * long, (k + 1) * rise - 0.04))
              for k in range(steps)]
    pieces += [block((0.05, beam, 0.14), (s * 0.5 * wide, 0, 0.5 * high - 0.07), 0.75,
                     rotation=lean) for s in (-1, 1)]
    return model(pieces)


def railed_stairs(rng: np.random.Generator) -> Model:
    """Build a closed flight with a rail on one side or both."""
    steps, wide, rise, tread = _flight(rng)
    metal = steel(rng) if rng.random() < 0.6 else None
    pieces = [block((wide, (steps - k) * tread, rise), (0, 0.5 * k * tread, k * rise),
                    1.0 - 0.12 * (k % 2)) for k in range(steps)]
    for s in (-1, 1) if rng.random() < 0.5 else (one_of(rng, (-1, 1)),):
        x, start = s * 0.47 * wide, -0.5 * steps * tread
        tops = []
        for k in range(0, steps, 2):
            y, z = start + (k + 0.5) * tread, (k + 1) * rise
            tops.append((x, y, z + 0.7))
            pieces.append(rod((x, y, z), tops[-1], 0.016, skin=metal))
        pieces.append(rod(tops[0], tops[-1], 0.024, skin=metal))
    return model(pieces)


def _flight(rng: np.random.Generator) -> tuple[int, float, float, float]:
    """Draw how many steps, how wide, how high and how deep."""
    return (int(rng.integers(4, 9)), between(rng, 0.7, 1.3), between(rng, 0.14, 0.19),
            between(rng, 0.22, 0.3))


def bordered_rug(rng: np.random.Generator) -> Model:
    """Lay a rectangle with a border of another tone."""
    wide, deep = between(rng, 1.0, 2.0), between(rng, 0.7, 1.3)
    rim = between(rng, 0.08, 0.16)
    return model([block((wide, deep, 0.01), tint=0.6),
                  block((wide - 2 * rim, deep - 2 * rim, 0.014))])


def round_rug(rng: np.random.Generator) -> Model:
    """Lay one to three rings of tones."""
    radius = between(rng, 0.5, 0.85)
    return model([drum(radius * (1 - 0.3 * k), 0.01 + 0.003 * k, tint=1.0 if k % 2 == 0 else 0.7)
                  for k in range(int(rng.integers(1, 4)))])


def door_mat(rng: np.random.Generator) -> Model:
    """Lay a small mat with a stripe."""
    wide, deep = between(rng, 0.6, 1.0), between(rng, 0.4, 0.6)
    return model([block((wide, deep, 0.018)),
                  block((0.8 * wide, 0.12 * deep, 0.02), (0, 0, 0), skin=paint(DARK, 0.0))])


DESIGNS: dict[str, tuple[Design, ...]] = {
    "door": (toy("door"), flat_door, double_door),
    "window": (barred_window, blind_window, round_window),
    "curtain": (wavy_curtain, parted_curtain, pleated_curtain),
    "picture": (framed_picture, poster, landscape),
    "stairs": (solid_stairs, open_stairs, railed_stairs),
    "rug": (toy("rug"), bordered_rug, round_rug, door_mat),
}
