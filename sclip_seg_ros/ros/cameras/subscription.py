"""The camera subscription: newest frame only, on the terms that the camera's publishers offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sclip_seg_ros.ros.cameras.qos import following

_POLICIES = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}


def type_name(kind: type) -> str:
    """Return a message type's name as the graph has it, e.g. ``sensor_msgs/msg/Image``."""
    return f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"


class CameraSubscription:
    """Subscribe to images or what belongs to them; the newest message counts, so the queue is one.

    A best-effort subscriber is served by every publisher, but between processes much of an image
    larger than the transport's buffers is lost on the way: of 1280x720 rgb8 nearly all. So with
    reliability "auto" the subscription turns reliable while all publishers are. A publisher that
    is transient local (latched) may have sent its only message already; while all publishers are,
    so is a reliable subscription, and gets that message.
    """

    def __init__(self, node: Node, kind: type, topic: str,
                 callback: Callable[[Any], None], reliability: str, depth: int = 1) -> None:
        """Subscribe; :meth:`follow` keeps to the publishers.

        Args:
            node: to subscribe with.
            kind: of the messages, such as sensor_msgs Image or CompressedImage.
            topic: to subscribe to.
            callback: called with each message.
            reliability: "auto", "best_effort" or "reliable".
            depth: messages that wait for the callback, at most.
        """
        self.kind = kind
        self._node = node
        self._topic, self._callback = topic, callback
        self._fixed = _POLICIES.get(reliability)
        self._depth = depth
        self.qos = QoSProfile(depth=depth,
                              reliability=self._fixed or ReliabilityPolicy.BEST_EFFORT,
                              durability=DurabilityPolicy.VOLATILE)
        self._subscription = self._subscribe()

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    @property
    def topic(self) -> str:
        """Resolved name of the topic."""
        return self._subscription.topic_name

    def of_its_type(self, publishers: Sequence[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
        """Return those publishers that publish what is subscribed to."""
        return [info for info in publishers if info.topic_type == type_name(self.kind)]

    def follow(self, publishers: Sequence[TopicEndpointInfo]) -> None:
        """Subscribe anew where what the publishers of the topic have in common has changed."""
        publishers = self.of_its_type(publishers)
        qos = following(publishers, self._depth, self._fixed)
        if not publishers or (qos.reliability, qos.durability) == \
                (self.qos.reliability, self.qos.durability):  # not depth, which may be overridden
            return
        self.qos = qos
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        told = f"reliability '{qos.reliability.name.lower()}'"
        if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            told += " and durability 'transient_local'"
        self._node.get_logger().info(f"{self.topic} is subscribed to with {told}, as it is "
                                     "published")

    def _subscribe(self):
        return self._node.create_subscription(
            self.kind, self._topic, self._callback, self.qos,
            qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY,
                                                         QoSPolicyKind.DEPTH)))
