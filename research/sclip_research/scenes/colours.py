"""The colour words of the little world, each a range of hue, saturation and value.

Light is computed in linear units; a gamma of two stands in for the sRGB curve, because its
inverse is a plain square root.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

LinearColour = tuple[float, float, float]


@dataclass(frozen=True)
class ColourRange:
    """Hue in degrees, saturation and value in 0..1; each a closed (low, high) range."""

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


COLOURS: dict[str, ColourRange] = {
    "red": ColourRange((-6, 4), (0.80, 0.92), (0.76, 0.92)),
    "orange": ColourRange((22, 29), (0.86, 0.98), (0.92, 1.00)),
    "yellow": ColourRange((48, 55), (0.76, 0.94), (0.90, 1.00)),
    "green": ColourRange((108, 140), (0.62, 0.85), (0.45, 0.68)),
    "blue": ColourRange((214, 230), (0.72, 0.90), (0.62, 0.86)),
    "purple": ColourRange((270, 285), (0.55, 0.74), (0.54, 0.72)),
    "pink": ColourRange((328, 342), (0.36, 0.50), (0.93, 1.00)),
    "brown": ColourRange((20, 29), (0.54, 0.68), (0.38, 0.51)),
    "black": ColourRange((0, 360), (0.00, 0.10), (0.09, 0.15)),
    "white": ColourRange((20, 60), (0.00, 0.05), (0.94, 1.00)),
    "gray": ColourRange((0, 360), (0.00, 0.05), (0.44, 0.56)),
    "cyan": ColourRange((177, 187), (0.60, 0.82), (0.80, 0.92)),
}


def sample_colour(name: str, rng: np.random.Generator, *, muted: float = 1.0) -> LinearColour:
    """Draw one linear RGB colour that bears the given name.

    Args:
        name: a key of COLOURS.
        rng: source of the jitter.
        muted: factor on the saturation; large surfaces (walls) look natural below one.

    Raises:
        ValueError: the name is not a colour of this world.
    """
    if name not in COLOURS:
        raise ValueError(f"unknown colour {name!r}; choose one of {', '.join(COLOURS)}")
    spec = COLOURS[name]
    hue = rng.uniform(*spec.hue) / 360.0 % 1.0
    saturation = rng.uniform(*spec.saturation) * muted
    return linear(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(*spec.value)))


def linear(rgb: tuple[float, float, float]) -> LinearColour:
    """Turn display RGB in 0..1 into linear light (gamma two)."""
    red, green, blue = rgb
    return red * red, green * green, blue * blue


def mix(first: LinearColour, second: LinearColour, share: float) -> LinearColour:
    """Blend two linear colours; share is the part of the second."""
    red, green, blue = (float(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue
