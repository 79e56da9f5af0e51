"""What the demo camera sees: a rendered room with its truth, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sclip_research.scenes import Thing, camera_path, render, sample_scene

from sclip_seg_ros.io.images import SUFFIXES, is_image, read_image

NOISE_SEED = 7


@dataclass(frozen=True)
class Footage:
    """Frames for the camera.

    Attributes:
        frames: (N, H, W, 3) uint8 RGB.
        masks: (N, H, W) uint8 index into things, or None where no truth is known.
        things: what the masks' values stand for.
    """

    frames: np.ndarray
    masks: np.ndarray | None
    things: tuple[Thing, ...]

    def truth(self, index: int, names: Sequence[str]) -> np.ndarray:
        """Return a frame's true ids in a vocabulary: (H, W) uint8, 255 where no name fits.

        A thing is called by its phrase ("red ball") or, failing that, by its noun ("ball").
        """
        table = np.full(256, 255, dtype=np.uint8)
        for value, thing in enumerate(self.things):
            for name in (thing.noun, thing.phrase):
                if name in names:
                    table[value] = list(names).index(name)
        return table[self.masks[index]]


def render_footage(seed: int, count: int, height: int = 480, width: int = 640) -> Footage:
    """Film a random room with a camera that moves through it."""
    scene = sample_scene(np.random.default_rng(seed), pairs="held-out")
    rng = np.random.default_rng(NOISE_SEED)
    shots = [render(scene, height, width, camera=camera, noise_rng=rng)
             for camera in camera_path(scene, count)]
    return Footage(np.stack([shot.image for shot in shots]),
                   np.stack([shot.mask for shot in shots]), scene.things)


def read_footage(folder: Path, count: int) -> Footage:
    """Read a folder of pictures, in the order of their names, repeated up to ``count`` frames.

    Pictures of other sizes than the first are resized to it.

    Raises:
        ValueError: no picture, or one that cannot be read.
    """
    pictures = [read_image(path) for path in sorted(filter(is_image, folder.glob("*")))]
    if not pictures:
        raise ValueError(f"folder '{folder}' holds no picture ({', '.join(SUFFIXES)})")
    height, width = pictures[0].shape[:2]
    pictures = [cv2.resize(picture, (width, height)) if picture.shape[:2] != (height, width)
                else picture for picture in pictures]
    return Footage(np.stack([pictures[i % len(pictures)] for i in range(count)]), None, ())
