"""A small believable world: rooms with named, coloured things, rendered with exact masks."""

from sclip_seg_ros.tools.scenes.camera import Camera
from sclip_seg_ros.tools.scenes.camera_path import camera_path
from sclip_seg_ros.tools.scenes.colours import COLOURS
from sclip_seg_ros.tools.scenes.phrases import HELD_OUT_PAIRS, NOUNS, Thing, distractors
from sclip_seg_ros.tools.scenes.rendering import RenderedScene, render
from sclip_seg_ros.tools.scenes.sampling import sample_scene
from sclip_seg_ros.tools.scenes.scene import Scene

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
