"""A small believable world: rooms with named, coloured things, rendered with exact masks."""

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.camera_path import camera_path
from sclip_research.scenes.colours import COLOURS
from sclip_research.scenes.phrases import HELD_OUT_PAIRS, NOUNS, Thing, distractors
from sclip_research.scenes.rendering import RenderedScene, render
from sclip_research.scenes.sampling import sample_scene
from sclip_research.scenes.scene import Scene

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
