"""A camera's frame, as it arrives and as it is worked on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.ros.camera import Camera


@dataclass(frozen=True)
class Frame:
    """An image message, its camera, and when it arrived, in seconds of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    arrived: float


@dataclass
class Job:
    """A frame in work: its pixels (H, W, 3) uint8 RGB, and milliseconds by stage."""

    frame: Frame
    image: np.ndarray
    milliseconds: dict[str, float] = field(default_factory=dict)

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
