"""A slow model behind a camera: the real node with the past, and without."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sclip_research.scenes.films import film
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from examples.child_processes import ChildProcesses
from sclip_seg_ros.geometry.stamps import stamp_of
from sclip_seg_ros.ros.images import to_message

DOMAIN = "83"
RATE = 15.0           # frames a second
SETTLING = 60         # frames at the beginning that are not judged
WORDS = tuple(f"thing {index}" for index in range(20))
Told = Mapping[int, tuple[bool, SegmentationStatus | None]]
DRIVER = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def node_rows(folder: Path, frames: int, model: str) -> dict[str, dict[str, float]]:
    """Return the rows ``node`` and ``node_without`` of the figures.

    Args:
        folder: for the nodes' logs.
        frames: to be judged, of each node.
        model: with random weights; what it says is not looked at.
    """
    shots = [shot.image for shot in film(0, moving=True).shots()]
    there_and_back = [*shots, *reversed(shots)]
    footage = [there_and_back[index % len(there_and_back)] for index in range(frames + SETTLING)]
    os.environ["ROS_DOMAIN_ID"] = DOMAIN
    rclpy.init()
    try:
        return {name: _row(folder, footage, model, enabled)
                for name, enabled in (("node", "true"), ("node_without", "false"))}
    finally:
        rclpy.shutdown()


def _row(folder: Path, footage: Sequence[np.ndarray], model: str, enabled: str) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    with ChildProcesses(folder) as children:
        children.start("node", "sclip_seg_ros.ros.node", "--ros-args", "-p", f"model:={model}",
                       "-p", "pretrained:=random", "-p", f"classes:={','.join(WORDS)}",
                       "-p", f"temporal.enabled:={enabled}")
        node = rclpy.create_node("camera")
        try:
            told = _play(node, footage)
        finally:
            node.destroy_node()
    return _figures(told, len(footage) - SETTLING)


def _play(node: Node, footage: Sequence[np.ndarray]) -> Told:
    """Publish footage; return by stamp whether labels came, and the status of each judged frame."""
    labels: dict[int, bool] = {}
    statuses: dict[int, SegmentationStatus] = {}
    node.create_subscription(Image, "/sclip_seg/label", lambda message: labels.setdefault(
        stamp_of(message.header), True), QoSProfile(depth=5))
    node.create_subscription(SegmentationStatus, "/sclip_seg/status",
                             lambda message: statuses.setdefault(stamp_of(message.header), message),
                             QoSProfile(depth=50))
    camera = node.create_publisher(Image, "image_raw", DRIVER)
    while not camera.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    stamps, due = [], time.monotonic()
    for frame in footage:
        now = node.get_clock().now()
        camera.publish(to_message(frame, "rgb8", Header(stamp=now.to_msg(), frame_id="camera")))
        stamps.append(now.nanoseconds)
        due += 1 / RATE
        _spin(node, due)
    _spin(node, time.monotonic() + 3.0)
    return {stamp: (stamp in labels, statuses.get(stamp)) for stamp in stamps[SETTLING:]}


def _spin(node: Node, until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=left)


def _figures(told: Told, frames: int) -> dict[str, float]:
    answered = [status for labelled, status in told.values() if labelled and status is not None]
    ages = [status.evidence.age_ms for status in answered
            if not np.isnan(status.evidence.age_ms)]
    return {"answered": len(answered) / frames,
            "p95_ms": float(np.percentile([status.total_ms for status in answered], 95)),
            "keyframes_hz": float(np.median([status.evidence.keyframes_hz
                                             for status in answered])),
            "evidence_age_ms": float(np.median(ages))}
