"""The studio beside a running node: `ros2 run sclip_seg_ros studio [/front/sclip_seg]`."""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_seg_ros.ros.programs.studio.command", "studio"))

import argparse
import threading
import time

from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.ros.programs.program import (
    NoAnswer,
    RosProgram,
    add_node_arguments,
    own_node,
)
from sclip_seg_ros.ros.programs.studio.bench import NodeBench
from sclip_seg_ros.studio.choices.choices import Choices, Refusal
from sclip_seg_ros.studio.choices.export import Origin
from sclip_seg_ros.studio.command import add_serving_flags
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.web.running import listen, serve

WAIT_SECONDS = 30.0  # for the node to answer


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser, WAIT_SECONDS)
    add_serving_flags(parser)


def _run(parsed: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        Failed: the node does not answer, or cannot be shown.
        OSError: the page cannot be served there.
    """
    with listen(parsed.host, parsed.port) as listening, \
            own_node("studio", parsed.given, SignalHandlerOptions.NO) as node:
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinning = threading.Thread(target=executor.spin, name="studio-ros", daemon=True)
        bench = NodeBench(node, "/" + parsed.node.strip("/"))
        spinning.start()
        try:
            desk = Desk(bench, _first(bench, parsed.timeout))
            bench.on_adopted = desk.adopt
            bench.start()
            serve(desk, Origin(bench.model, bench.pretrained), parsed.host, listening, desk.begin)
        except Refusal as error:
            raise Failed(f"the node's parameters cannot be shown: {error}") from error
        except KeyboardInterrupt:  # how people end it
            pass
        finally:
            bench.close()
            executor.shutdown()
            spinning.join()


def _first(bench: NodeBench, seconds: float) -> Choices:
    """Return the node's words and settings, once it answers."""
    deadline, told = time.monotonic() + seconds, False
    while True:
        try:
            return bench.read()
        except NoAnswer as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                print(f"{error}; waiting up to {seconds:g} s for it ...", flush=True)
                told = True


main = RosProgram("studio", "Serve the studio beside a running node, in a browser.",
                  "ros2 run sclip_seg_ros studio /front/sclip_seg", _add_arguments, _run,
                  interrupted="ended")
