"""Frames whose scores are kept: where every later frame's pixels lay in them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import cv2
import numpy as np
from torch import Tensor

from sclip_seg_ros.temporal.flow import BLUR, agreement, compose
from sclip_seg_ros.temporal.warp import Path

STILL = 6  # grey levels by which means of BLUR x BLUR pixels differ for noise alone; rendered: 3


@dataclass(frozen=True, eq=False)
class Carried:
    """Scores as they are now, of whatever frame they were.

    Attributes:
        scores: (Q, h, w) float32 cosines.
        gate: (h, w) float32 in 0..1, how well a cell looks like where its scores come from.
        inside: (h, w) bool, False where a cell has come into the picture since.
        stamp: seconds, of the frame the scores are of.
        key: that the scores were made with.
        size: (H, W), the working size of the image they were made of.
    """

    scores: Tensor
    gate: np.ndarray
    inside: np.ndarray
    stamp: float
    key: Hashable
    size: tuple[int, int]


@dataclass(eq=False)
class Keyframe:
    """A frame that scores are of, or will be.

    Keep it with the frame's features for as long as scores may still be made of them;
    :class:`~sclip_seg_ros.temporal.evidence.Memory` follows it from frame to frame until then.

    Attributes:
        grey: (h, w) uint8, its small copy.
        stamp: seconds.
        past: the scores that were carried to it when it came, None if there were none.
        flow: (h, w, 2), backward, from the newest frame to it.
        lost: whether the scene was cut since: its scores say nothing about now.
    """

    grey: np.ndarray
    stamp: float
    past: Carried | None = None
    flow: np.ndarray = field(init=False)
    lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Begin where it is."""
        self.flow = np.zeros((*self.grey.shape, 2), np.float32)

    def follow(self, flow: np.ndarray | None) -> None:
        """Go on to a newer frame, given its flow to the one before; None: nothing moved."""
        if flow is not None:
            self.flow = compose(flow, self.flow)

    def path(self, grey: np.ndarray, gate: float, grid: tuple[int, int]) -> Path:
        """Return where the cells of a grid over the newest frame lay in this one.

        Args:
            grey: (h, w) uint8, small copy of the newest frame.
            gate: grey levels, see :func:`agreement`.
            grid: (rows, columns) of cells.
        """
        return Path.over(self.flow, agreement(grey, self.grey, self.flow, gate), grid)

    def unchanged(self, grey: np.ndarray) -> bool:
        """Tell whether a newer frame shows the same, without anything having moved."""
        return standstill(grey, self.grey)


def standstill(newer: np.ndarray, older: np.ndarray) -> bool:
    """Tell whether two grey copies (h, w) uint8 show the same, apart from noise."""
    return bool(cv2.blur(cv2.absdiff(newer, older), (BLUR, BLUR)).max() < STILL)
