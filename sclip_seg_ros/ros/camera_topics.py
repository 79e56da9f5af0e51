"""Which topics the images come from, and the names of their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from sclip_seg_ros.io.camera_names import camera_names
from sclip_seg_ros.models.messages import first_line

MAX_CAMERAS = 8
COMPRESSED = "/compressed"


@dataclass(frozen=True)
class CameraTopic:
    """Where a camera's images come from.

    Attributes:
        name: of the camera; its outputs are ``~/<name>/label`` and so on. Empty for the only one.
        topic: to subscribe to, before any remapping.
        compressed: whether sensor_msgs/CompressedImage is published there.
    """

    name: str
    topic: str
    compressed: bool


def camera_topics(topics: Sequence[str], transport: str) -> tuple[CameraTopic, ...]:
    """Name the cameras of some topics by what tells the topics apart.

    ``/front/image_raw`` and ``/rear/image_raw`` are the cameras ``front`` and ``rear``. A topic
    that ends in ``/compressed`` carries compressed images whatever the transport.

    Args:
        topics: of the cameras.
        transport: "raw" or "compressed", of topics that do not say so themselves.

    Raises:
        ValueError: no topic, more than eight, one given twice or that is no topic's name, or two
            whose cameras would have one name.
    """
    bases = [topic.removesuffix(COMPRESSED).rstrip("/") for topic in topics]
    if not bases or not all(bases):
        raise ValueError(f"image_topics={list(topics)} names no camera, or one without a name; "
                         "give e.g. ['/front/image_raw', '/rear/image_raw']")
    if len(bases) > MAX_CAMERAS:
        raise ValueError(f"image_topics names {len(bases)} cameras; give at most {MAX_CAMERAS}")
    for base in bases:
        if bases.count(base) > 1:
            raise ValueError(f"image topic '{base}' is named twice in image_topics; keep one")
        _check_name(base)
    return tuple(
        CameraTopic(name, base, transport == "compressed" or topic.endswith(COMPRESSED))
        for name, base, topic in zip(camera_names(bases), bases, topics, strict=True))


def _check_name(topic: str) -> None:
    try:
        validate_topic_name(topic)
        # Some faults show only in the full name; in whose namespace makes no difference.
        validate_full_topic_name(expand_topic_name(topic, "node", "/namespace"))
    except (InvalidTopicNameException, ValueError) as error:
        raise ValueError(f"image topic '{topic}' is no topic's name ({first_line(error)}); use "
                         "letters, digits, '_' and '/'") from error
