"""Publish the node's health on /diagnostics, once a second."""

from __future__ import annotations

import threading
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from sclip_seg_ros.ros.log import describe

PERIOD_SECONDS = 1.0
COMPLAINT_SECONDS = 10.0       # between two log lines about diagnostics that could not be made
NAMESAKE_SECONDS = 30          # longer than a node that was killed stays in the graph (20 s)
ONLY_CAMERA = "segmentation"   # stands for the camera's name where there is only one


def nodes_called(name: str, seen_from: Node) -> int:
    """Return how many nodes of a full name, such as ``/front/sclip_seg``, a node has in sight."""
    return sum(f"{namespace.rstrip('/')}/{base}" == name
               for base, namespace in seen_from.get_node_names_and_namespaces())


class Diagnostics:
    """Publish from a thread of its own.

    A timer would fall silent just when diagnostics matter: while the executor's thread loads
    weights, and under simulated time while the clock stands still.
    """

    def __init__(self, node: Node,
                 health: Callable[[], list[tuple[str, DiagnosticStatus]]]) -> None:
        """Start the thread.

        Args:
            node: to publish with.
            health: returns the statuses to publish, each with the name of its camera.
        """
        self._node = node
        self._health = health
        self._namesake_seconds = 0
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End the thread, before the node is destroyed; return whether it ended in time."""
        self._stop.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            try:
                self._publish()
                self._look_for_namesakes()
            except Exception as error:
                # Where the context is shut down under our feet, that is no wonder.
                if not self._stop.is_set() and self._node.context.ok():
                    self._node.get_logger().warning(
                        f"a second without diagnostics: {describe(error)}",
                        throttle_duration_sec=COMPLAINT_SECONDS)

    def _publish(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        for camera, status in self._health():
            status.name = f"{self._node.get_fully_qualified_name()[1:]}: {camera or ONLY_CAMERA}"
            array.status.append(status)
        self._publisher.publish(array)

    def _look_for_namesakes(self) -> None:
        """Warn once of another node of this name: whoever listens gets the outputs of both."""
        name = self._node.get_fully_qualified_name()
        several = nodes_called(name, self._node) > 1
        self._namesake_seconds = self._namesake_seconds + 1 if several else 0
        if self._namesake_seconds == NAMESAKE_SECONDS:
            self._node.get_logger().warning(
                f"another node is called {name}, too, so that the outputs of both come on the same "
                "topics and parameters reach either; stop one, or start it with another "
                "namespace:=")
