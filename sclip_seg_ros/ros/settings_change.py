"""Changed parameters on their way into the segmentor, refused stage by stage where they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.stages import apply_by_stage, parameter_value
from sclip_seg_ros.ros.status import describe
from sclip_seg_ros.segmentation import SCLIPSegmentor

Values = dict[str, Any]


class SettingsChange:
    """Bring settings and budget to what the parameters say, between two frames."""

    def __init__(self, segmentor: SCLIPSegmentor, quality: QualityControl, options: NodeOptions,
                 on_error: Callable[[str], None],
                 on_refused: Callable[[Values, Values], None]) -> None:
        """Remember what holds.

        Args:
            segmentor: to change.
            quality: of the same segmentor.
            options: the segmentor was made with.
            on_error: called with a line of text for each refusal.
            on_refused: called with the refused values and with those that stay in force, by the
                names of their parameters.
        """
        self._segmentor = segmentor
        self._quality = quality
        self._on_error = on_error
        self._on_refused = on_refused
        self._tried = (options.settings, 0.0)

    def adopt(self, options: NodeOptions) -> bool:
        """Take over what has changed since the last call; return whether anything has."""
        wanted = (options.settings, options.latency_budget_ms)
        if wanted == self._tried:
            return False
        former, self._tried = self._tried, wanted
        self._segmentor.settings = self._quality.base
        apply_by_stage(self._segmentor, options.settings, former[0], self._refuse)
        try:
            self._quality.configure(self._segmentor.settings, options.latency_budget_ms)
        except Exception as error:  # a level of the ladder that cannot work with these settings
            self._on_error(f"the latency budget is not kept: {describe(error)}")
            self._quality.configure(self._segmentor.settings, 0.0)
            self._on_refused({"latency_budget_ms": options.latency_budget_ms},
                             {"latency_budget_ms": 0.0})
        return True

    def _refuse(self, refused: Values, error: Exception) -> None:
        """Tell of parameters that cannot work, and what they go back to."""
        valid = {name: parameter_value(self._segmentor.settings, name) for name in refused}
        back = ", ".join(f"{name}={value}" for name, value in valid.items())
        self._on_error(f"settings refused, back to {back}: {describe(error)}")
        self._on_refused(refused, valid)
