"""What belongs to a camera: its subscription, its outputs, its counts."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sclip_seg_ros.io.camera_names import COMPRESSED, info_topic
from sclip_seg_ros.ros.cameras.frame_log import FrameLog
from sclip_seg_ros.ros.cameras.outputs import Outputs
from sclip_seg_ros.ros.cameras.silence import Silence
from sclip_seg_ros.ros.cameras.size_source import SizeSource
from sclip_seg_ros.ros.cameras.subscription import CameraSubscription
from sclip_seg_ros.ros.parameters.camera_topics import CameraTopic

_LOOK_SECONDS = 0.5  # between two looks at who publishes


class Camera:
    """One camera: its subscription while the node is active, its outputs, its counts."""

    def __init__(self, node: Node, source: CameraTopic) -> None:
        """Create the outputs; :meth:`subscribe` begins."""
        self.source = source
        self.outputs = Outputs(node, source.name)
        self.log = FrameLog()
        self.label_size = SizeSource(node)
        self.points = self.outputs.add_points(source.depth, self.log) if source.depth else None
        self._node = node
        self._subscription: CameraSubscription | None = None
        self._silence: Silence | None = None
        self._info_subscription: CameraSubscription | None = None
        self._timer: Timer | None = None

    @property
    def name(self) -> str:
        """The camera's name, empty for the only one."""
        return self.source.name

    @property
    def topic(self) -> str:
        """Resolved name of the topic the images come from."""
        return self._node.resolve_topic_name(self._wanted_topic)

    @property
    def silence(self) -> str:
        """Why no image comes, and what to do; empty where one does, or nothing is known yet."""
        silence = self._silence
        return silence.reason if silence is not None else ""

    def subscribe(self, callback: Callable[[Image | CompressedImage], None],
                  reliability: str) -> None:
        """Begin to receive images."""
        compressed = self.source.compressed or self._remapped_to_compressed
        kind = CompressedImage if compressed else Image
        self._subscription = CameraSubscription(self._node, kind, self._wanted_topic, callback,
                                                reliability)
        self._silence = Silence(self._node, self._subscription)
        if self.points is not None:
            self.points.start()
        self._look()
        # The node's own clock stands still while a simulation is paused, or /clock is missing.
        self._timer = self._node.create_timer(_LOOK_SECONDS, self._look,
                                              clock=Clock(clock_type=ClockType.STEADY_TIME))

    def unsubscribe(self) -> None:
        """Receive no more images."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = self._silence = self._timer = None
            self.label_size.close()
            if self.points is not None:
                self.points.stop()
        if self._info_subscription is not None:
            self._info_subscription.close()
            self._info_subscription = None

    def close(self) -> None:
        """Take everything down."""
        self.unsubscribe()
        self.outputs.close()

    def _look(self) -> None:
        subscription, silence = self._subscription, self._silence
        if subscription is None or silence is None:
            return  # the timer was due already when it was taken down
        publishers = self._node.get_publishers_info_by_topic(subscription.topic)
        subscription.follow(publishers)
        silence.look(publishers, self.log.seconds_since_arrival(), self.outputs.wanted)
        self.label_size.look()
        if self.points is not None:
            self.points.look()
        info = info_topic(self._base_topic.removesuffix(COMPRESSED))
        publishers = self._node.get_publishers_info_by_topic(info)
        if self._info_subscription is None and publishers:
            self._info_subscription = CameraSubscription(self._node, CameraInfo, info,
                                                         self._on_info, "auto")
        if self._info_subscription is not None:  # it may have been published once, and latched
            self._info_subscription.follow(publishers)

    def _on_info(self, info: CameraInfo) -> None:
        self.outputs.camera_info = info

    @property
    def _base_topic(self) -> str:
        return self._node.resolve_topic_name(self.source.topic)

    @property
    def _remapped_to_compressed(self) -> bool:
        """Whether a remapping names the topic of compressed images itself, whatever the transport.

        The source's own name never does.
        """
        return self._base_topic.endswith(COMPRESSED)

    @property
    def _wanted_topic(self) -> str:
        """The topic to subscribe to, which a remapping of its own may still replace.

        As with image_transport a remapping of the base topic holds for its transports.
        """
        if not self.source.compressed or self._remapped_to_compressed:
            return self.source.topic
        return self._base_topic + COMPRESSED
