"""Print the whole state of a running segmentation node in a terminal.

    ros2 run sclip_seg_ros show_state [/front/sclip_seg]
"""

from __future__ import annotations

import sys

from sclip_seg_ros.ros.programs.entry import run_ros_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_ros_program("sclip_seg_ros.ros.programs.show_state.command", "show_state"))

import argparse
import time
from dataclasses import dataclass, field

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.node import Node

from sclip_seg_ros.msg import Vocabulary
from sclip_seg_ros.ros.cameras.qos import latched
from sclip_seg_ros.ros.diagnostics.publisher import ONLY_CAMERA, nodes_called
from sclip_seg_ros.ros.diagnostics.verdict import Verdict
from sclip_seg_ros.ros.programs.program import (
    NoAnswer,
    RosProgram,
    add_node_arguments,
    own_node,
)
from sclip_seg_ros.ros.programs.show_state.text import CameraState, NodeState, state_text

WAIT_SECONDS = 10.0       # for a node's answers; diagnostics come once a second
VOCABULARY_SECONDS = 2.0  # for its words, which a node that was never active has not announced


@dataclass
class _Answers:
    """What has been heard of a node so far."""

    lifecycle: str = ""
    cameras: list[CameraState] = field(default_factory=list)
    vocabulary: Vocabulary | None = None


class StateReader:
    """Ask one node for its state, with a node of one's own."""

    def __init__(self, node: Node, name: str) -> None:
        """Prepare to ask.

        Args:
            node: to ask with; this class spins it.
            name: of the node to ask, with or without the leading slash.
        """
        self._node = node
        self.name = "/" + name.strip("/")
        self._answers = _Answers()
        self._client: Client = node.create_client(GetState, f"{self.name}/get_state")
        self._diagnostics = node.create_subscription(DiagnosticArray, "/diagnostics",
                                                     self._on_diagnostics, 10)

    def read(self, seconds: float = WAIT_SECONDS) -> NodeState:
        """Return the state.

        Args:
            seconds: to wait at most, for the node to answer.

        Raises:
            NoAnswer: it did not.
        """
        answers, deadline = self._answers, time.monotonic() + seconds
        request = None
        while not (answers.lifecycle and answers.cameras):
            if time.monotonic() > deadline:
                raise NoAnswer(self._complaint(seconds))
            if request is None and self._client.service_is_ready():
                request = self._client.call_async(GetState.Request())
            self._spin()
            answer = request.result() if request is not None and request.done() else None
            if answer is not None:
                answers.lifecycle = answer.current_state.label
            elif answers.cameras \
                    and answers.cameras[0].values.get("verdict") == Verdict.LOADING.word:
                # Its services answer once that is done.
                return NodeState(self.name, "configuring", tuple(answers.cameras), None,
                                 nodes_called(self.name, self._node))
        self._wait_for_vocabulary()
        return NodeState(self.name, answers.lifecycle, tuple(answers.cameras), answers.vocabulary,
                         nodes_called(self.name, self._node))

    def _wait_for_vocabulary(self) -> None:
        camera = self._answers.cameras[0].name
        topic = f"{self.name}/{camera}/vocabulary" if camera else f"{self.name}/vocabulary"
        subscription = self._node.create_subscription(Vocabulary, topic, self._on_vocabulary,
                                                      latched())
        deadline = time.monotonic() + VOCABULARY_SECONDS
        while self._answers.vocabulary is None and time.monotonic() < deadline:
            self._spin()
        self._node.destroy_subscription(subscription)

    def _spin(self) -> None:
        rclpy.spin_once(self._node, timeout_sec=0.1)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        found = []
        for status in message.status:
            node, _, camera = status.name.partition(": ")
            if f"/{node}" == self.name:
                found.append(CameraState("" if camera == ONLY_CAMERA else camera,
                                         int.from_bytes(status.level, "little"), status.message,
                                         {entry.key: entry.value for entry in status.values}))
        self._answers.cameras = found or self._answers.cameras

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self._answers.vocabulary = message

    def _complaint(self, seconds: float) -> str:
        what = "its diagnostics do not come" if self._answers.lifecycle \
            else "its lifecycle service does not answer"
        others = sorted(_segmentation_nodes(self._node))
        remedy = f"segmentation nodes in sight: {', '.join(others)}" if others else \
            "see that it runs, with the same ROS_DOMAIN_ID, and give its full name"
        return f"no state of '{self.name}' within {seconds:g} s: {what}; {remedy}"


def _segmentation_nodes(node: Node) -> set[str]:
    """Return the names of the nodes that announce vocabularies."""
    kind = "sclip_seg_ros/msg/Vocabulary"
    return {f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            for topic, kinds in node.get_topic_names_and_types() if kind in kinds
            for info in node.get_publishers_info_by_topic(topic)}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser, WAIT_SECONDS)
    parser.add_argument("--colour", choices=("auto", "always", "never"), default="auto",
                        help="of the classes; auto: where the output is a terminal")


def _run(parsed: argparse.Namespace) -> None:
    with own_node("show_state", parsed.given) as node:
        state = StateReader(node, parsed.node).read(parsed.timeout)
    print(state_text(state, parsed.colour == "always" or
                     parsed.colour == "auto" and sys.stdout.isatty()))


main = RosProgram("show_state", "Print the whole state of a running segmentation node.",
                  "ros2 run sclip_seg_ros show_state /front/sclip_seg", _add_arguments, _run)
