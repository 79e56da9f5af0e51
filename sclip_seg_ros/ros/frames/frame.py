"""A camera's frame, as it arrives and as it is worked on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.msg import Evidence as EvidenceMessage
from sclip_seg_ros.ros.cameras.camera import Camera


@dataclass(frozen=True)
class Frame:
    """An image message, its camera, and when it arrived, in seconds of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    arrived: float


@dataclass(eq=False)
class Job:
    """A frame in work.

    Attributes:
        frame: as it arrived.
        image: (H, W, 3) uint8 RGB.
        milliseconds: by stage.
        total_ms: from its arrival to its last output, once it was reported; NaN before. Status,
            counts and the choice of levels all go by this one value.
        observed: whether its camera's memory has seen it.
        evidence: what its labels rest on, once it has any.
    """

    frame: Frame
    image: np.ndarray
    milliseconds: dict[str, float] = field(default_factory=dict)
    total_ms: float = math.nan
    observed: bool = False
    evidence: EvidenceMessage = field(
        default_factory=lambda: EvidenceMessage(age_ms=math.nan, unknown=1.0))

    @property
    def camera(self) -> Camera:
        """The camera it comes from."""
        return self.frame.camera

    @property
    def header(self) -> Header:
        """The header that all its outputs bear."""
        return self.frame.message.header

    @property
    def age_seconds(self) -> float:
        """How long ago it arrived."""
        return time.monotonic() - self.frame.arrived
