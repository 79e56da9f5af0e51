"""The immutable description of a scene: things, their solid parts, lights, camera and look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.phrases import Thing
from sclip_research.scenes.primitives import Shape
from sclip_research.scenes.textures import Finish


@dataclass(frozen=True, eq=False)
class Part:
    """One shape in the world: the thing it belongs to, its place, rotation and finish.

    `rotation` (3, 3) turns the shape's own axes into world axes; None is no rotation.
    """

    thing: int
    shape: Shape
    finish: Finish
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: np.ndarray | None = None

    @cached_property
    def corners(self) -> np.ndarray | None:
        """The eight corners (8, 3) of a box around the part; None if it is endless."""
        bounds = self.shape.bounds()
        if bounds is None:
            return None
        grid = np.array(np.meshgrid(*zip(*bounds, strict=True), indexing="ij")).reshape(3, -1).T
        turned = grid if self.rotation is None else grid @ self.rotation.T
        return turned + np.array(self.position)


@dataclass(frozen=True)
class Contact:
    """The place where a thing stands, as a disc that darkens what it stands on."""

    x: float
    y: float
    z: float
    radius: float


@dataclass(frozen=True)
class Lighting:
    """A lamp with an area (position, radius and strength), a fill direction and ambient light."""

    position: tuple[float, float, float]
    radius: float
    strength: float
    fill_direction: tuple[float, float, float]
    fill_strength: float
    ambient: float


@dataclass(frozen=True)
class Look:
    """What the camera adds to the light.

    Exposure, white balance, blur, vignette and noise; in the indoor world also `defocus` (the
    deviation in pixels of an image 640 wide), `smear` (columns and rows that the picture moves
    while the shutter is open) and `chroma` (noise of each colour by itself).
    """

    exposure: float
    white_balance: tuple[float, float, float]
    blur: float
    vignette: float
    noise: float
    noise_seed: int
    defocus: float = 0.0
    smear: tuple[float, float] = (0.0, 0.0)
    chroma: float = 0.0


@dataclass(frozen=True, eq=False)
class Scene:
    """A room with things in it; no pixels.

    Attributes:
        things: the floor, the wall and the objects; a mask holds indices into this.
        supports: for each thing the index of what it stands on; None for floor and wall.
        parts: the solid parts, endless planes included.
        contacts: where things touch floor or furniture.
        lighting: the light.
        camera: the scene's own point of view.
        look: the camera's imperfections.
        focus_distance: how far ahead the middle of the things lies, in metres.
    """

    things: tuple[Thing, ...]
    supports: tuple[int | None, ...]
    parts: tuple[Part, ...]
    contacts: tuple[Contact, ...]
    lighting: Lighting
    camera: Camera
    look: Look
    focus_distance: float
