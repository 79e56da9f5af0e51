"""The studio beside a running node: `ros2 run sclip_seg_ros studio [/front/sclip_seg]`."""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_seg_ros.ros.programs.studio.command", "studio"))

import argparse
import contextlib
import threading
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from sclip_seg_ros.ros.programs.refusals import why_no_node, why_refused
from sclip_seg_ros.ros.programs.studio.bench import NodeBench
from sclip_seg_ros.ros.programs.studio.parameters import NoAnswer
from sclip_seg_ros.studio.choices.choices import Choices, Refusal
from sclip_seg_ros.studio.choices.export import Origin
from sclip_seg_ros.studio.command import add_serving_flags
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.web.running import listen, serve

WAIT_SECONDS = 30.0  # for the node to answer
PROGRAM = "studio"


def main(args: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C; return 1 where the node does not answer, 2 for unusable flags.

    Args:
        args: of the command line, with those for ROS.
    """
    given = sys.argv if args is None else [PROGRAM, *args]
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n")[0])
    parser.add_argument("node", nargs="?", default="/sclip_seg", help="its full name")
    parser.add_argument("--timeout", type=float, default=WAIT_SECONDS,
                        help="seconds to wait for the node (%(default)g)")
    add_serving_flags(parser)
    try:
        parsed = parser.parse_args(remove_ros_args(given)[1:])
        rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        return _complain(why_refused(error), 1)
    try:
        listening = listen(parsed.host, parsed.port)
    except OSError as error:
        rclpy.try_shutdown()
        return _complain(str(error), 2)
    try:
        node = Node("studio", start_parameter_services=False, enable_rosout=False)
    except RuntimeError as error:
        if not (refusal := why_no_node(error)):
            raise
        rclpy.try_shutdown()
        return _complain("; ".join(refusal), 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor,), name="studio-ros", daemon=True)
    bench = NodeBench(node, "/" + parsed.node.strip("/"))
    spinning.start()
    try:
        with listening:
            desk = Desk(bench, _first(bench, parsed.timeout))
            bench.on_adopted = desk.adopt
            bench.start()
            serve(desk, Origin(bench.model, bench.pretrained), parsed.host, listening, desk.begin)
    except NoAnswer as error:
        return _complain(str(error), 1)
    except Refusal as error:
        return _complain(f"the node's parameters cannot be shown: {error}", 1)
    except KeyboardInterrupt:  # how people end it
        pass
    finally:
        bench.close()
        executor.shutdown()
        rclpy.try_shutdown()
        spinning.join()
        node.destroy_node()
    return 0


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


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


def _complain(problem: str, code: int) -> int:
    print(f"{PROGRAM}: {' '.join(problem.split())}", file=sys.stderr)
    return code
