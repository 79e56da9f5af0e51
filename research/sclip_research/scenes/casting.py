"""Visibility: which part every pixel sees, exactly at its centre, and how edges cover pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sclip_research.scenes.camera import NEAR, Camera
from sclip_research.scenes.primitives import Triple
from sclip_research.scenes.scene import Part

Window = tuple[slice, slice]
SUBSAMPLES = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
_NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def hit_distance(
    part: Part, origin: Sequence, direction: Sequence
) -> tuple[np.ndarray, np.ndarray | int]:
    """Intersect world rays with a part; distances keep the scale of the direction."""
    start = [o - p for o, p in zip(origin, part.position, strict=True)]
    return part.shape.intersect(into(part, start), into(part, direction))


def into(part: Part, vector: Sequence) -> Triple:
    """Turn world components into the axes of the part."""
    if part.rotation is None:
        return vector[0], vector[1], vector[2]
    return _turned(part.rotation.T, vector)


def out_of(part: Part, vector: Triple) -> Triple:
    """Turn components along the part's axes into world components."""
    return vector if part.rotation is None else _turned(part.rotation, vector)


def _turned(matrix: np.ndarray, vector: Sequence) -> Triple:
    """Multiply by a matrix, leaving out its zeros (most rotations are about one axis)."""
    rows = []
    for row in matrix.tolist():
        terms = [v if m == 1.0 else m * v for m, v in zip(row, vector, strict=True) if m]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        rows.append(total)
    return rows[0], rows[1], rows[2]


def cast(
    parts: Sequence[Part],
    views: Sequence[Window | None],
    camera: Camera,
    rays: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest part through every pixel, looking for each part in its window only.

    Returns:
        Depth in metres, index of the part, face of its shape; each (H, W).
    """
    _, height, width = rays.shape
    depth = np.full((height, width), np.inf, np.float32)
    winner = np.zeros((height, width), np.uint16)
    face = np.zeros((height, width), np.uint8)
    for number, (part, window) in enumerate(zip(parts, views, strict=True)):
        if window is None:
            continue
        distance, faces = hit_distance(
            part, camera.position, (rays[0][window], rays[1][window], rays[2][window])
        )
        nearer = distance < depth[window]
        np.copyto(depth[window], distance, where=nearer)
        np.copyto(winner[window], number, where=nearer)
        np.copyto(face[window], faces, where=nearer, casting="unsafe")
    return depth, winner, face


def windows(parts: Sequence[Part], camera: Camera, height: int, width: int) -> list[Window | None]:
    """Return for each part the rows and columns that may show it; None if it is out of view."""
    return [_window(part, camera, height, width) for part in parts]


def _window(part: Part, camera: Camera, height: int, width: int) -> Window | None:
    """Return the frame of the part's projected corners."""
    everything = slice(0, height), slice(0, width)
    if part.corners is None:
        return everything
    points = camera.project(part.corners, height, width)
    if points[:, 2].max() < NEAR:
        return None
    if points[:, 2].min() < NEAR:
        return everything
    left, top = np.floor(points[:, :2].min(axis=0)).astype(int).tolist()
    right, bottom = (np.ceil(points[:, :2].max(axis=0)).astype(int) + 1).tolist()
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns


def soften_edges(
    light: np.ndarray,
    winner: np.ndarray,
    parts: Sequence[Part],
    views: Sequence[Window | None],
    camera: Camera,
    rays: np.ndarray,
) -> None:
    """Blend the light (3, H, W) of pixels that several parts share, in place.

    Four more rays tell how much of an edge pixel each part covers; the light of a part that
    does not own the pixel is taken from a neighbour that it does own.
    """
    _, height, width = light.shape
    rows, columns = _edge_pixels(winner)
    if not len(rows):
        return
    right, up, _ = (axis.astype(np.float32) / camera.focal(width) for axis in camera.axes())
    step = [(right * dx - up * dy)[:, None] for dx, dy in SUBSAMPLES]
    centre = rays[:, rows, columns]
    samples = np.concatenate([centre + offset for offset in step], axis=1)
    rows, columns = np.tile(rows, len(SUBSAMPLES)), np.tile(columns, len(SUBSAMPLES))
    seen = _cast_samples(parts, views, camera, samples, rows, columns)
    source = _owned_neighbour(winner, seen, rows, columns)
    flat = light.reshape(3, -1)
    count = centre.shape[1]
    target = rows[:count] * width + columns[:count]
    for plane in flat:
        plane[target] = plane[source].reshape(len(SUBSAMPLES), count).mean(axis=0)


def _edge_pixels(winner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels with another part beside or below or above."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.nonzero(cv2.morphologyEx(winner, cv2.MORPH_GRADIENT, cross) > 0)


def _cast_samples(
    parts: Sequence[Part], views: Sequence[Window | None], camera: Camera, samples: np.ndarray,
    rows: np.ndarray, columns: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the nearest part along each of the scattered rays (3, N)."""
    depth = np.full(samples.shape[1], np.inf, np.float32)
    seen = np.zeros(samples.shape[1], np.uint16)
    for number, (part, window) in enumerate(zip(parts, views, strict=True)):
        if window is None:
            continue
        inside = np.flatnonzero(
            (rows >= window[0].start) & (rows < window[0].stop)
            & (columns >= window[1].start) & (columns < window[1].stop)
        )  # fmt: skip
        distance, _ = hit_distance(part, camera.position, samples[:, inside])
        closer = distance < depth[inside]
        nearer = inside[closer]
        depth[nearer] = distance[closer]
        seen[nearer] = number
    return seen


def _owned_neighbour(
    winner: np.ndarray, seen: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the flat index of a pixel near each sample that belongs to the part it sees."""
    height, width = winner.shape
    source = rows * width + columns
    missing = np.flatnonzero(winner[rows, columns] != seen)
    for down, across in _NEIGHBOURS:
        row = np.clip(rows[missing] + down, 0, height - 1)
        column = np.clip(columns[missing] + across, 0, width - 1)
        found = winner[row, column] == seen[missing]
        source[missing[found]] = row[found] * width + column[found]
        missing = missing[~found]
    return source
