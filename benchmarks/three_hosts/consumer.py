"""Consumer of the three hosts: note when labels and status of each camera arrive."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import Image

from sclip_seg_ros.geometry.stamps import stamp_of


class Consumer(Node):
    """Listen to the labels of both cameras."""

    def __init__(self) -> None:
        """Subscribe."""
        super().__init__("consumer")
        self.labels: list[tuple[int, int]] = []                    # stamp, arrival; nanoseconds
        self.statuses: list[tuple[int, float, int, int]] = []      # stamp, ms, received, dropped
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        for camera in ("raw", "jpeg"):
            self.create_subscription(Image, f"/sclip_seg/{camera}/label", self._on_label, qos)
            self.create_subscription(SegmentationStatus, f"/sclip_seg/{camera}/status",
                                     self._on_status, qos)
        self.get_logger().info("listening")

    def _on_label(self, message: Image) -> None:
        self.labels.append((stamp_of(message.header), self.get_clock().now().nanoseconds))

    def _on_status(self, message: SegmentationStatus) -> None:
        self.statuses.append((stamp_of(message.header), message.total_ms, message.frames_received,
                              message.frames_dropped))


def main() -> None:
    """Listen until SIGINT, then write what came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    consumer = Consumer()
    while not stopped:
        rclpy.spin_once(consumer, timeout_sec=0.1)
    arguments.output.write_text(json.dumps({"labels": consumer.labels,
                                            "statuses": consumer.statuses}))
    consumer.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
