"""Analytic shapes and their intersection with many rays at once.

A ray is a point and a direction, each a triple of components; a component is a float or a
float32 array of one value per ray. `intersect` gives the distance along each ray (infinite
for a miss) and the number of the face hit; `surface` gives the normal and the texture
coordinates in metres at hit points. Everything is in the shape's own frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

EPSILON = 1e-4
INFINITE = np.float32(np.inf)
SMOOTH_ANGLE_COSINE = math.cos(math.radians(50.0))

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
Hits = tuple[np.ndarray, "np.ndarray | int"]
Surface = tuple[Triple, np.ndarray, np.ndarray]


class Shape(Protocol):
    """What the renderer asks of a shape."""

    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the lower and upper corner of a box around the shape; None if unbounded."""

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Return distance and face of the first hit of each ray."""

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Return normal and texture coordinates at points on the shape."""


@dataclass(frozen=True)
class Plane:
    """The endless plane where one coordinate (axis 0, 1 or 2) has a fixed value."""

    axis: int
    value: float
    facing: float = 1.0

    def bounds(self) -> None:
        """Return None: the plane has no end."""
        return None

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Divide the distance to the plane by the speed towards it."""
        distance = (self.value - origin[self.axis]) / direction[self.axis]
        return np.where(distance > EPSILON, distance, INFINITE), 0

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Take the two free coordinates as texture coordinates, height last."""
        normal = [np.zeros_like(point[0]) for _ in range(3)]
        normal[self.axis] += np.float32(self.facing)
        first, second = (k for k in range(3) if k != self.axis)
        return (normal[0], normal[1], normal[2]), point[first], point[second]


@dataclass(frozen=True)
class Box:
    """A cuboid around the origin, given by half its edges (slab method, Kay and Kajiya 1986)."""

    half: tuple[float, float, float]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the two opposite corners."""
        return -np.array(self.half), np.array(self.half)

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Intersect the three pairs of parallel planes."""
        enter, leave = None, None
        for half, start, speed in zip(self.half, origin, direction, strict=True):
            inverse = 1.0 / speed
            middle = -start * inverse
            reach = np.abs(inverse) * half
            near, far = middle - reach, middle + reach
            enter = near if enter is None else np.maximum(enter, near)
            leave = far if leave is None else np.minimum(leave, far)
        distance = np.where(enter > EPSILON, enter, leave)
        return np.where((enter <= leave) & (leave > EPSILON), distance, INFINITE), 0

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Choose the face whose plane the point touches."""
        relative = np.stack([p / h for p, h in zip(point, self.half, strict=True)])
        axis = np.argmax(np.abs(relative), axis=0)
        x, y, z = point
        normal = tuple(np.sign(relative[k]) * (axis == k) for k in range(3))
        return normal, np.where(axis == 0, y, x), np.where(axis == 2, y, z)


@dataclass(frozen=True)
class Sphere:
    """A ball around the origin."""

    radius: float

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the cube around the ball."""
        return np.full(3, -self.radius), np.full(3, self.radius)

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Solve the quadratic equation of the distance."""
        a = sum(d * d for d in direction)
        b = sum(o * d for o, d in zip(origin, direction, strict=True))
        c = sum(o * o for o in origin) - self.radius * self.radius
        root = np.sqrt(b * b - a * c)
        near = (-b - root) / a
        far = (-b + root) / a
        distance = np.where(near > EPSILON, near, far)
        return np.where(distance > EPSILON, distance, INFINITE), 0

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Use longitude and latitude, as lengths on the equator, for the texture."""
        x, y, z = (p / self.radius for p in point)
        longitude = np.arctan2(y, x) * self.radius
        latitude = np.arcsin(np.clip(z, -1.0, 1.0)) * self.radius
        return (x, y, z), longitude, latitude


@dataclass(frozen=True)
class Ellipsoid:
    """A stretched ball around the origin, given by its three half axes."""

    half: tuple[float, float, float]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the two opposite corners."""
        return -np.array(self.half), np.array(self.half)

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Squeeze ray and shape to a ball of radius one; distances stay what they are."""
        start = [o / h for o, h in zip(origin, self.half, strict=True)]
        speed = [d / h for d, h in zip(direction, self.half, strict=True)]
        return Sphere(1.0).intersect((start[0], start[1], start[2]), (speed[0], speed[1], speed[2]))

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Follow the gradient; the texture runs around the vertical."""
        steep = [p / (h * h) for p, h in zip(point, self.half, strict=True)]
        length = np.sqrt(sum(s * s for s in steep)) + 1e-9
        around = np.arctan2(point[1], point[0]) * max(self.half[:2])
        return (steep[0] / length, steep[1] / length, steep[2] / length), around, point[2]


@dataclass(frozen=True)
class Pyramid:
    """A pyramid on the ground: square base of half edge `half`, apex at `height`."""

    half: float
    height: float

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the box around the pyramid."""
        lower = np.array([-self.half, -self.half, 0.0])
        return lower, np.array([self.half, self.half, self.height])

    def _planes(self) -> list[tuple[tuple[float, float, float], float]]:
        """List outward normal and offset of the four sides and the base."""
        length = math.hypot(self.half, self.height)
        out, up = self.height / length, self.half / length
        offset = out * self.half
        sides = [(out, 0.0, up), (-out, 0.0, up), (0.0, out, up), (0.0, -out, up)]
        return [(side, offset) for side in sides] + [((0.0, 0.0, -1.0), 0.0)]

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Clip the ray against the five half spaces."""
        enter = np.full(np.shape(direction[0]), -np.inf, np.float32)
        leave = np.full_like(enter, np.inf)
        face = np.zeros(enter.shape, np.uint8)
        for number, (normal, offset) in enumerate(self._planes()):
            speed = sum(n * d for n, d in zip(normal, direction, strict=True) if n)
            gap = offset - sum(n * o for n, o in zip(normal, origin, strict=True) if n)
            distance = gap / speed
            later = (speed < 0) & (distance > enter)
            np.copyto(enter, distance, where=later)
            np.copyto(face, number, where=later)
            np.copyto(leave, distance, where=(speed > 0) & (distance < leave))
        return np.where((enter <= leave) & (enter > EPSILON), enter, INFINITE), face

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Look the flat normal up by face."""
        normals = np.array([plane[0] for plane in self._planes()], np.float32)[face]
        across = np.where(face < 2, point[1], point[0])
        return (normals[:, 0], normals[:, 1], normals[:, 2]), across, point[2]


