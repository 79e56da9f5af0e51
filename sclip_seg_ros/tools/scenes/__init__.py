"""A small believable world: rooms with named, coloured things, rendered with exact masks."""

from .camera import Camera, camera_path
from .colours import COLOURS
from .phrases import HELD_OUT_PAIRS, NOUNS, Thing, distractors
from .rendering import RenderedScene, render
from .sampling import sample_scene
from .scene import Scene

__all__ = [
    "COLOURS",
    "HELD_OUT_PAIRS",
    "NOUNS",
    "Camera",
    "RenderedScene",
    "Scene",
    "Thing",
    "camera_path",
    "distractors",
    "render",
    "sample_scene",
]
