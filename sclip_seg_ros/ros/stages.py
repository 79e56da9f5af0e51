"""Settings by stage, so that a stage that cannot work is refused without the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sclip_seg_ros.ros.parameter_table import DECLARATIONS
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import SegmentorSettings

_SWITCHES = {"use_loftup": "loftup", "use_resclip": "resclip", "use_pamr": "pamr",
             "use_densecrf": "crf"}
_PATHS = {entry.name: entry.setting for entry in DECLARATIONS.values() if entry.setting}
_BASE = ""  # the settings that belong to no stage
STAGES = (_BASE, *_SWITCHES.values())


def apply_by_stage(segmentor: SCLIPSegmentor, wanted: SegmentorSettings,
                   tried: SegmentorSettings,
                   on_refused: Callable[[dict[str, Any], Exception], None]) -> None:
    """Change a segmentor's settings stage by stage.

    Args:
        segmentor: to change.
        wanted: settings to reach.
        tried: settings asked for the last time; a stage is left alone where they agree.
        on_refused: called for each stage that cannot work, with its changed parameters as they
            were asked for and the reason. The segmentor keeps its former settings of that stage.
    """
    for stage in STAGES:
        asked = _values(wanted, stage)
        if asked == _values(tried, stage):
            continue
        former = segmentor.settings
        try:
            segmentor.settings = former.with_changes(**{_PATHS[name]: value
                                                        for name, value in asked.items()})
        except Exception as error:  # e.g. weights out of reach
            in_force = _values(former, stage)
            on_refused({name: value for name, value in asked.items()
                        if value != in_force[name]}, error)


def parameter_value(settings: SegmentorSettings, name: str) -> Any:
    """Return what a setting is, as the value of the parameter of that name."""
    value: Any = settings
    for part in _PATHS[name].split("__"):
        value = getattr(value, part)
    return list(value) if isinstance(value, tuple) else value


def _values(settings: SegmentorSettings, stage: str) -> dict[str, Any]:
    """Return a stage's settings by the names of their parameters."""
    return {name: parameter_value(settings, name) for name, path in _PATHS.items()
            if _stage(path) == stage}


def _stage(path: str) -> str:
    group, nested, _ = path.partition("__")
    return group if nested else _SWITCHES.get(path, _BASE)
