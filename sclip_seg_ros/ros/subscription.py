"""The camera subscription: newest frame only, as reliable as the camera's publishers offer."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

_LOOK_SECONDS = 0.5  # between two looks at who publishes
_POLICIES = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE,
             "auto": ReliabilityPolicy.BEST_EFFORT}


class CameraSubscription:
    """Subscribe to an image topic with depth 1.

    A best-effort subscriber is served by every publisher, but between processes much of an image
    larger than the transport's buffers is lost on the way: of 1280x720 rgb8 nearly all. So with
    reliability "auto" the subscription turns reliable while all publishers are.
    """

    def __init__(self, node: Node, kind: type, topic: str,
                 callback: Callable[[Image | CompressedImage], None], reliability: str) -> None:
        """Subscribe.

        Args:
            node: to subscribe with.
            kind: sensor_msgs Image or CompressedImage.
            topic: to subscribe to.
            callback: called with each message.
            reliability: "auto", "best_effort" or "reliable".
        """
        self._node = node
        self._callback = callback
        self._kind, self._topic = kind, topic
        self._reliability = _POLICIES[reliability]
        self._subscription = self._subscribe()
        # The node's own clock stands still while a simulation is paused, or /clock is missing.
        self._timer = node.create_timer(
            _LOOK_SECONDS, self._follow_publishers,
            clock=Clock(clock_type=ClockType.STEADY_TIME)) if reliability == "auto" else None

    def close(self) -> None:
        """Unsubscribe."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    @property
    def topic(self) -> str:
        """Resolved name of the topic."""
        return self._subscription.topic_name

    def _subscribe(self):
        qos = QoSProfile(depth=1, reliability=self._reliability)
        return self._node.create_subscription(
            self._kind, self._topic, self._callback, qos,
            qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY,
                                                         QoSPolicyKind.DEPTH)))

    def _follow_publishers(self) -> None:
        """Subscribe anew when the publishers' common reliability has changed."""
        offers = [info.qos_profile.reliability
                  for info in self._node.get_publishers_info_by_topic(self.topic)]
        if not offers:
            return
        wanted = ReliabilityPolicy.RELIABLE \
            if all(offer == ReliabilityPolicy.RELIABLE for offer in offers) \
            else ReliabilityPolicy.BEST_EFFORT
        if wanted == self._reliability:
            return
        self._reliability = wanted
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        self._node.get_logger().info(f"{self.topic} is subscribed to with reliability "
                                     f"'{wanted.name.lower()}', as it is published")
