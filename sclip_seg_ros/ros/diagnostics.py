"""The node's health on /diagnostics, once a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from sclip_seg_ros.ros.status import Counts, FrameLog

STALE_SECONDS = 3.0    # without an image before that is worth a warning
STUCK_SECONDS = 10.0   # in one frame before that is worth a warning
RECENT_SECONDS = 10.0  # for which an error is worth a warning


@dataclass(frozen=True)
class Situation:
    """What the verdict rests on.

    Attributes:
        counts: of frames.
        silent_seconds: since the newest image, infinite before the first.
        error_seconds: since the newest error, infinite where there was none.
        busy_seconds: in the current frame.
        worker_alive: whether the frame thread runs.
        wanted: whether anybody listens, or the node works without listeners.
        topic: where images should come from.
    """

    counts: Counts
    silent_seconds: float
    error_seconds: float
    busy_seconds: float
    worker_alive: bool
    wanted: bool
    topic: str


def judge(situation: Situation) -> tuple[bytes, str]:
    """Return a diagnostic level and one sentence."""
    error = situation.counts.last_error
    if not situation.worker_alive:
        return DiagnosticStatus.ERROR, f"the frame thread has ended: {error or 'restart the node'}"
    if situation.counts.failing:
        return DiagnosticStatus.ERROR, f"frames fail: {error}"
    if situation.busy_seconds > STUCK_SECONDS:
        return DiagnosticStatus.WARN, f"one frame has taken {situation.busy_seconds:.0f} s so far"
    if situation.error_seconds < RECENT_SECONDS:
        return DiagnosticStatus.WARN, error
    if not situation.wanted:
        return DiagnosticStatus.OK, "idle: nobody listens to the outputs"
    if not situation.counts.received:
        return DiagnosticStatus.WARN, f"no image has arrived on {situation.topic} yet"
    if situation.silent_seconds > STALE_SECONDS:
        return DiagnosticStatus.WARN, (f"no image on {situation.topic} for "
                                       f"{situation.silent_seconds:.0f} s")
    return DiagnosticStatus.OK, "labelling"


class Diagnostics:
    """Publish verdict, counts, rates and latencies at 1 Hz."""

    def __init__(self, node: Node, log: FrameLog, situation: Callable[[], Situation],
                 facts: Callable[[], dict[str, str]]) -> None:
        """Start the timer.

        Args:
            node: to publish with.
            log: of counts and times.
            situation: returns what the verdict rests on.
            facts: returns further values by key, e.g. model and device.
        """
        self._node = node
        self._log = log
        self._situation = situation
        self._facts = facts
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(1.0, self._publish)

    def _publish(self) -> None:
        level, message = judge(self._situation())
        status = DiagnosticStatus(level=level, message=message,
                                  name=f"{self._node.get_fully_qualified_name()[1:]}: segmentation",
                                  hardware_id=self._facts().get("device", ""))
        status.values = [KeyValue(key=key, value=value) for key, value in self._values().items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _values(self) -> dict[str, str]:
        counts = self._log.counts
        arriving, labelled = self._log.rates()
        values = {**self._facts(), "images per second": f"{arriving:.1f}",
                  "labelled per second": f"{labelled:.1f}"}
        for key in ("received", "labelled", "rejected", "failed", "skipped"):
            values[f"frames {key}"] = str(getattr(counts, key))
        values["budget missed"] = str(counts.missed)
        values["last error"] = counts.last_error
        for stage, (median, high, most) in self._log.percentiles().items():
            values[f"{stage} ms p50/p95/max"] = f"{median:.1f} / {high:.1f} / {most:.1f}"
        return values
