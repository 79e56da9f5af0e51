"""Why no image comes: noticed, looked into, and told once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.io.camera_names import COMPRESSED
from sclip_seg_ros.ros.cameras.subscription import CameraSubscription, type_name

PATIENCE_SECONDS = 5.0  # without an image before it is told
TYPE_SECONDS = 1.0      # the same, where another type is published: not all may be discovered yet
_MOST_TOPICS = 6        # named in a message
_DEPTH = "/compressedDepth"  # at the end of a topic's name
_REPUBLISH = ("have the camera publish raw or compressed images, too, or turn those into images "
              "with `ros2 run image_transport republish`")
_IMAGE, _COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Silence:
    """Find out why a camera is silent, and warn of each reason once."""

    def __init__(self, node: Node, subscription: CameraSubscription) -> None:
        """Begin to listen.

        Args:
            node: to look around with.
            subscription: the camera's.
        """
        self._node = node
        self._subscription = subscription
        self._begin = time.monotonic()
        self._told: set[str] = set()
        self.reason = ""

    def look(self, publishers: Sequence[TopicEndpointInfo], silent_seconds: float,
             wanted: bool) -> None:
        """Look into it; afterwards ``reason`` says why no image comes, empty where one does.

        Args:
            publishers: of the camera's topic.
            silent_seconds: since the newest image, infinite before the first.
            wanted: whether anybody listens to the outputs.
        """
        since_begin = time.monotonic() - self._begin
        came, silent = silent_seconds < since_begin, min(silent_seconds, since_begin)
        fitting = self._subscription.of_its_type(publishers)
        foreign = bool(publishers) and not fitting
        if silent < (TYPE_SECONDS if foreign else PATIENCE_SECONDS) or (came and fitting):
            self.reason = ""  # also of a camera that sends rarely
            return
        what, remedy = self._explain(publishers, fitting)
        self.reason = f"{what}; {remedy}"
        if (wanted or foreign) and what not in self._told:
            self._told.add(what)
            self._node.get_logger().warning(f"no image comes: {self.reason}")

    def _explain(self, publishers: Sequence[TopicEndpointInfo],
                 fitting: Sequence[TopicEndpointInfo]) -> tuple[str, str]:
        """Return what is wrong, and what to do."""
        topic, wanted = self._subscription.topic, type_name(self._subscription.kind)
        if fitting:
            return self._unheard(fitting)
        if publishers:
            found = " and ".join(sorted({info.topic_type for info in publishers}))
            return (f"{topic} carries {found}, not {wanted}", self._other_type(found))
        sibling = topic.removesuffix(COMPRESSED) if wanted == _COMPRESSED_IMAGE \
            else topic + COMPRESSED
        kinds = {info.topic_type for info in self._node.get_publishers_info_by_topic(sibling)}
        if kinds & {_IMAGE, _COMPRESSED_IMAGE} - {wanted}:
            transport = "raw" if wanted == _COMPRESSED_IMAGE else "compressed"
            return (f"nobody publishes {topic}, but {sibling} is there",
                    f"set image_transport to {transport}")
        stream = self._stream(topic.removesuffix(COMPRESSED))
        if stream:
            return f"nobody publishes {topic}, but {stream}", _REPUBLISH
        return f"nobody publishes {topic}", self._in_sight()

    def _unheard(self, fitting: Sequence[TopicEndpointInfo]) -> tuple[str, str]:
        checks = [qos_check_compatible(info.qos_profile, self._subscription.qos)
                  for info in fitting]
        if all(compatible == QoSCompatibility.ERROR for compatible, _ in checks):
            return (f"the quality of service of {self._subscription.topic} does not fit "
                    f"({checks[0][1].strip(' ;')})", "set image_reliability to auto")
        return (f"{self._subscription.topic} has {in_number(len(fitting), 'publisher')}, but "
                "nothing has come yet", "see that the camera sends images, with "
                f"`ros2 topic hz {self._subscription.topic}`")

    def _stream(self, base: str) -> str:
        """Return what image_transport's other plugins publish of a camera, empty if nothing."""
        for topic, kinds in self._node.get_topic_names_and_types():
            if (topic.startswith(f"{base}/")
                    and {_IMAGE, _COMPRESSED_IMAGE}.isdisjoint(kinds)
                    and self._node.count_publishers(topic)):
                return f"{topic} carries {' and '.join(sorted(kinds))}"
        return ""

    def _other_type(self, found: str) -> str:
        topic = self._subscription.topic
        if topic.endswith(_DEPTH):
            return f"that is depth; {self._in_sight()}"
        if found == _IMAGE:
            return (f"set image_transport to raw and remap image_raw to {topic}, or give "
                    "image_topics another name")
        if found == _COMPRESSED_IMAGE:
            return (f"set image_transport to compressed and remap image_raw to "
                    f"{topic.removesuffix(COMPRESSED)}" if topic.endswith(COMPRESSED) else
                    f"set image_transport to compressed and remap image_raw{COMPRESSED} to {topic}")
        return f"that is not an image; {self._in_sight()}"

    def _in_sight(self) -> str:
        """Return which images there are, but for those that this node makes of others."""
        own = f"{self._node.get_fully_qualified_name()}/"
        topics = [topic for topic, kinds in self._node.get_topic_names_and_types()
                  if not {_IMAGE, _COMPRESSED_IMAGE}.isdisjoint(kinds)
                  and not topic.startswith(own) and topic != self._subscription.topic
                  and self._node.count_publishers(topic)]
        if not topics:
            return ("no image topic is in sight; see that the camera runs, with the same "
                    "ROS_DOMAIN_ID")
        more = f" and {len(topics) - _MOST_TOPICS} more" if len(topics) > _MOST_TOPICS else ""
        return (f"image topics in sight: {', '.join(topics[:_MOST_TOPICS])}{more}; remap image_raw "
                "to one of them")
