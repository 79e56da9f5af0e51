"""Which cameras are in sight: type, rate, size and quality of service of what they publish."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.common.checkup import Finding, ok, warning
from sclip_seg_ros.ros.cameras.qos import all_reliable, following

# Fast DDS announces a participant five times at once, and every three seconds.
DISCOVERY_SECONDS, PATIENCE_SECONDS, LISTEN_SECONDS = 2.0, 7.0, 3.0
LARGE = 200_000  # bytes: beyond Linux's default buffer; best effort loses some of such images
_KINDS: dict[str, type] = {"sensor_msgs/msg/Image": Image,
                           "sensor_msgs/msg/CompressedImage": CompressedImage}
_OWN = "sclip_seg_ros/msg/Vocabulary"  # a topic beside a segmentation node's own images


@dataclass
class _Heard:
    """What has come on one topic."""

    times: list[float] = field(default_factory=list)
    message: Image | CompressedImage | None = None

    def take(self, message: Image | CompressedImage) -> None:
        self.times.append(time.monotonic())
        self.message = message

    @property
    def rate(self) -> float:
        """Messages a second, 0 of fewer than two."""
        span = self.times[-1] - self.times[0] if self.times else 0.0
        return (len(self.times) - 1) / span if span > 0 else 0.0


class Cameras:
    """Listen to all image topics for some seconds."""

    def __init__(self, discovery_seconds: float = DISCOVERY_SECONDS,
                 patience_seconds: float = PATIENCE_SECONDS,
                 listen_seconds: float = LISTEN_SECONDS) -> None:
        """Prepare; :meth:`look` does it.

        Args:
            discovery_seconds: to wait for all publishers.
            patience_seconds: to wait beyond that for the first of them.
            listen_seconds: to count images.
        """
        self._discovery, self._patience = discovery_seconds, patience_seconds
        self._listen = listen_seconds
        self.rate = 0.0  # of the fastest, once it has been looked

    def look(self) -> Finding:
        """Return what is in sight, a camera after the other."""
        context = Context()
        rclpy.init(args=[], context=context)
        node = Node("sclip_doctor", context=context, start_parameter_services=False,
                    enable_rosout=False)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            return self._look(node, executor)
        finally:
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()

    def _look(self, node: Node, executor: SingleThreadedExecutor) -> Finding:
        _spin(executor, self._discovery)
        patient = time.monotonic() + self._patience
        while not (topics := _image_topics(node)) and time.monotonic() < patient:
            _spin(executor, 0.5)
        heard = {topic: _Heard() for topic in topics}
        for topic, (kind, publishers) in topics.items():
            node.create_subscription(_KINDS[kind], topic, heard[topic].take,
                                     following(publishers, depth=5))
        if not topics:
            return warning("no image topic is in sight")
        _spin(executor, self._listen)
        self.rate = max(entry.rate for entry in heard.values())
        lines = [_described(topic, kind, publishers, heard[topic])
                 for topic, (kind, publishers) in topics.items()]
        silent = [topic for topic, entry in heard.items() if not entry.times]
        lossy = [topic for topic, (_, publishers) in topics.items()
                 if _size(heard[topic]) > LARGE and not all_reliable(publishers)]
        text = "; ".join(lines)
        if silent:
            return warning(text, f"nothing came on {', '.join(silent)}: see that the camera sends")
        if lossy:
            return warning(text, "of large images sent best effort many are lost on the way: have "
                           f"{', '.join(lossy)} published reliably or compressed, or enlarge the "
                           "socket buffers")
        return ok(text)


def _image_topics(node: Node) -> dict[str, tuple[str, list[TopicEndpointInfo]]]:
    """Return type and publishers of the image topics, but for those of segmentation nodes."""
    names = node.get_topic_names_and_types()
    own = tuple(name.removesuffix("vocabulary") for name, kinds in names if _OWN in kinds)
    found = {}
    for name, _ in names:
        publishers = node.get_publishers_info_by_topic(name)
        kinds = {info.topic_type for info in publishers} & set(_KINDS)
        if len(kinds) == 1 and not (own and name.startswith(own)):
            [kind] = kinds
            found[name] = (kind, [info for info in publishers if info.topic_type == kind])
    return dict(sorted(found.items()))


def _described(topic: str, kind: str, publishers: list[TopicEndpointInfo], heard: _Heard) -> str:
    message = heard.message
    if message is None:
        what = "nothing came"
    elif isinstance(message, Image):
        what = f"{message.encoding} {message.width}x{message.height}"
    else:
        what = f"'{message.format}' {_size(heard) / 1000:.0f} kB"
    rate = f"{heard.rate:.1f} Hz" if heard.rate else f"{len(heard.times)} message(s)"
    reliability = "reliable" if all_reliable(publishers) else "best effort"
    return f"{topic}: {kind.rpartition('/')[2]}, {what}, {rate}, {reliability}"


def _size(heard: _Heard) -> int:
    return len(heard.message.data) if heard.message is not None else 0


def _spin(executor: SingleThreadedExecutor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=min(left, 0.1))
