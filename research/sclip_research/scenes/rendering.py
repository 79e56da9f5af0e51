"""From a scene to pixels: visibility by ray casting, then light, then the camera's picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sclip_research.scenes import phrases
from sclip_research.scenes.camera import Camera
from sclip_research.scenes.casting import cast, into, out_of, soften_edges, windows
from sclip_research.scenes.phrases import Thing
from sclip_research.scenes.primitives import Triple
from sclip_research.scenes.scene import Scene
from sclip_research.scenes.shading import (
    ambient_reach,
    coarse_grid,
    develop,
    shade,
    spread_within_things,
    visibility_of_lamp,
)

SMALLEST_SHARE = 0.0015
UNLABELLED = 255
SMALLEST_SIDE = 8
BLOCK = 1 << 14
PIXEL_FOOTPRINT = 1.4


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A picture with its exact labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, index into `things` at every pixel.
        things: all things of the scene, hidden ones too.
        caption: one English sentence that names the visible things.
        depth: (H, W) float32, metres along the optical axis to what a pixel's centre shows.
    """

    image: np.ndarray
    mask: np.ndarray
    things: tuple[Thing, ...]
    caption: str
    depth: np.ndarray

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
        views = windows(scene.parts, camera, height, width)
        depth, winner, face = cast(scene.parts, views, camera, rays)
        owners = np.array([part.thing for part in scene.parts], np.uint8)
        mask = owners[winner]
        light = _lit(scene, camera, rays, depth, winner, face, mask)
        soften_edges(light, winner, scene.parts, views, camera, rays)
    image = develop(light, scene.look, rng)
    text = phrases.caption(scene.things, scene.supports, visible_things(mask))
    return RenderedScene(image, mask, scene.things, text, depth)


def _lit(
    scene: Scene, camera: Camera, rays: np.ndarray, depth: np.ndarray, winner: np.ndarray,
    face: np.ndarray, mask: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the linear light (3, H, W), worked out part by part in blocks that fit the cache."""
    height, width = depth.shape
    lamp, ambient = (field.ravel() for field in _reach_of_light(scene, camera, rays, depth, mask))
    flat_rays, flat_depth, flat_face = rays.reshape(3, -1), depth.ravel(), face.ravel()
    pixel_angle = PIXEL_FOOTPRINT / camera.focal(width)
    order = np.argsort(winner, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(winner.ravel(), minlength=len(scene.parts))).tolist()
    light = np.empty((3, height * width), np.float32)
    for part, begin, end in zip(scene.parts, [0, *ends[:-1]], ends, strict=True):
        for start in range(begin, end, BLOCK):
            chosen = order[start : min(start + BLOCK, end)]
            ray = [plane[chosen] for plane in flat_rays]
            distance = flat_depth[chosen]
            travelled = [component * distance for component in ray]
            point = [t + c for t, c in zip(travelled, camera.position, strict=True)]
            local = [p - c for p, c in zip(point, part.position, strict=True)]
            normal, u, v = part.shape.surface(into(part, local), flat_face[chosen])
            colour = shade(
                point,
                _towards_camera(out_of(part, normal), ray),
                ray,
                part.finish.albedo(u, v, distance * pixel_angle),
                part.finish,
                lamp[chosen],
                ambient[chosen],
                scene.lighting,
            )
            for plane, channel in zip(light, colour, strict=True):
                plane[chosen] = channel
    return light.reshape(3, height, width)


def _towards_camera(normal: Triple, ray: Triple) -> list[np.ndarray]:
    """Flip normals that point away from the camera: the inside of an open shape shows."""
    slope = normal[0] * ray[0] + normal[1] * ray[1] + normal[2] * ray[2]
    sign = np.where(slope > 0.0, np.float32(-1.0), np.float32(1.0))
    return [component * sign for component in normal]


def _reach_of_light(
    scene: Scene, camera: Camera, rays: np.ndarray, depth: np.ndarray, mask: np.ndarray
) -> list[np.ndarray]:
    """Return how much lamp light and ambient light (H, W) reach every pixel."""
    grid = np.ix_(coarse_grid(depth.shape[0]), coarse_grid(depth.shape[1]))
    position = np.array(camera.position, np.float32)[:, None, None]
    points = np.stack([plane[grid] for plane in rays]) * depth[grid] + position
    lamp = visibility_of_lamp(points, scene.parts, scene.lighting)
    ambient = ambient_reach(points, scene.parts, scene.contacts)
    return spread_within_things([lamp, ambient], mask[grid], mask)
