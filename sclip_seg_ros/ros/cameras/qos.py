"""Qualities of service that several nodes share."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo


def latched(depth: int = 1) -> QoSProfile:
    """Return the quality of what holds until it changes: latecomers get the last messages."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)


def all_reliable(publishers: Sequence[TopicEndpointInfo]) -> bool:
    """Tell whether all publishers are reliable."""
    return all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)


def following(publishers: Sequence[TopicEndpointInfo], depth: int,
              fixed: ReliabilityPolicy | None = None) -> QoSProfile:
    """Return the quality to subscribe with: what the publishers have in common.

    Args:
        publishers: of the topic.
        depth: messages that wait for the callback, at most.
        fixed: reliability that holds whatever theirs is.
    """
    reliability = fixed or (ReliabilityPolicy.RELIABLE if all_reliable(publishers)
                            else ReliabilityPolicy.BEST_EFFORT)
    durable = reliability == ReliabilityPolicy.RELIABLE and all(
        info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
    return QoSProfile(depth=depth, reliability=reliability,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL if durable
                      else DurabilityPolicy.VOLATILE)
