"""The size that labels shall have, where another topic says it."""

from __future__ import annotations

import math
import time

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sclip_seg_ros.ros.cameras.subscription import CameraSubscription, type_name
from sclip_seg_ros.ros.parameters.label_size import LabelSize

PATIENCE_SECONDS = 5.0  # before a silent topic is told of
_KINDS = {type_name(kind): kind for kind in (CameraInfo, Image, PointCloud2)}


class SizeSource:
    """Follow ``label_size``: the camera's size, a given one, or that of a topic's newest message.

    Of images and clouds one message is taken, since each costs as much as it is large; of a
    camera_info every one. All methods but :meth:`size` belong to the executor's thread.
    """

    def __init__(self, node: Node) -> None:
        """Begin with the camera's size."""
        self._node = node
        self._wanted = LabelSize()
        self._found: tuple[int, int] | None = None
        self._subscription: CameraSubscription | None = None
        self._since = math.inf  # when the topic was looked for first
        self._told: set[str] = set()

    def want(self, wanted: LabelSize) -> None:
        """Follow another size from now on."""
        if wanted != self._wanted:
            self.close()
            self._wanted = wanted

    def size(self) -> tuple[int, int] | None:
        """Return (H, W) of the labels; None for the camera's own, or while none is known."""
        return self._wanted.fixed or self._found

    def close(self) -> None:
        """Unsubscribe, and forget what the topic said."""
        self._unsubscribe()
        self._found, self._since = None, math.inf
        self._told.clear()

    def look(self) -> None:
        """Subscribe once it is known what the topic carries; tell of one that says nothing."""
        topic = self._wanted.topic
        if not topic or self._found is not None and self._subscription is None:
            return
        self._since = min(self._since, time.monotonic())
        publishers = self._node.get_publishers_info_by_topic(topic)
        kinds = {info.topic_type for info in publishers}
        kind = next((_KINDS[name] for name in kinds if name in _KINDS), None)
        if self._subscription is None and kind is not None:
            self._subscription = CameraSubscription(self._node, kind, topic, self._take, "auto")
        if self._subscription is not None:  # it may have been published once, and latched
            self._subscription.follow(publishers)
        if self._found is not None or time.monotonic() - self._since < PATIENCE_SECONDS:
            return
        if kind is not None:
            self._tell(f"nothing has come on {topic} yet; see that it is published")
        elif kinds:
            self._tell(f"{topic} carries {' and '.join(sorted(kinds))}; name a topic with "
                       "sensor_msgs CameraInfo, Image or PointCloud2")
        else:
            self._tell(f"nobody publishes {topic}; see that it is published, or name another")

    def _take(self, message: CameraInfo | Image | PointCloud2) -> None:
        topic, size = self._wanted.topic, (message.height, message.width)
        if min(size) < 1 or isinstance(message, PointCloud2) and message.height == 1:
            self._tell(f"a message on {topic} is {message.width}x{message.height}, no image's size;"
                       " name the topic of an organised cloud, an image or a camera_info")
            return
        if size != self._found:
            self._node.get_logger().info(f"labels have {message.width}x{message.height} pixels, "
                                         f"as {topic}")
            self._found = size
        if not isinstance(message, CameraInfo):
            self._unsubscribe()

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._node.get_logger().warning(f"label_size: {reason}; until then labels have the "
                                            "camera's size")
