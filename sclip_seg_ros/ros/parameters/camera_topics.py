"""Which topics the images come from, and the names of their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.io.camera_names import COMPRESSED, camera_names

MAX_CAMERAS = 8


@dataclass(frozen=True)
class CameraTopic:
    """Where a camera's images come from.

    Attributes:
        name: of the camera; its outputs are ``~/<name>/label`` and so on. Empty for the only one.
        topic: to subscribe to, before any remapping.
        compressed: whether sensor_msgs/CompressedImage is published there.
        depth: topic of the depth that is registered to the camera; empty for none.
    """

    name: str
    topic: str
    compressed: bool
    depth: str = ""


def camera_topics(topics: Sequence[str], transport: str,
                  depths: Sequence[str] = ()) -> tuple[CameraTopic, ...]:
    """Name the cameras of some topics by what tells the topics apart.

    ``/front/image_raw`` and ``/rear/image_raw`` are the cameras ``front`` and ``rear``. A topic
    that ends in ``/compressed`` carries compressed images whatever the transport.

    Args:
        topics: of the cameras.
        transport: "raw" or "compressed", of topics that do not say so themselves.
        depths: topics of the cameras' depth, empty where one has none; or none at all.

    Raises:
        ValueError: no topic, more than eight, one given twice or that is not a topic's name, two
            whose cameras would have one name, or not as many depths.
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
        check_topic_name(base, "image topic")
    if depths and len(depths) != len(bases):
        raise ValueError(f"depth_topics has {len(depths)} topics and image_topics {len(bases)}; "
                         "give one for each camera, '' for a camera without depth")
    for depth in filter(None, depths):
        check_topic_name(depth, "depth topic")
    return tuple(
        CameraTopic(name, base, transport == "compressed" or topic.endswith(COMPRESSED), depth)
        for name, base, topic, depth in zip(camera_names(bases), bases, topics,
                                            depths or [""] * len(bases), strict=True))


def check_topic_name(topic: str, role: str) -> None:
    """Refuse what cannot be a topic's name.

    Args:
        topic: its name.
        role: what it is for, to be told.

    Raises:
        ValueError: it is none.
    """
    try:
        validate_topic_name(topic)
        # Some faults show only in the full name; in whose namespace makes no difference.
        validate_full_topic_name(expand_topic_name(topic, "node", "/namespace"))
    except (InvalidTopicNameException, ValueError) as error:
        raise ValueError(f"{role} '{topic}' is not a topic's name ({first_line(error)}); use "
                         "letters, digits, '_' and '/'") from error
