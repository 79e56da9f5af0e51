"""Demo consumer: record what the segmentation node publishes and change its words half-way.

    python -m examples.demo.recorder --output recording --change-after 4.5 --classes ...
"""

from __future__ import annotations

import argparse
import json
import math
import signal
from pathlib import Path

import numpy as np
import rclpy
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.geometry.stamps import stamp_of
from sclip_seg_ros.ros.cameras.qos import latched


class DemoRecorder(Node):
    """Collect labels, overlays, versions and status by stamp."""

    def __init__(self, node: str, classes: list[str], change_after: float) -> None:
        """Subscribe to a segmentation node's outputs.

        Args:
            node: its fully qualified name.
            classes: the vocabulary to ask for half-way.
            change_after: seconds from the first label image to asking.
        """
        super().__init__("demo_recorder")
        self._classes = classes
        self._change_after = change_after
        self._change_timer = None
        self._service = self.create_client(SetParameters, f"{node}/set_parameters")
        self.change_accepted: bool | None = None
        self.change_reason = ""
        self.labels: dict[int, np.ndarray] = {}
        self.confidences: dict[int, np.ndarray] = {}
        self.overlays: dict[int, np.ndarray] = {}
        self.versions: dict[int, int] = {}
        self.vocabularies: dict[int, list[str]] = {}
        self.delays_ms: dict[int, float] = {}
        self.status: dict[int, SegmentationStatus] = {}
        for topic, kind, callback in (("label", Image, self._on_label),
                                      ("confidence", Image, self._on_confidence),
                                      ("overlay", Image, self._on_overlay),
                                      ("class_confidence", ClassConfidenceArray, self._on_classes),
                                      ("status", SegmentationStatus, self._on_status)):
            self.create_subscription(kind, f"{node}/{topic}", callback, 10)
        self.create_subscription(Vocabulary, f"{node}/vocabulary", self._on_vocabulary,
                                 latched(depth=4))

    @property
    def connected(self) -> bool:
        """Tell whether the node was found; its vocabulary is latched and comes at once."""
        return bool(self.vocabularies)

    def _on_label(self, message: Image) -> None:
        stamp = stamp_of(message.header)
        self.delays_ms[stamp] = (self.get_clock().now().nanoseconds - stamp) / 1e6
        self.labels[stamp] = pixels(message)
        if self._change_timer is None:
            self._change_timer = self.create_timer(self._change_after, self._ask_for_change)

    def _on_confidence(self, message: Image) -> None:
        self.confidences[stamp_of(message.header)] = pixels(message)

    def _on_overlay(self, message: Image) -> None:
        self.overlays[stamp_of(message.header)] = pixels(message)

    def _on_classes(self, message: ClassConfidenceArray) -> None:
        self.versions[stamp_of(message.header)] = message.vocabulary_version

    def _on_status(self, message: SegmentationStatus) -> None:
        self.status[stamp_of(message.header)] = message

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self.vocabularies[message.version] = [entry.name for entry in message.classes]

    def _ask_for_change(self) -> None:
        self._change_timer.cancel()
        value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY,
                               string_array_value=self._classes)
        request = SetParameters.Request(parameters=[Parameter(name="classes", value=value)])
        self._service.call_async(request).add_done_callback(self._on_answer)

    def _on_answer(self, future) -> None:
        result = future.result().results[0]
        self.change_accepted, self.change_reason = result.successful, result.reason

    def save(self, folder: Path) -> None:
        """Write labels, confidence, overlays (.npz by stamp) and the rest (recording.json)."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("labels", "confidences", "overlays"):
            images = getattr(self, name)
            np.savez(folder / f"{name}.npz", **{str(stamp): image
                                                for stamp, image in images.items()})
        newest = max(self.status.values(), key=lambda entry: entry.frames_received, default=None)
        (folder / "recording.json").write_text(json.dumps({
            "stamps": {name: list(getattr(self, name)) for name in
                       ("labels", "confidences", "overlays", "versions", "status")},
            "versions": self.versions,
            "vocabularies": self.vocabularies,
            "delays_ms": self.delays_ms,
            "total_ms": {stamp: entry.total_ms for stamp, entry in self.status.items()},
            "stage_ms": {stamp: {stage.stage: stage.ms for stage in entry.stages}
                         for stamp, entry in self.status.items()},
            "evidence_age_ms": {stamp: entry.evidence.age_ms for stamp, entry
                                in self.status.items() if not math.isnan(entry.evidence.age_ms)},
            "frames_received": newest.frames_received if newest else 0,
            "frames_dropped": newest.frames_dropped if newest else 0,
            "model": newest.model if newest else "",
            "device": newest.device if newest else "",
            "change_accepted": self.change_accepted,
            "change_reason": self.change_reason,
        }))


def pixels(message: Image) -> np.ndarray:
    """View an image message without row padding as (H, W) or (H, W, 3) uint8."""
    array = np.frombuffer(message.data, np.uint8)
    return array.reshape(message.height, message.width, -1).squeeze(-1) \
        if message.encoding == "mono8" else array.reshape(message.height, message.width, -1)


def main() -> None:
    """Record until SIGINT or SIGTERM, then write everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--node", default="/sclip_seg")
    parser.add_argument("--change-after", type=float, required=True,
                        help="seconds from the first label image")
    parser.add_argument("--classes", nargs="+", required=True, help="vocabulary to change to")
    arguments = parser.parse_args()
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    recorder = DemoRecorder(arguments.node, arguments.classes, arguments.change_after)
    announced = False
    while not stopped:
        rclpy.spin_once(recorder, timeout_sec=0.1)
        if recorder.connected and not announced:
            recorder.get_logger().info("connected")
            announced = True
    recorder.save(arguments.output)
    recorder.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
