"""What belongs to a camera: its subscription, its outputs, its counts."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.ros.camera_topics import COMPRESSED, CameraTopic
from sclip_seg_ros.ros.publishers import Outputs
from sclip_seg_ros.ros.status import FrameLog
from sclip_seg_ros.ros.subscription import CameraSubscription


class Camera:
    """One camera: its subscription while the node is active, its outputs, its counts."""

    def __init__(self, node: Node, source: CameraTopic) -> None:
        """Create the outputs; :meth:`subscribe` begins."""
        self.source = source
        self.outputs = Outputs(node, source.name)
        self.log = FrameLog()
        self._node = node
        self._subscription: CameraSubscription | None = None

    @property
    def name(self) -> str:
        """The camera's name, empty for the only one."""
        return self.source.name

    @property
    def topic(self) -> str:
        """Resolved name of the topic the images come from."""
        return self._node.resolve_topic_name(self._wanted_topic)

    def subscribe(self, callback: Callable[[Image | CompressedImage], None],
                  reliability: str) -> None:
        """Begin to receive images."""
        kind = CompressedImage if self.source.compressed else Image
        self._subscription = CameraSubscription(self._node, kind, self._wanted_topic, callback,
                                                reliability)

    def unsubscribe(self) -> None:
        """Receive no more images."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def close(self) -> None:
        """Take everything down."""
        self.unsubscribe()
        self.outputs.close()

    @property
    def _wanted_topic(self) -> str:
        """The topic to subscribe to, which a remapping of its own may still replace.

        As with image_transport a remapping of the base topic holds for its transports.
        """
        if not self.source.compressed:
            return self.source.topic
        return self._node.resolve_topic_name(self.source.topic) + COMPRESSED
