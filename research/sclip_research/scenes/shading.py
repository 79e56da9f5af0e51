"""Light: soft shadows, contact darkening, diffuse and specular reflection; then the camera.

Shadow rays go out from a coarse grid of points. Every point of a 3 x 3 tile aims at another
spot of the lamp, and a box filter of the tile's size, kept within each thing, merges them
into a penumbra (interleaved sampling, Keller and Heidrich 2001).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from sclip_research.scenes.casting import hit_distance
from sclip_research.scenes.primitives import EPSILON, Plane, Triple
from sclip_research.scenes.scene import Contact, Lighting, Look, Part
from sclip_research.scenes.textures import Finish

COARSE = 3
SHADOW_START = 0.03
HIGHLIGHT_DOUBLINGS = 4
LAMP_REACH = 3.0


def visibility_of_lamp(
    points: np.ndarray, parts: tuple[Part, ...], lighting: Lighting
) -> np.ndarray:
    """Return for each point of a coarse grid whether it sees its spot of the lamp.

    Shapes: points (3, H, W) -> (H, W) of 0 or 1.
    """
    _, height, width = points.shape
    spots = _lamp_spots(lighting, height, width)
    direction = spots - points
    length = np.sqrt((direction * direction).sum(axis=0))
    start = points + direction * (SHADOW_START / length)
    lit = np.ones((height, width), np.float32)
    origin, ray = start.reshape(3, -1), direction.reshape(3, -1)
    ray_squared = (ray * ray).sum(axis=0)
    shade = lit.reshape(-1)
    for part in parts:
        if part.corners is None:
            continue
        near = _rays_near(origin, ray, ray_squared, part.corners)
        if len(near):
            distance = hit_distance(part, origin[:, near], ray[:, near])[0]
            shade[near[distance < 1.0]] = 0.0
    return lit


def _lamp_spots(lighting: Lighting, height: int, width: int) -> np.ndarray:
    """Return the spot of the lamp (3, H, W) that each coarse point aims at."""
    number = np.arange(COARSE * COARSE)
    radius = lighting.radius * np.sqrt((number + 0.5) / len(number))
    angle = number * math.pi * (3.0 - math.sqrt(5.0))
    offsets = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.0 * radius])
    tile = (offsets + np.array(lighting.position)[:, None]).reshape(3, COARSE, COARSE)
    repeats = (1, -(-height // COARSE), -(-width // COARSE))
    return np.tile(tile.astype(np.float32), repeats)[:, :height, :width]


def _rays_near(
    origin: np.ndarray, ray: np.ndarray, ray_squared: np.ndarray, corners: np.ndarray
) -> np.ndarray:
    """Return the indices of the rays that pass the sphere around the corners."""
    centre = corners.mean(axis=0).astype(np.float32)
    radius = float(np.linalg.norm(corners - centre, axis=1).max())
    x, y, z = (centre[k] - origin[k] for k in range(3))
    along = np.clip((x * ray[0] + y * ray[1] + z * ray[2]) / ray_squared, 0.0, 1.0)
    x, y, z = x - along * ray[0], y - along * ray[1], z - along * ray[2]
    return np.flatnonzero(x * x + y * y + z * z < radius * radius)


def ambient_reach(
    points: np.ndarray, parts: tuple[Part, ...], contacts: tuple[Contact, ...]
) -> np.ndarray:
    """Return how much ambient light (H, W) reaches points in corners and beside things."""
    light = np.ones(points.shape[1:], np.float32)
    for part in parts:
        if isinstance(part.shape, Plane):
            gap = np.abs(points[part.shape.axis] - part.shape.value)
            light *= 1.0 - 0.32 * np.exp(gap * -7.0) * (gap > 1e-3)
    for contact in contacts:
        near = np.abs(points[2] - contact.z) < 0.02
        x, y = points[0][near] - contact.x, points[1][near] - contact.y
        gap = np.maximum(np.sqrt(x * x + y * y) - contact.radius, 0.0)
        light[near] *= 1.0 - 0.6 * np.exp(gap * (-3.0 / (contact.radius + 0.05)))
    return light


def coarse_grid(size: int) -> np.ndarray:
    """Return the pixel in the middle of each block of COARSE pixels along one side."""
    return np.minimum(np.arange(0, size, COARSE) + COARSE // 2, size - 1)


def spread_within_things(
    fields: Sequence[np.ndarray], ids: np.ndarray, full_ids: np.ndarray
) -> list[np.ndarray]:
    """Smooth coarse fields inside each thing and bring them to full size.

    Shapes: fields (h, w) and ids (h, w) on the coarse grid of full_ids (H, W) -> (H, W) each.
    """
    height, width = full_ids.shape
    results = [np.ones((height, width), np.float32) for _ in fields]
    size = (COARSE, COARSE)
    for thing in np.flatnonzero(np.bincount(ids.ravel())):
        inside = (ids == thing).astype(np.uint8)
        left, top, across, down = cv2.boundingRect(inside)
        rows, columns = (
            slice(max(start - 2, 0), start + extent + 2)
            for start, extent in ((top, down), (left, across))
        )
        weight = inside[rows, columns].astype(np.float32)
        stacked = cv2.merge([weight, *(weight * field[rows, columns] for field in fields)])
        stacked = cv2.GaussianBlur(cv2.blur(stacked, size), (5, 5), 1.3)
        stacked = cv2.resize(stacked, None, fx=COARSE, fy=COARSE, interpolation=cv2.INTER_LINEAR)
        window = slice(rows.start * COARSE, height), slice(columns.start * COARSE, width)
        stacked = stacked[: height - rows.start * COARSE, : width - columns.start * COARSE]
        weight, *values = cv2.split(stacked)
        window = tuple(
            slice(side.start, side.start + extent)
            for side, extent in zip(window, weight.shape, strict=True)
        )
        chosen = (full_ids[window] == thing) & (weight > EPSILON)
        for result, value in zip(results, values, strict=True):
            np.divide(value, weight, out=result[window], where=chosen)
    return results


def shade(
    point: Triple, normal: Triple, ray: Triple, albedo: np.ndarray, finish: Finish,
    lamp: np.ndarray, ambient: np.ndarray, lighting: Lighting,
) -> list[np.ndarray]:  # fmt: skip
    """Return the linear red, green and blue light that leaves points of one finish.

    Blinn-Phong highlights on Lambertian surfaces, under one lamp with a softened fall-off, a
    fill light, and a sky that is brighter above than below.

    Shapes: components, lamp and ambient (N,), albedo (3, N) -> three of (N,).
    """
    to_lamp = [where - p for where, p in zip(lighting.position, point, strict=True)]
    squared = _dot(to_lamp, to_lamp)
    inverse = 1.0 / np.sqrt(squared)
    to_lamp = [component * inverse for component in to_lamp]
    falloff = lighting.strength / (0.55 + 0.45 / LAMP_REACH**2 * squared)
    lit = lamp * falloff
    fill = np.maximum(_dot(normal, lighting.fill_direction), 0.0) * lighting.fill_strength
    sky = (0.86 + 0.14 * normal[2]) * lighting.ambient
    diffuse = np.maximum(_dot(normal, to_lamp), 0.0) * lit + ambient * (sky + fill) + finish.glow
    colour = [channel * diffuse for channel in albedo]
    if finish.gloss > 0.03:
        towards = -1.0 / np.sqrt(_dot(ray, ray))
        half = [one + towards * two for one, two in zip(to_lamp, ray, strict=True)]
        highlight = np.maximum(_dot(normal, half), 0.0)
        highlight *= highlight / _dot(half, half)
        for _ in range(HIGHLIGHT_DOUBLINGS):
            highlight *= highlight
        highlight *= finish.gloss * lit
        colour = [channel + highlight for channel in colour]
    return colour


def _dot(first: Sequence, second: Sequence) -> np.ndarray:
    """Multiply and add three components."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def develop(light: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Turn linear light (3, H, W) into the camera's uint8 RGB image (H, W, 3)."""
    _, height, width = light.shape
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :] ** 2
    vignette = 1.0 - 0.5 * look.vignette * (rows + columns)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    grain *= look.noise
    sigma = look.blur * width / 640.0 + 0.1
    light = _unsharp_by_lens_and_motion(light, look, width / 640.0)
    planes = []
    for plane, gain in zip(light, look.white_balance, strict=True):
        exposed = plane * vignette
        exposed *= gain * look.exposure
        display = np.sqrt(cv2.GaussianBlur(exposed, (3, 3), sigma))
        display += grain
        if look.chroma:
            display += rng.standard_normal((height, width), dtype=np.float32) * look.chroma
        planes.append(cv2.convertScaleAbs(display, alpha=255.0))
    return cv2.merge(planes)


def _unsharp_by_lens_and_motion(light: np.ndarray, look: Look, scale: float) -> np.ndarray:
    """Blur linear light (3, H, W) by a lens out of focus and by a camera that moves."""
    across, down = (scale * step for step in look.smear)
    reach = math.ceil(max(abs(across), abs(down)) / 2)
    if look.defocus:
        light = np.stack([cv2.GaussianBlur(plane, (0, 0), look.defocus * scale) for plane in light])
    if reach:
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        ends = [(reach + s * across / 2, reach + s * down / 2) for s in np.linspace(-1, 1, 16)]
        for column, row in ends:
            kernel[round(row), round(column)] += 1.0 / len(ends)
        light = np.stack([cv2.filter2D(plane, -1, kernel) for plane in light])
    return light
