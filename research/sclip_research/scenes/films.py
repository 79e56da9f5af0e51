"""Short films of a room, with exact labels and exact motion; things may move by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.camera_path import camera_path
from sclip_research.scenes.casting import cast, windows
from sclip_research.scenes.held_out import DISTRACTORS, HEIGHT, WIDTH
from sclip_research.scenes.phrases import distractors
from sclip_research.scenes.rendering import render
from sclip_research.scenes.sampling import FLOOR, SMALL_NOUNS
from sclip_research.scenes.scene import Scene
from sclip_research.scenes.worlds import world as world_of

SEED = 30_000          # other scenes than the held-out ones
FRAMES = 24            # of a film, which is a loop
RATE = 15.0            # frames a second that the films are taken for
PAN = 0.12             # radians that the camera looks to either side of its path
STRIDES = (10.0, 18.0)  # pixels that a mover goes in a frame, least and most
SAME_DEPTH = 0.02      # relative difference of two depths that are one point's


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame of a film with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, index into the film's words; 255 for what is too small to be named.
        following: (H, W) int64, the flat index of the pixel in the next frame that shows the same
            point; -1 where that is hidden or outside.
    """

    image: np.ndarray
    labels: np.ndarray
    following: np.ndarray


@dataclass(frozen=True, eq=False)
class Film:
    """A room, a camera that moves through it, and perhaps a thing that moves by itself.

    Attributes:
        words: the phrases of its things, and distractors.
        mover: index of the mover's word; None where only the camera moves.
    """

    scene: Scene
    words: tuple[str, ...]
    cameras: tuple[Camera, ...]
    mover: int | None
    _steps: np.ndarray
    _thing: int | None
    _seed: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.cameras)

    def shots(self) -> Iterator[Shot]:
        """Render the frames one by one; every call gives the same pixels."""
        rng = np.random.default_rng(self._seed)
        scenes = [moved(self.scene, self._thing, step) for step in self._steps]
        view = cache(lambda index: _view(scenes[index], self.cameras[index]))
        for index, (scene, camera) in enumerate(zip(scenes, self.cameras, strict=True)):
            shot = render(scene, HEIGHT, WIDTH, camera, rng)
            after = (index + 1) % len(self)
            following = _following(view(index), view(after), camera, self.cameras[after],
                                   self._thing, self._steps[after] - self._steps[index])
            yield Shot(shot.image, shot.labels(self.words), following)


def film(index: int, moving: bool, panning: bool = True, pause: int = 0,
         world: str = "toy") -> Film:
    """Return a film of a room that no training saw.

    Args:
        index: which; the first films are 0, 1, 2, ...
        moving: whether one of the small things on the floor goes to and fro by itself.
        panning: whether the camera moves; else it stands still.
        pause: frames before and after, in which all stays where it is; for a camera that does.
        world: which world the room is drawn from.
    """
    drawn = world_of(world)
    seed = (SEED + (1 if moving else 0), index)
    rng = np.random.default_rng(seed)
    while True:
        scene = drawn.sample(rng, "any")
        things = _movable(scene)
        if things or not moving:
            break
    phrases = list(dict.fromkeys(thing.phrase for thing in scene.things))
    words = [*phrases, *distractors(phrases, DISTRACTORS, rng, pairs="any", lexicon=drawn.lexicon)]
    words = tuple(words[place] for place in rng.permutation(len(words)))
    cameras = _panned(camera_path(scene, FRAMES)) if panning \
        else (scene.camera,) * (FRAMES + 2 * pause)
    if not moving:
        return Film(scene, words, cameras, None, np.zeros((len(cameras), 3)), None, seed)
    thing = int(things[rng.integers(len(things))])
    steps = _to_and_fro(scene, thing, float(rng.uniform(*STRIDES)))
    steps = np.pad(steps, ((pause, pause), (0, 0)), "edge")
    return Film(scene, words, cameras, words.index(scene.things[thing].phrase), steps, thing, seed)


def moved(scene: Scene, thing: int | None, step: np.ndarray) -> Scene:
    """Return a scene with one of its things elsewhere, by (3,) metres, its shadow with it."""
    if thing is None or not step.any():
        return scene
    def shifted(position: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in np.add(position, step))
        return x, y, z

    parts = tuple(replace(part, position=shifted(part.position)) if part.thing == thing else part
                  for part in scene.parts)
    centre = _centre(scene, thing)
    nearest = min(scene.contacts, key=lambda c: math.hypot(c.x - centre[0], c.y - centre[1]),
                  default=None)
    contacts = tuple(replace(contact, x=float(contact.x + step[0]), y=float(contact.y + step[1]))
                     if contact is nearest else contact for contact in scene.contacts)
    return replace(scene, parts=parts, contacts=contacts)


def _movable(scene: Scene) -> list[int]:
    """Return the small things that stand on the floor, with nothing upon them."""
    return [index for index, (thing, support) in enumerate(zip(scene.things, scene.supports,
                                                               strict=True))
            if support == FLOOR and thing.noun in SMALL_NOUNS and index not in scene.supports]


def _centre(scene: Scene, thing: int) -> np.ndarray:
    corners = [part.corners for part in scene.parts if part.thing == thing]
    return np.concatenate(corners).mean(axis=0)


def _panned(path: list[Camera]) -> tuple[Camera, ...]:
    """Turn the cameras of a loop to one side and the other."""
    return tuple(replace(camera, yaw=camera.yaw + PAN * math.sin(2 * math.pi * index / len(path)))
                 for index, camera in enumerate(path))


def _to_and_fro(scene: Scene, thing: int, stride: float) -> np.ndarray:
    """Return where a thing is in each frame, (FRAMES, 3) metres from its place.

    It goes across the picture by so many pixels a frame, and back.
    """
    right, _, forward = scene.camera.axes()
    depth = float((_centre(scene, thing) - np.array(scene.camera.position)) @ forward)
    across = stride * depth / scene.camera.focal(WIDTH)
    place = np.abs((np.arange(FRAMES) + FRAMES // 4) % FRAMES - FRAMES // 2) - FRAMES / 4
    return across * place[:, None] * right[None]


def _view(scene: Scene, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return depth (H, W), index of the part (H, W), and thing of each part."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth, part, _ = cast(scene.parts, windows(scene.parts, camera, HEIGHT, WIDTH), camera,
                              np.stack(camera.rays(HEIGHT, WIDTH)))
    return depth, part, np.array([part.thing for part in scene.parts])


def _following(view: tuple, after: tuple, camera: Camera, next_camera: Camera,
               thing: int | None, step: np.ndarray) -> np.ndarray:
    """Return for each pixel the flat index of the next frame's that shows the same point, or -1."""
    depth, part, owner = view
    rays = np.stack(camera.rays(HEIGHT, WIDTH), axis=-1).reshape(-1, 3)
    points = rays * depth.reshape(-1, 1) + np.array(camera.position)
    if thing is not None:
        points[owner[part.ravel()] == thing] += step
    column, row, distance = next_camera.project(points, HEIGHT, WIDTH).T
    with np.errstate(invalid="ignore"):
        seen = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT) & (distance > 0)
    index = np.full(HEIGHT * WIDTH, -1)
    index[seen] = row[seen].astype(int) * WIDTH + column[seen].astype(int)
    found = index[seen]
    same = ((after[1].ravel()[found] == part.ravel()[seen])
            & (np.abs(after[0].ravel()[found] / distance[seen] - 1) < SAME_DEPTH))
    index[np.flatnonzero(seen)[~same]] = -1
    return index.reshape(HEIGHT, WIDTH)
