"""The frame of the programs that ask a running node, with a node of their own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.ros.programs.refusals import why_no_node, why_refused
from sclip_seg_ros.tools.program import Program


class NoAnswer(Failed):
    """The node does not answer; the message says what to do."""


@dataclass(frozen=True)
class RosProgram(Program):
    """A program whose command line may hold arguments for ROS as well, behind ``--ros-args``."""

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse what is the program's own; ``given`` holds all of it, for :func:`own_node`.

        Raises:
            UsageError: an unknown flag or value.
            Failed: ROS cannot make out which arguments are its own.
        """
        given = [self.name, *(sys.argv[1:] if arguments is None else arguments)]
        try:
            own = remove_ros_args(given)[1:]
        except RuntimeError as error:
            raise Failed(why_refused(error)) from error
        parsed = super().parse(own)
        parsed.given = given
        return parsed


def add_node_arguments(parser: argparse.ArgumentParser, seconds: float) -> None:
    """Add what says which node to ask, and how long to wait for it: by default so many seconds."""
    parser.add_argument("node", nargs="?", default="/sclip_seg", help="its full name")
    parser.add_argument("--timeout", type=float, default=seconds, metavar="SECONDS",
                        help="to wait for the node (default %(default)g)")


@contextmanager
def own_node(name: str, given: Sequence[str],
             signals: SignalHandlerOptions = SignalHandlerOptions.ALL) -> Iterator[Node]:
    """Start ROS and a node to ask with, and end both.

    Args:
        name: of the node.
        given: command line with the arguments for ROS.
        signals: that ROS answers by ending itself.

    Raises:
        Failed: ROS refuses the arguments or the environment, or the middleware a node.
        KeyboardInterrupt: a signal has ended ROS.
    """
    try:
        rclpy.init(args=list(given), signal_handler_options=signals)
    except RuntimeError as error:
        raise Failed(why_refused(error)) from error
    try:
        node = Node(name, start_parameter_services=False, enable_rosout=False)
        try:
            yield node
        finally:
            node.destroy_node()
    except Exception as error:
        if refusal := why_no_node(error):
            raise Failed("; ".join(refusal)) from error
        if rclpy.ok():
            raise
        raise KeyboardInterrupt from error  # the signal came amid a call, which then cannot be done
    finally:
        rclpy.try_shutdown()
