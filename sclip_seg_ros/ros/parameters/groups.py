"""Parameters in parts: what is tried together, and comes into force or is refused together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS, SETTINGS, VOCABULARY
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.segmentation.settings import SegmentorSettings

_BASE = ""  # the settings that belong to no stage


@dataclass(frozen=True)
class Part:
    """Some parameters.

    Attributes:
        title: what they are, for messages.
        names: of the parameters.
    """

    title: str
    names: tuple[str, ...]

    def of(self, options: NodeOptions) -> tuple[Any, ...]:
        """Return what options say of this part; equal where they mean the same."""
        return tuple(options.values[name] for name in self.names)

    def settings(self, options: NodeOptions) -> dict[str, Any]:
        """Return this part's settings, as changes for ``SegmentorSettings.with_changes``."""
        return {name: options.values[name] for name in self.names if name in SETTINGS}


def _stages(settings: Iterable[str]) -> tuple[Part, ...]:
    """Return a part for each stage and its switch, after one for all that belongs to none."""
    stages = SegmentorSettings.stages()
    names: dict[str, list[str]] = {_BASE: []}
    for name in settings:
        group, nested, _ = name.partition(".")
        stage = group if nested else stages.get(name, _BASE)
        names.setdefault(stage, []).append(name)
    return tuple(Part("settings", tuple(found)) for found in names.values())


WORDS = Part("vocabulary", tuple(entry.name for entry in VOCABULARY if not entry.fixed))
BUDGET = Part("latency budget", ("latency_budget_ms",))
STAGES = _stages(name for name in DECLARATIONS if name in SETTINGS)
PARTS = (WORDS, *STAGES, BUDGET)
