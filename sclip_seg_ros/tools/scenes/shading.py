"""Light: soft shadows, contact darkening, diffuse and specular reflection; then the camera.

Shadow rays go out from a coarse grid of points. Every point of a 3 x 3 tile aims at another
spot of the lamp, and a box filter of the tile's size, kept within each thing, merges them
into a penumbra (interleaved sampling, Keller and Heidrich 2001).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .primitives import EPSILON, Triple
from .scene import Contact, Lighting, Look, Part

COARSE = 3
SHADOW_START = 0.012
HIGHLIGHT_POWER_DOUBLINGS = 5


def visibility_of_lamp(
    points: np.ndarray, ids: np.ndarray, parts: tuple[Part, ...], lighting: Lighting
) -> np.ndarray:
    """Return for each point of a coarse grid whether it sees its spot of the lamp.

    Shapes: points (3, H, W), ids (H, W) -> (H, W) of 0 or 1.
    """
    height, width = ids.shape
    spots = _lamp_spots(lighting, height, width)
    direction = spots - points
    length = np.sqrt((direction * direction).sum(axis=0))
    start = points + direction * (SHADOW_START / length)
    lit = np.ones((height, width), np.float32)
    origin, ray = start.reshape(3, -1), direction.reshape(3, -1)
    ray_squared = (ray * ray).sum(axis=0)
    shade = lit.reshape(-1)
    for part in parts:
        corners = part.corners()
        if corners is None:
            continue
        near = _rays_near(origin, ray, ray_squared, corners)
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


def hit_distance(
    part: Part, origin: np.ndarray | Triple, direction: np.ndarray | Triple
) -> tuple[np.ndarray, np.ndarray | int]:
    """Intersect world rays with a part; distances keep the scale of the direction."""
    start = [o - p for o, p in zip(origin, part.position, strict=True)]
    return part.shape.intersect(into(part, start), into(part, direction))


def into(part: Part, vector: list | np.ndarray | Triple) -> Triple:
    """Turn world components into the axes of the part."""
    if part.rotation is None:
        return vector[0], vector[1], vector[2]
    return _turned(part.rotation.T, vector)


def out_of(part: Part, vector: Triple) -> Triple:
    """Turn components along the part's axes into world components."""
    return vector if part.rotation is None else _turned(part.rotation, vector)


def _turned(matrix: np.ndarray, vector: list | np.ndarray | Triple) -> Triple:
    """Multiply by a matrix, leaving out its zeros (most rotations are about one axis)."""
    rows = []
    for row in matrix.tolist():
        terms = [v if m == 1.0 else m * v for m, v in zip(row, vector, strict=True) if m]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        rows.append(total)
    return rows[0], rows[1], rows[2]


def contact_light(points: np.ndarray, contacts: tuple[Contact, ...]) -> np.ndarray:
    """Return how much ambient light (H, W) reaches points beside standing things."""
    light = np.ones(points.shape[1:], np.float32)
    for contact in contacts:
        near = np.abs(points[2] - contact.z) < 0.02
        x, y = points[0][near] - contact.x, points[1][near] - contact.y
        gap = np.maximum(np.sqrt(x * x + y * y) - contact.radius, 0.0)
        light[near] *= 1.0 - 0.55 * np.exp(gap * (-3.2 / (contact.radius + 0.05)))
    return light


def spread_within_things(coarse: np.ndarray, ids: np.ndarray, full_ids: np.ndarray) -> np.ndarray:
    """Smooth a coarse field inside each thing and bring it to full size.

    Shapes: coarse (h, w), ids (h, w) and full_ids (H, W) of the same things -> (H, W).
    """
    height, width = full_ids.shape
    result = np.ones((height, width), np.float32)
    size = (COARSE, COARSE)
    for thing in np.unique(full_ids):
        inside = (ids == thing).astype(np.float32)
        weight = cv2.blur(cv2.blur(inside, size), size)
        value = cv2.blur(cv2.blur(inside * coarse, size), size)
        stacked = cv2.resize(
            cv2.merge([value, weight]), (width, height), interpolation=cv2.INTER_LINEAR
        )
        chosen = full_ids == thing
        weights = stacked[..., 1][chosen]
        result[chosen] = np.where(
            weights > EPSILON, stacked[..., 0][chosen] / np.maximum(weights, EPSILON), 1.0
        )
    return result


def shade(
    points: np.ndarray, normals: np.ndarray, rays: np.ndarray, albedo: np.ndarray,
    gloss: np.ndarray, glow: np.ndarray, lamp: np.ndarray, ambient: np.ndarray,
    lighting: Lighting,
) -> np.ndarray:  # fmt: skip
    """Return the linear light (3, N) that leaves each point towards the camera.

    Blinn-Phong highlights on Lambertian surfaces, under one lamp, a fill light and a sky that
    is brighter above than below.
    """
    to_lamp = np.array(lighting.position, np.float32)[:, None] - points
    to_lamp /= np.sqrt(np.einsum("cn,cn->n", to_lamp, to_lamp))
    facing = np.maximum(np.einsum("cn,cn->n", normals, to_lamp), 0.0)
    fill = np.array(lighting.fill_direction, np.float32) @ normals
    direct = facing * lamp * lighting.strength
    sky = (0.86 + 0.14 * normals[2]) * lighting.ambient
    filled = np.maximum(fill, 0.0) * lighting.fill_strength
    diffuse = direct + ambient * (sky + filled) + glow
    half = to_lamp - rays / np.sqrt(np.einsum("cn,cn->n", rays, rays))
    half /= np.sqrt(np.einsum("cn,cn->n", half, half))
    highlight = np.maximum(np.einsum("cn,cn->n", normals, half), 0.0)
    for _ in range(HIGHLIGHT_POWER_DOUBLINGS):
        highlight *= highlight
    return albedo * diffuse + gloss * highlight * lamp


def develop(light: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Turn linear light (H, W, 3) into the camera's uint8 RGB image."""
    height, width = light.shape[:2]
    gains = np.array(look.white_balance, np.float32) * look.exposure
    light *= gains
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :] ** 2
    light *= (1.0 - look.vignette * 0.5 * (rows + columns))[..., None]
    sigma = look.blur * width / 640.0 + 0.12
    light = cv2.GaussianBlur(light, (5, 5), sigma)
    display = np.sqrt(light, out=light)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    display += (look.noise * grain)[..., None]
    return cv2.convertScaleAbs(np.maximum(display, 0.0, out=display), alpha=255.0)
