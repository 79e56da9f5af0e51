"""Demo camera: publish prepared RGB frames on a topic at a fixed rate, and note their stamps.

    python -m examples.demo.camera --frames frames.npy --stamps stamps.json --rate 10
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.ros.images import to_message

# As most camera drivers (REP 2003: they publish with the system's defaults, which are reliable).
DRIVER = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class DemoCamera(Node):
    """Publish each frame once, in order, as a camera driver would, once somebody listens.

    Attributes:
        publisher: of the frames.
        stamps: of the frames that were published, in nanoseconds.
    """

    def __init__(self, frames: np.ndarray, topic: str, rate: float) -> None:
        """Start a timer that publishes ``frames`` (N, H, W, 3) uint8 RGB at ``rate`` Hz."""
        super().__init__("demo_camera")
        self._frames = frames
        self.publisher = self.create_publisher(Image, topic, DRIVER)
        self._timer = self.create_timer(1.0 / rate, self._publish_next)
        self.stamps: list[int] = []
        self.get_logger().info("waiting for a subscriber")

    @property
    def finished(self) -> bool:
        """Tell whether every frame has been published."""
        return len(self.stamps) == len(self._frames)

    def _publish_next(self) -> None:
        unheard = not self.stamps and not self.publisher.get_subscription_count()
        if self.finished or unheard:
            return
        frame = self._frames[len(self.stamps)]
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id="camera")
        self.publisher.publish(to_message(frame, "rgb8", header))
        self.stamps.append(now.nanoseconds)


def main() -> None:
    """Publish the frames of a file and write their stamps, in nanoseconds, to another."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=Path, required=True, help=".npy, (N, H, W, 3) uint8")
    parser.add_argument("--stamps", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--topic", default="/camera/image_raw")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    arguments = parser.parse_args()
    rclpy.init()
    camera = DemoCamera(np.load(arguments.frames, mmap_mode="r"), arguments.topic, arguments.rate)
    while not camera.finished:
        rclpy.spin_once(camera, timeout_sec=0.1)
    camera.publisher.wait_for_all_acked(Duration(seconds=5))  # the last ones are under way
    arguments.stamps.write_text(json.dumps(camera.stamps))
    camera.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
