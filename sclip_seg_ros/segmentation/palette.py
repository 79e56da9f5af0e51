"""One colour a class: that of its name, unless another class has it already."""

from __future__ import annotations

import colorsys
import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

Colour = tuple[int, int, int]  # red, green, blue, 0..255

UNLABELLED_COLOUR = (0, 0, 0)
_HUES = 24
# Lightness and saturation pairs that stay apart on a screen and in print.
_TONES = ((0.50, 0.80), (0.68, 0.70), (0.36, 0.75), (0.58, 0.42))
_ATTEMPTS = 64  # at a free colour


def colour_of(name: str) -> Colour:
    """Return the overlay colour (red, green, blue in 0..255) of a class name.

    It depends on the name alone, so that a thing keeps its colour from vocabulary to vocabulary.
    """
    return _draw(name, 0)


def palette_of(names: Sequence[str],
               known: Mapping[str, Colour] | None = None) -> np.ndarray:
    """Return the colours of the names of one vocabulary: (C, 3) uint8 RGB.

    Each is the name's own, or where another name has that, the next free one. All differ, as long
    as there are colours left: up to some eighty names.

    Args:
        names: of the classes.
        known: colours given to names before. They are kept, so that inserting a class recolours
            no other.
    """
    given = {name: known[name] for name in names if known and name in known}
    taken = set(given.values())
    for name in names:
        if name not in given:
            draws = (_draw(name, attempt) for attempt in range(_ATTEMPTS))
            given[name] = next((colour for colour in draws if colour not in taken),
                               colour_of(name))
            taken.add(given[name])
    return np.array([given[name] for name in names], dtype=np.uint8).reshape(-1, 3)


def parse_palette(text: str) -> tuple[tuple[str, Colour], ...]:
    """Read colours of classes from a text such as ``"road=#804080, sky=#4682b4"``.

    Raises:
        ValueError: an entry that is no name with a colour.
    """
    entries = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, colour = entry.rpartition("=")
        digits = re.fullmatch(r"#([0-9a-fA-F]{6})", colour.strip())
        if not name.strip() or digits is None:
            raise ValueError(f"palette entry '{entry}' is no class with a colour; write e.g. "
                             "'road=#804080'")
        entries.append((" ".join(name.split()), tuple(bytes.fromhex(digits[1]))))
    return tuple(entries)


def _draw(name: str, attempt: int) -> Colour:
    digest = hashlib.blake2b(name.strip().lower().encode(), digest_size=4,
                             salt=bytes([attempt])).digest()
    hue = (digest[0] % _HUES) / _HUES
    lightness, saturation = _TONES[digest[1] % len(_TONES)]
    return tuple(round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, saturation))


def lookup_table(colours: np.ndarray) -> np.ndarray:
    """Return a (256, 3) uint8 table from label value to colour; unused values are unlabelled."""
    table = np.empty((256, 3), dtype=np.uint8)
    table[:] = UNLABELLED_COLOUR
    table[:len(colours)] = colours
    return table
