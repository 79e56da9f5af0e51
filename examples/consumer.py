#!/usr/bin/env python3
"""Consumer: turn every label image into traversal costs, whatever words the node looks for."""

from array import array
from contextlib import suppress

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sclip_seg_ros.msg import ClassConfidenceArray
from sensor_msgs.msg import Image

COSTS = {"floor": 0, "rug": 10, "wall": 254}  # by class name: ids change with the vocabulary
OTHERS, UNKNOWN = 100, 255
WAITING = 10  # stamps to keep at most, whose other message may never come


class Consumer(Node):
    """Join label images with the classes of the same stamp, and publish costs."""

    def __init__(self):
        super().__init__("consumer")
        self.waiting, self.names, self.table = {}, None, None  # table: from class id to cost
        self.costs = self.create_publisher(Image, "~/costs", 1)
        for kind, topic in ((Image, "label"), (ClassConfidenceArray, "class_confidence")):
            self.create_subscription(kind, f"sclip_seg/{topic}", self.on_message, 5)

    def on_message(self, message):
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        pair = self.waiting.setdefault(stamp, {})
        pair[type(message)] = message  # the two come in any order
        stamps = list(self.waiting)  # as they arrived: a clock may jump back
        over = stamps.index(stamp) + 1 if len(pair) == 2 else max(0, len(stamps) - WAITING)
        for former in stamps[:over]:
            del self.waiting[former]
        if len(pair) == 2:
            self.on_frame(pair[Image], pair[ClassConfidenceArray])

    def on_frame(self, label, classes):
        names = {entry.class_id: entry.class_name for entry in classes.classes}
        if names != self.names:  # new words from this frame on, also those of another node's start
            self.names, self.table = names, np.full(256, OTHERS, np.uint8)
            self.table[list(names)] = [COSTS.get(name, OTHERS) for name in names.values()]
            self.table[classes.unlabelled_id] = UNKNOWN
        label.data = array("B", self.table[np.frombuffer(label.data, np.uint8)].tobytes())
        self.costs.publish(label)  # with the camera's stamp and frame


if __name__ == "__main__":
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):  # Ctrl-C, SIGTERM
        rclpy.spin(Consumer())