@dataclass(frozen=True)
class Lathe:
    """A profile of (radius, height) points turned around the z axis.

    Each piece of the profile is a cone frustum, or a ring where the height stays the same.
    Neighbouring pieces that meet at a blunt angle are shaded as one smooth surface. With
    `half_turn` only the half with x above zero exists (the handle of a cup).
    """

    profile: tuple[tuple[float, float], ...]
    half_turn: bool = False

    @cached_property
    def _normals(self) -> np.ndarray:
        """Hold the profile's normals, worked out when first seen."""
        return _profile_normals(np.array(self.profile))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the box around the turned profile."""
        radius = max(r for r, _ in self.profile)
        heights = [z for _, z in self.profile]
        left = 0.0 if self.half_turn else -radius
        lower = np.array([left, -radius, min(heights)])
        return lower, np.array([radius, radius, max(heights)])

    def intersect(self, origin: Triple, direction: Triple) -> Hits:
        """Take the nearest hit over the pieces of the profile."""
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        a, b, c = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy
        best = np.full(np.shape(dx), np.inf, np.float32)
        face = np.zeros(best.shape, np.uint8)
        pieces = zip(self.profile[:-1], self.profile[1:], strict=True)
        for number, ((r0, z0), (r1, z1)) in enumerate(pieces):
            if abs(z1 - z0) < 1e-6:
                candidates = [_ring(min(r0, r1), max(r0, r1), z0, a, b, c, oz, dz)]
            else:
                candidates = _frustum(r0, z0, r1, z1, a, b, c, oz, dz)
            for distance, valid in candidates:
                if self.half_turn:
                    valid = valid & (ox + distance * dx >= 0.0)
                nearer = valid & (distance > EPSILON) & (distance < best)
                np.copyto(best, distance, where=nearer)
                np.copyto(face, number, where=nearer)
        return best, face

    def surface(self, point: Triple, face: np.ndarray) -> Surface:
        """Interpolate the profile normal along the piece and turn it around the axis."""
        x, y, z = point
        radius = np.sqrt(x * x + y * y) + 1e-9
        corners = np.array(self.profile, np.float32)
        start, step = corners[face], (corners[1:] - corners[:-1])[face]
        along = (radius - start[:, 0]) * step[:, 0] + (z - start[:, 1]) * step[:, 1]
        share = np.clip(along / (step * step).sum(axis=1), 0.0, 1.0)[:, None]
        ends = self._normals[face]
        normal = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        outward = normal[:, 0] / radius
        lid = (step[:, 1] == 0.0) & (start[:, 0] * (start[:, 0] + step[:, 0]) == 0.0)
        girth = float(corners[:, 0].max())
        across = np.where(lid, x, np.arctan2(y, x) * girth)
        return (x * outward, y * outward, normal[:, 1]), across, np.where(lid, y, z)


def _ring(
    inner: float, outer: float, height: float,
    a: np.ndarray, b: np.ndarray, c: np.ndarray, oz: np.ndarray, dz: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Hit the flat ring between two radii; a, b, c are the squared radius along the ray."""
    distance = (height - oz) / dz
    squared = (a * distance + 2.0 * b) * distance + c
    return distance, (squared >= inner * inner) & (squared <= outer * outer)


def _frustum(
    r0: float, z0: float, r1: float, z1: float,
    a: np.ndarray, b: np.ndarray, c: np.ndarray, oz: np.ndarray, dz: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Hit the side of a cone frustum: equate squared radii of ray and cone, both roots."""
    slope = (r1 - r0) / (z1 - z0)
    base = r0 + slope * (oz - z0)
    if slope:
        change = slope * dz
        a, b = a - change * change, b - base * change
    a = a + 1e-12
    root = np.sqrt(b * b - a * (c - base * base))
    low, high = min(z0, z1), max(z0, z1)
    hits = []
    for signed in (-root, root):
        distance = (signed - b) / a
        height = oz + distance * dz
        hits.append((distance, (height >= low) & (height <= high)))
    return hits


def _profile_normals(profile: np.ndarray) -> np.ndarray:
    """Return the normals (pieces, two ends, radial and axial part), smoothed over blunt joints."""
    step = np.diff(profile, axis=0)
    flat = np.stack([step[:, 1], -step[:, 0]], axis=1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    normals = np.repeat(flat[:, None, :], 2, axis=1)
    for joint in range(len(flat) - 1):
        if float(flat[joint] @ flat[joint + 1]) > SMOOTH_ANGLE_COSINE:
            mean = flat[joint] + flat[joint + 1]
            normals[joint, 1] = normals[joint + 1, 0] = mean / np.linalg.norm(mean)
    return normals.astype(np.float32)
