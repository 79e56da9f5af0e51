"""From a scene to pixels: visibility by ray casting, then light, then the camera's picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import phrases
from .camera import NEAR, Camera
from .phrases import Thing
from .scene import Part, Scene
from .shading import (
    COARSE,
    contact_light,
    develop,
    hit_distance,
    into,
    out_of,
    shade,
    spread_within_things,
    visibility_of_lamp,
)

SMALLEST_SHARE = 0.0015
UNLABELLED = 255
SMALLEST_SIDE = 8


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A picture with its exact labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, index into `things` at every pixel.
        things: all things of the scene, hidden ones too.
        caption: one English sentence that names the visible things.
    """

    image: np.ndarray
    mask: np.ndarray
    things: tuple[Thing, ...]
    caption: str

    @property
    def phrases(self) -> list[str]:
        """Return the sorted phrases of the things that are visible enough to be named."""
        return sorted({self.things[index].phrase for index in visible_things(self.mask)})

    def labels(self, vocabulary: Sequence[str]) -> np.ndarray:
        """Return for each pixel the index of its phrase in the vocabulary, 255 if absent.

        Pixels of things too small to be named get 255 as well.

        Raises:
            ValueError: the vocabulary has more than 255 phrases.
        """
        if len(vocabulary) > UNLABELLED:
            raise ValueError(
                f"vocabulary has {len(vocabulary)} phrases; uint8 labels allow {UNLABELLED}"
            )
        table = np.full(256, UNLABELLED, np.uint8)
        position = {phrase: index for index, phrase in reversed(list(enumerate(vocabulary)))}
        for index in visible_things(self.mask):
            table[index] = position.get(self.things[index].phrase, UNLABELLED)
        return table[self.mask]


def visible_things(mask: np.ndarray) -> list[int]:
    """Return the indices that cover at least SMALLEST_SHARE of the mask, largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)
    order = np.argsort(-counts, kind="stable")
    return [int(index) for index in order if counts[index] >= SMALLEST_SHARE * mask.size]


def render(
    scene: Scene,
    height: int = 480,
    width: int = 640,
    camera: Camera | None = None,
    noise_rng: np.random.Generator | None = None,
) -> RenderedScene:
    """Render a scene; equal arguments give equal pixels.

    Args:
        scene: what to render.
        height: rows of the image.
        width: columns of the image.
        camera: another point of view than the scene's own.
        noise_rng: source of the sensor noise; by default seeded by the scene.

    Raises:
        ValueError: the image is smaller than SMALLEST_SIDE on a side.
    """
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(f"image size {height}x{width} is below {SMALLEST_SIDE} pixels a side")
    camera = camera or scene.camera
    rng = noise_rng or np.random.default_rng(scene.look.noise_seed)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rays = np.stack(camera.rays(height, width))
        depth, winner, face = cast(scene.parts, camera, rays)
        owners = np.array([part.thing for part in scene.parts], np.uint8)
        mask = owners[winner]
        light = _lit(scene, camera, rays, depth, winner, face, mask)
    image = develop(light, scene.look, rng)
    text = phrases.caption(scene.things, scene.supports, visible_things(mask))
    return RenderedScene(image, mask, scene.things, text)


def cast(
    parts: Sequence[Part], camera: Camera, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest part through every pixel.

    Returns:
        Depth in metres, index of the part, face of its shape; each (H, W).
    """
    _, height, width = rays.shape
    depth = np.full((height, width), np.inf, np.float32)
    winner = np.zeros((height, width), np.uint8)
    face = np.zeros((height, width), np.uint8)
    for number, part in enumerate(parts):
        window = _window(part, camera, height, width)
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


def _window(
    part: Part, camera: Camera, height: int, width: int
) -> tuple[slice, slice] | None:
    """Return the rows and columns that may show the part; None if it is out of view."""
    corners = part.corners()
    everything = slice(0, height), slice(0, width)
    if corners is None:
        return everything
    points = camera.project(corners, height, width)
    if points[:, 2].max() < NEAR:
        return None
    if points[:, 2].min() < NEAR:
        return everything
    left, top = np.floor(points[:, :2].min(axis=0)).astype(int)
    right, bottom = np.ceil(points[:, :2].max(axis=0)).astype(int) + 1
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns


def _lit(
    scene: Scene, camera: Camera, rays: np.ndarray, depth: np.ndarray, winner: np.ndarray,
    face: np.ndarray, mask: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the linear light (H, W, 3), computed on pixels sorted by part."""
    height, width = depth.shape
    points = rays * depth + np.array(camera.position, np.float32)[:, None, None]
    coarse = np.ascontiguousarray(points[:, 1::COARSE, 1::COARSE])
    coarse_ids = np.ascontiguousarray(mask[1::COARSE, 1::COARSE])
    lamp = visibility_of_lamp(coarse, coarse_ids, scene.parts, scene.lighting)
    lamp = spread_within_things(lamp, coarse_ids, mask)
    ambient = spread_within_things(contact_light(coarse, scene.contacts), coarse_ids, mask)

    order = np.argsort(winner, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(winner.ravel(), minlength=len(scene.parts)))
    sorted_points = points.reshape(3, -1)[:, order]
    sorted_rays = rays.reshape(3, -1)[:, order]
    sorted_face = face.ravel()[order]
    pixel = depth.ravel()[order] * (1.4 / camera.focal(width))
    normals, albedo = np.empty_like(sorted_points), np.empty_like(sorted_points)
    gloss = np.empty(len(order), np.float32)
    glow = np.empty(len(order), np.float32)
    begin = 0
    for part, end in zip(scene.parts, ends, strict=True):
        run = slice(begin, int(end))
        begin = int(end)
        if run.start == run.stop:
            continue
        local = [sorted_points[k, run] - part.position[k] for k in range(3)]
        normal, u, v = part.shape.surface(into(part, local), sorted_face[run])
        for k, component in enumerate(out_of(part, normal)):
            normals[k, run] = component
        albedo[:, run] = part.finish.albedo(u, v, pixel[run])
        gloss[run], glow[run] = part.finish.gloss, part.finish.glow
    away = np.einsum("cn,cn->n", normals, sorted_rays) > 0.0
    normals *= 1.0 - 2.0 * away.astype(np.float32)
    colour = shade(
        sorted_points, normals, sorted_rays, albedo, gloss, glow,
        lamp.ravel()[order], ambient.ravel()[order], scene.lighting,
    )  # fmt: skip
    light = np.empty((height * width, 3), np.float32)
    light[order] = colour.T
    return light.reshape(height, width, 3)
