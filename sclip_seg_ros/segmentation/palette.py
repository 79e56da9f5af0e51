"""One colour per class name, the same whatever else is in the vocabulary."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence

import numpy as np

UNLABELLED_COLOUR = (0, 0, 0)
_HUES = 24
# Lightness and saturation pairs that stay apart on a screen and in print.
_TONES = ((0.50, 0.80), (0.68, 0.70), (0.36, 0.75), (0.58, 0.42))


def colour_of(name: str) -> tuple[int, int, int]:
    """Return the overlay colour (red, green, blue in 0..255) of a class name.

    It depends on the name alone, so that inserting a class recolours no other.
    """
    digest = hashlib.blake2b(name.strip().lower().encode(), digest_size=4).digest()
    hue = (digest[0] % _HUES) / _HUES
    lightness, saturation = _TONES[digest[1] % len(_TONES)]
    return tuple(round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, saturation))


def palette_of(names: Sequence[str]) -> np.ndarray:
    """Return the colours of several names: (C, 3) uint8 RGB."""
    return np.array([colour_of(name) for name in names], dtype=np.uint8).reshape(-1, 3)


def lookup_table(colours: np.ndarray) -> np.ndarray:
    """Return a (256, 3) uint8 table from label value to colour; unused values are unlabelled."""
    table = np.empty((256, 3), dtype=np.uint8)
    table[:] = UNLABELLED_COLOUR
    table[:len(colours)] = colours
    return table
