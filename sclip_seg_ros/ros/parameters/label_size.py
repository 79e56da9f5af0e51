"""The size that labels are decided at: the camera's, a given one, or that of another topic."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sclip_seg_ros.ros.parameters.camera_topics import check_topic_name

MAX_SIDE = 8192  # pixels
_AS = "as:"


@dataclass(frozen=True)
class LabelSize:
    """What ``label_size`` says; the camera's own size where it says neither of these.

    Attributes:
        fixed: (H, W) in pixels.
        topic: whose messages have the size that is wanted.
    """

    fixed: tuple[int, int] | None = None
    topic: str = ""

    @classmethod
    def of(cls, text: str) -> LabelSize:
        """Read ``camera``, ``640x480`` (width first) or ``as:/depth/camera_info``.

        Raises:
            ValueError: anything else, or a size out of range.
        """
        text = text.strip()
        if text == "camera":
            return cls()
        if text.startswith(_AS):
            topic = text.removeprefix(_AS).strip()
            check_topic_name(topic, "label_size")
            return cls(topic=topic)
        found = re.fullmatch(r"(\d+)\s*[xX]\s*(\d+)", text)
        if not found:
            raise ValueError(f"label_size='{text}' is not a size; give 'camera', a width and "
                             "height such as '640x480', or 'as:' and a topic such as "
                             "'as:/depth/camera_info'")
        width, height = map(int, found.groups())
        if not all(1 <= side <= MAX_SIDE for side in (width, height)):
            raise ValueError(f"label_size={width}x{height} is out of range; give sides of 1 to "
                             f"{MAX_SIDE} pixels")
        return cls(fixed=(height, width))
