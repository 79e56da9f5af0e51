"""A fixed pool of rendered training scenes on disk, and random crops from it."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from sclip_research.scenes import Thing, render
from sclip_research.scenes.worlds import world as world_of

HEIGHT = 336              # what the height of a camera image is shrunk to
ASPECT = 4 / 3            # width to height
SCALES = (0.85, 2.6)      # of a crop's extent to its side
SCENE_VERSION = 1         # raise it when a scene of the same seed comes to look or read otherwise


@dataclass(frozen=True)
class Crop:
    """A square training image.

    Attributes:
        image: (side, side, 3) uint8 RGB.
        mask: (side, side) uint8 index into things.
        things: the scene's things.
        caption: one sentence about the whole scene.
    """

    image: np.ndarray
    mask: np.ndarray
    things: tuple[Thing, ...]
    caption: str


class ScenePool:
    """Rendered scenes 0..count-1, each a pure function of (seed, index); made once, then mapped."""

    def __init__(self, folder: Path, count: int, seed: int, workers: int = 2,
                 world: str = "toy", height: int = HEIGHT) -> None:
        """Open the pool in a folder, rendering what is missing.

        Args:
            folder: where it lies, or is to lie.
            count: how many scenes.
            seed: of the scenes.
            workers: processes that render.
            world: whose scenes.
            height: of the pictures in pixels; their width is 4/3 of it.

        Raises:
            ValueError: there is no such world.
        """
        world_of(world)
        self.size = height, round(ASPECT * height)
        folder.mkdir(parents=True, exist_ok=True)
        about = folder / "pool.json"
        identity = {"scene_version": SCENE_VERSION, "count": count, "seed": seed,
                    "height": self.size[0], "width": self.size[1], "world": world}
        if not about.exists() or json.loads(about.read_text())["identity"] != identity:
            self._fill(folder, identity, workers)
        stored = json.loads(about.read_text())
        self._images, self._masks = _maps(folder, (count, *self.size), "r")
        self._things = [tuple(Thing(**thing) for thing in entry) for entry in stored["things"]]
        self._captions = stored["captions"]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self._things)

    def crop(self, index: int, side: int, rng: np.random.Generator) -> Crop:
        """Cut a random square from a scene, resized to ``side``, mirrored half of the time.

        The extent is 0.85 to 2.6 times the side, as far as the scene goes, so that things appear
        larger and smaller than they were rendered, and small crops show whole ones: a noun is a
        matter of shape.
        """
        height, width = self.size
        widest = min(SCALES[1], height / side)
        closest = min(SCALES[0], widest)
        extent = int(side * math.exp(rng.uniform(math.log(closest), math.log(widest))))
        top = int(rng.integers(0, height - extent + 1))
        left = int(rng.integers(0, width - extent + 1))
        area = (slice(top, top + extent), slice(left, left + extent))
        smooth = cv2.INTER_AREA if extent > side else cv2.INTER_LINEAR
        image = cv2.resize(self._images[index][area], (side, side), interpolation=smooth)
        mask = cv2.resize(self._masks[index][area], (side, side), interpolation=cv2.INTER_NEAREST)
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return Crop(relight(image, rng), mask, self._things[index], self._captions[index])

    def image(self, index: int) -> np.ndarray:
        """Return a scene's picture (height, width, 3) uint8 RGB; do not write into it."""
        return self._images[index]

    def _fill(self, folder: Path, identity: dict, workers: int) -> None:
        count, seed, world = identity["count"], identity["seed"], identity["world"]
        # First of all: were this interrupted, it would vouch for the images written over.
        (folder / "pool.json").unlink(missing_ok=True)
        images, masks = _maps(folder, (count, *self.size), "w+")
        things, captions = [], []
        # Not forked: a lock that another thread holds at that moment would stay locked for good.
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=fresh) as executor:
            rendered = executor.map(_render, ((world, seed, index, *self.size)
                                              for index in range(count)), chunksize=16)
            for index, scene in enumerate(tqdm(rendered, total=count, desc="render scenes")):
                images[index], masks[index] = scene.image, scene.mask
                things.append([vars(thing) for thing in scene.things])
                captions.append(scene.caption)
        images.flush()
        masks.flush()
        partial = folder / "pool.json.partial"
        partial.write_text(json.dumps({"identity": identity, "things": things,
                                       "captions": captions}))
        os.replace(partial, folder / "pool.json")


def _render(key: tuple[str, int, int, int, int]):
    cv2.setNumThreads(1)
    world, seed, index, height, width = key
    rng = np.random.default_rng((seed, index))
    return render(world_of(world).sample(rng, "training"), height, width, noise_rng=rng)


def _maps(folder: Path, size: tuple[int, int, int],
          mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Map the pictures and the masks of a pool of (scenes, height, width)."""
    def mapped(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.lib.format.open_memmap(folder / name, mode, np.uint8, shape) \
            if mode != "r" else np.load(folder / name, mmap_mode="r")
    return mapped("images.npy", (*size, 3)), mapped("masks.npy", size)


def relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary exposure and contrast as another camera would; hue stays, colours are labels here."""
    gain = rng.uniform(0.8, 1.2)
    offset = rng.uniform(-15, 15)
    return cv2.convertScaleAbs(np.ascontiguousarray(image), alpha=gain, beta=offset) \
        if offset >= 0 else np.clip(image * gain + offset, 0, 255).astype(np.uint8)
