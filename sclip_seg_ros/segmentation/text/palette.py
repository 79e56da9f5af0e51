"""One colour a class: that of its name, unless another class has one that looks alike."""

from __future__ import annotations

import colorsys
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np

Colour = tuple[int, int, int]  # red, green, blue, 0..255

UNLABELLED_COLOUR = (0, 0, 0)
_HUES = 24
# Lightness and saturation pairs that stay apart on a screen and in print.
_TONES = ((0.50, 0.80), (0.68, 0.70), (0.36, 0.75), (0.58, 0.42))
# Distance in CIE L*a*b* that tells colours apart over a picture. With more, a class that is new in
# a list takes more others' colours away when the list is first seen.
_APART = 15.0
_ATTEMPTS = 64  # at a free colour among those, before the finer ones
# Finer: more hues, and lightness between the tones. More colours than a vocabulary has classes.
_FINE_HUES = 48
_FINE_TONES = (*_TONES, (0.59, 0.85), (0.43, 0.60), (0.75, 0.45))
_FINE_STEP = 95  # from colour to colour; shares no factor with their number, so that all are met
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_XYZ = (_XYZ / _XYZ.sum(1, keepdims=True)).T  # of linear sRGB; white is (1, 1, 1)


def palette_of(names: Sequence[str], chosen: Mapping[str, Colour] | None = None,
               remembered: Mapping[str, Colour] | None = None) -> np.ndarray:
    """Return the colours of the names of one vocabulary: (C, 3) uint8 RGB.

    Each is the name's own, which depends on it alone, so that a thing keeps its colour from
    vocabulary to vocabulary; or where that looks like another's, the next that does not; where
    there are too many names for that, the one least like the others. All but chosen ones differ,
    for as many names as a vocabulary may have (254).

    Args:
        names: of the classes.
        chosen: colours that somebody wants names to have; never changed.
        remembered: colours given to names before. They are kept, so that inserting a class
            recolours no other; of two names that never met and have the same, the first keeps it.
    """
    given = {name: chosen[name] for name in names if chosen and name in chosen}
    taken = set(given.values())
    for name in names:
        if remembered and name not in given and remembered.get(name) not in (None, *taken):
            given[name] = remembered[name]
            taken.add(given[name])
    offered, seen = _offered()
    nearest = np.full(len(seen), np.inf)  # taken colour, from each one offered

    def take(place: np.ndarray) -> None:
        np.minimum(nearest, np.linalg.norm(seen - place, axis=1), out=nearest)

    for place in lab(np.reshape([*taken], (-1, 3)) / 255):
        take(place)
    for name in names:
        if name not in given:
            draws = dict.fromkeys(_draws(name))
            free = (colour for colour in draws if nearest[offered[colour]] >= _APART)
            given[name] = next(free, None) or max(draws, key=lambda it: nearest[offered[it]])
            take(seen[offered[given[name]]])
    return np.array([given[name] for name in names], dtype=np.uint8).reshape(-1, 3)


def parse_palette(text: str) -> tuple[tuple[str, Colour], ...]:
    """Read colours of classes from a text such as ``"road=#804080, sky=#4682b4"``.

    Raises:
        ValueError: an entry that is not a name with a colour.
    """
    entries = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, colour = entry.rpartition("=")
        digits = re.fullmatch(r"#([0-9a-fA-F]{6})", colour.strip())
        if not name.strip() or digits is None:
            raise ValueError(f"palette entry '{entry}' is not a class with a colour; write e.g. "
                             "'road=#804080'")
        red, green, blue = bytes.fromhex(digits[1])
        entries.append((" ".join(name.split()), (red, green, blue)))
    return tuple(entries)


@cache
def _offered() -> tuple[dict[Colour, int], np.ndarray]:
    """Return the place of each colour that a name may draw, and all of them as CIE L*a*b*."""
    colours = dict.fromkeys(_draws(""))
    return {colour: place for place, colour in enumerate(colours)}, lab(np.array([*colours]) / 255)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return sRGB colours, (N, 3) in 0..1, as CIE L*a*b*, where distance is what the eye sees.

    IEC 61966-2-1 and CIE 15. OpenCV's conversion first makes tables for images: 0.17 s a process.
    """
    x, y, z = np.moveaxis(linear_light(rgb) @ _TO_XYZ, -1, 0)
    f_x, f_y, f_z = (np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
                     for t in (x, y, z))
    return np.stack([116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)], -1)


def linear_light(rgb: np.ndarray) -> np.ndarray:
    """Undo the sRGB curve of values in 0..1 (IEC 61966-2-1)."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _draws(name: str) -> Iterator[Colour]:
    """Yield the colours that a name would like, and then all finer ones."""
    for attempt in range(_ATTEMPTS):
        yield _draw(name, attempt)
    count = _FINE_HUES * len(_FINE_TONES)
    start = int.from_bytes(_digest(name, _ATTEMPTS), "big")
    for step in range(count):
        hue, tone = divmod((start + step * _FINE_STEP) % count, len(_FINE_TONES))
        yield _rgb(hue / _FINE_HUES, *_FINE_TONES[tone])


def _draw(name: str, attempt: int) -> Colour:
    digest = _digest(name, attempt)
    return _rgb((digest[0] % _HUES) / _HUES, *_TONES[digest[1] % len(_TONES)])


def _digest(name: str, attempt: int) -> bytes:
    return hashlib.blake2b(name.strip().lower().encode(), digest_size=4,
                           salt=bytes([attempt])).digest()


@cache  # of a few hundred
def _rgb(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def lookup_table(colours: np.ndarray) -> np.ndarray:
    """Return a (256, 3) uint8 table from label value to colour; unused values are unlabelled."""
    table = np.empty((256, 3), dtype=np.uint8)
    table[:] = UNLABELLED_COLOUR
    table[:len(colours)] = colours
    return table
