"""Colours that people tell apart, also those who see few: for as many classes as there are."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

from sclip_seg_ros.segmentation.text.palette import Colour, lab, linear_light

# Machado, Oliveira and Fernandes (IEEE TVCG 2009), severity 1: linear RGB as it is seen by people
# without long, middle and short cones.
_SIGHTS = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
              [0.004733, 0.691367, 0.303900]]),
)
_FIRST = (0, 114, 178)  # a blue that all see


@lru_cache(maxsize=16)
def distinct_colours(count: int) -> list[Colour]:
    """Return so many colours, each as unlike those before it as can be, to whoever looks.

    Farthest-point selection among colours of many hues and lightnesses; the distance of two is the
    least of their distances in CIE L*a*b* over four ways of seeing.
    """
    candidates = _candidates()
    seen = np.stack([lab(_as_seen(candidates, sight)) for sight in _SIGHTS])
    chosen = [int(np.argmin(np.abs(candidates - np.array(_FIRST) / 255).sum(1)))]
    nearest = _distance(seen, chosen[0])
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(seen, chosen[-1]))
    picked = np.rint(candidates[chosen] * 255).astype(int)
    return [(red, green, blue) for red, green, blue in picked.tolist()]


def least_distance(colours: list[Colour]) -> float:
    """Return the least distance of any two colours, over four ways of seeing, CIE L*a*b*."""
    rgb = np.array(colours, np.float32) / 255
    seen = np.stack([lab(_as_seen(rgb, sight)) for sight in _SIGHTS])
    return min(float(np.delete(_distance(seen, index), index).min())
               for index in range(len(colours)))


def _candidates() -> np.ndarray:
    """Return colours (N, 3) float32 RGB in 0..1, none so dark or pale that a picture hides it."""
    made = [colorsys.hls_to_rgb(hue / 36, lightness, saturation) for hue in range(36)
            for lightness in (0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)
            for saturation in (0.35, 0.65, 0.95)]
    return np.array(made, np.float32)


def _as_seen(rgb: np.ndarray, sight: np.ndarray) -> np.ndarray:
    seen = np.clip(linear_light(rgb) @ sight.T, 0, 1)
    return np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)


def _distance(seen: np.ndarray, index: int) -> np.ndarray:
    """Return each colour's distance (N,) from one, the least over the ways of seeing."""
    return np.linalg.norm(seen - seen[:, index:index + 1], axis=2).min(axis=0)
