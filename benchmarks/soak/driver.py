"""Soak driver: camera, consumer and restless operator of a segmentation node, with exact books.

    python -m benchmarks.soak.driver --output counts.json --seconds 60 --topic /image_raw
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import rclpy
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from benchmarks.soak.verdict import FATES
from sclip_seg_ros.common.patchwork import patchwork
from sclip_seg_ros.geometry.stamps import stamp_of
from sclip_seg_ros.ros.images import to_message

NODE = "/sclip_seg"
CHANGE_SECONDS = 1.0  # from one change to the next
FLOODS = 5            # as many frames as the queues are deep, one behind the other
DRAIN_SECONDS = 60.0  # for the last frames to come out, at most
FRESH_WORD_EVERY = 7  # changes; all other words are met again and again
SIZES = ((240, 320), (480, 640), (360, 480), (120, 160))
CLASSES = (["floor", "wall", "door", "ball"],
           ["floor", "wall", "red ball|ball", "table", "chair", "lamp", "box", "cup"],
           ["wall", "floor"],
           ["rug", "cone", "bottle", "floor", "wall", "pyramid"],
           ["door"])
_COUNTS = ("budget_misses", "frames_received", *(f"frames_{fate}" for fate in FATES))
ALONE_MS = 120.0  # the budget under which each frame is labelled alone
PAN = 3           # pixels from frame to frame
BUDGETS_MS = (300.0, 60.0, 1000.0, 120.0, 0.0)


class SoakDriver(Node):
    """Publish frames of changing sizes, change words and budget, and keep books of all of it."""

    def __init__(self, topic: str, rate: float, depth: int, alone: bool = False) -> None:
        """Prepare to publish ``rate`` frames a second on a topic, with queues of ``depth``.

        Where ``alone``, the node labels every frame alone; else only under one of the budgets.
        """
        super().__init__("soak_driver")
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        self._camera = self.create_publisher(Image, topic, qos)
        self._pictures = [patchwork(*size, seed=size[0]) for size in SIZES]
        self._rate, self._depth, self._alone = rate, depth, alone
        self._change = 0
        self._sizes: dict[int, tuple[int, int]] = {}    # of the frames sent, by stamp
        self._widest: dict[int, int] = {}               # largest id of the labels, by stamp
        self._fresh = count()
        self.sent = self.labels_heard = self.strange_labels = self.size_changes = 0
        self.refused_changes = self.level_changes = 0
        self.versions: set[int] = set()
        self.status: SegmentationStatus | None = None
        self._before = dict.fromkeys(_COUNTS, 0)        # the node's counts when the books began
        self._newest = dict.fromkeys(("sent", "label", "classes", "status"), 0)  # stamps
        self.create_subscription(Image, f"{NODE}/label", self._on_label, qos)
        self.create_subscription(ClassConfidenceArray, f"{NODE}/class_confidence",
                                 self._on_classes, qos)
        self.create_subscription(SegmentationStatus, f"{NODE}/status", self._on_status, qos)
        self._service = self.create_client(SetParametersAtomically,
                                           f"{NODE}/set_parameters_atomically")
        self._own_timers = []

    @property
    def connected(self) -> bool:
        """Tell whether the node listens to all this, and all this to the node."""
        outputs = (f"{NODE}/label", f"{NODE}/class_confidence", f"{NODE}/status")
        return self._camera.get_subscription_count() > 0 and self._service.service_is_ready() \
            and all(self.count_publishers(topic) for topic in outputs)

    @property
    def answered(self) -> bool:
        """Tell whether all answers to the newest frame are here."""
        return self._newest["sent"] > 0 and len(set(self._newest.values())) == 1

    @property
    def settled(self) -> bool:
        """Tell whether the node's books account for every frame sent, and all labels are here."""
        frames = self._frames()
        return self.answered and frames["received"] == self.sent == sum(
            frames[fate] for fate in FATES) and self.labels_heard == frames["labelled"]

    def try_out(self) -> None:
        """Publish slowly, until the node and this one hear each other in both directions."""
        self._own_timers = [self.create_timer(1.0, self._publish)]

    def flood(self) -> None:
        """Fill the queues once with the largest image.

        The middleware keeps the memory of every place that a queue has ever used, as large as its
        largest message. It would otherwise take it whenever the machine is busy, like a leak.
        """
        for _ in range(FLOODS):
            for _ in range(self._depth):
                self._send(max(self._pictures, key=np.size))
            self._camera.wait_for_all_acked(Duration(seconds=DRAIN_SECONDS))

    def open_books(self) -> None:
        """Count from now on."""
        self.sent = self.labels_heard = self.strange_labels = 0
        self.versions.clear()
        self._before = {name: getattr(self.status, name) for name in _COUNTS}

    def begin(self, change_seconds: float) -> None:
        """Start publishing, and changing every so many seconds."""
        self._own_timers = [self.create_timer(1.0 / self._rate, self._publish),
                        self.create_timer(change_seconds, self._ask_for_change)]

    def end(self) -> None:
        """Publish and change no more."""
        for timer in self._own_timers:
            self.destroy_timer(timer)
        self._own_timers = []

    def counts(self) -> dict:
        """Return the books."""
        status = self.status or SegmentationStatus()
        return {"sent": self.sent, "labels_heard": self.labels_heard,
                "strange_labels": self.strange_labels, "size_changes": self.size_changes,
                "refused_changes": self.refused_changes,
                "vocabulary_versions": len(self.versions), "level_changes": self.level_changes,
                "budget_misses": status.budget_misses - self._before["budget_misses"],
                "last_error": status.last_error, "frames": self._frames()}

    def _frames(self) -> dict[str, int]:
        """Return the node's counts of frames since the books began."""
        status = self.status or SegmentationStatus()
        return {fate: getattr(status, f"frames_{fate}") - self._before[f"frames_{fate}"]
                for fate in ("received", *FATES)}

    def _publish(self) -> None:
        picture = self._pictures[self._change % len(self._pictures)]
        self._send(np.roll(picture, PAN * self.sent, axis=1))

    def _send(self, pixels: np.ndarray) -> None:
        now = self.get_clock().now()
        self._camera.publish(to_message(pixels, "rgb8", Header(stamp=now.to_msg(),
                                                               frame_id="camera")))
        self._sizes[now.nanoseconds] = pixels.shape[:2]
        self._newest["sent"] = now.nanoseconds
        self.sent += 1

    def _ask_for_change(self) -> None:
        self._change += 1
        self.size_changes += 1
        classes = list(CLASSES[self._change % len(CLASSES)])
        if self._change % FRESH_WORD_EVERY == 0:
            classes.append(f"thing number {next(self._fresh)}")
        budget = BUDGETS_MS[(self._change // 2) % len(BUDGETS_MS)]
        over_time = not self._alone and budget != ALONE_MS
        self._service.call_async(SetParametersAtomically.Request(parameters=[
            Parameter("classes", value=classes).to_parameter_msg(),
            Parameter("latency_budget_ms", value=budget).to_parameter_msg(),
            Parameter("temporal.refresh", value=0.0).to_parameter_msg(),  # levels follow the budget
            Parameter("temporal.enabled", value=over_time).to_parameter_msg(),
        ])).add_done_callback(self._on_answer)

    def _on_answer(self, future) -> None:
        self.refused_changes += not future.result().result.successful

    def _on_label(self, message: Image) -> None:
        self.labels_heard += 1
        stamp = self._newest["label"] = stamp_of(message.header)
        labels = np.frombuffer(message.data, np.uint8)
        known = labels[labels != Vocabulary.UNLABELLED]
        self._widest[stamp] = int(known.max(initial=0))
        self.strange_labels += self._sizes.pop(stamp, None) != (message.height, message.width)

    def _on_classes(self, message: ClassConfidenceArray) -> None:
        self.versions.add(message.vocabulary_version)
        stamp = self._newest["classes"] = stamp_of(message.header)
        # The label of a frame is published before its classes.
        self.strange_labels += self._widest.pop(stamp, 0) >= len(message.classes)

    def _on_status(self, message: SegmentationStatus) -> None:
        former, self.status = self.status or message, message
        self.level_changes += message.quality_level_name != former.quality_level_name
        stamp = self._newest["status"] = stamp_of(message.header)
        for book in (self._sizes, self._widest):
            for old in [key for key in book if key < stamp - 10**10]:  # none comes any more
                del book[old]


def _spin_until(node: Node, condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    return condition()


def main() -> None:
    """Drive the node for some seconds, wait for the last frames, and write the books."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=15.0, help="frames per second")
    parser.add_argument("--change-seconds", type=float, default=CHANGE_SECONDS)
    parser.add_argument("--topic", default="/camera/image_raw")
    parser.add_argument("--depth", type=int, default=64, help="of the queues")
    parser.add_argument("--alone", action="store_true", help="every frame is labelled alone")
    arguments = parser.parse_args()
    rclpy.init()
    driver = SoakDriver(arguments.topic, arguments.rate, arguments.depth, arguments.alone)
    if not _spin_until(driver, lambda: driver.connected, DRAIN_SECONDS):
        raise SystemExit(f"{NODE} was not found; see that it runs in the same ROS domain")
    driver.try_out()
    _spin_until(driver, lambda: driver.answered, DRAIN_SECONDS)
    driver.end()
    driver.flood()
    if not _spin_until(driver, lambda: driver.answered, DRAIN_SECONDS):
        raise SystemExit(f"{NODE} does not answer to images; see its log")
    driver.open_books()
    driver.get_logger().info("begin")
    driver.begin(arguments.change_seconds)
    _spin_until(driver, lambda: False, arguments.seconds)
    driver.end()
    driver.get_logger().info("publishing has ended")
    _spin_until(driver, lambda: driver.settled, DRAIN_SECONDS)
    arguments.output.write_text(json.dumps(driver.counts()))
    driver.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
