"""Camera of the three hosts: publish 640x480 images, raw or compressed, and note their stamps."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from examples.demo.footage import render_footage
from sclip_seg_ros.ros.images import to_message

JPEG_QUALITY = 80
TOPICS = {"raw": ("/raw/image", Image), "jpeg": ("/jpeg/image/compressed", CompressedImage)}


class Camera(Node):
    """Publish one rendered view again and again."""

    def __init__(self, transport: str, reliability: str, rate: float) -> None:
        """Start at once, heard or not."""
        super().__init__("camera")
        topic, kind = TOPICS[transport]
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability.upper()])
        self._raw = kind is Image
        self._pixels = render_footage(1, 1).frames[0]
        _, jpeg = cv2.imencode(".jpg", self._pixels[..., ::-1],
                               [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        self._jpeg = jpeg.tobytes()
        self.stamps: list[int] = []
        self.message_bytes = self._pixels.nbytes if self._raw else len(self._jpeg)
        self._publisher = self.create_publisher(kind, topic, qos)
        self.create_timer(1.0 / rate, self._publish)
        self.get_logger().info("publishing")

    def _publish(self) -> None:
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id="camera")
        if self._raw:
            self._publisher.publish(to_message(np.ascontiguousarray(self._pixels), "rgb8", header))
        else:
            message = CompressedImage(header=header, format="jpeg")
            message.data.frombytes(self._jpeg)
            self._publisher.publish(message)
        self.stamps.append(now.nanoseconds)


def main() -> None:
    """Publish until SIGINT, then write the stamps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=tuple(TOPICS), required=True)
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), required=True)
    parser.add_argument("--rate", type=float, required=True, help="frames per second")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    camera = Camera(arguments.transport, arguments.reliability, arguments.rate)
    while not stopped:
        rclpy.spin_once(camera, timeout_sec=0.1)
    arguments.output.write_text(json.dumps({"stamps": camera.stamps,
                                            "message_bytes": camera.message_bytes}))
    camera.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
