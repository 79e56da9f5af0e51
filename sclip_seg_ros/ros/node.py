"""Run the segmentation node as a process: signals, start-up, exit codes.

    ros2 run sclip_seg_ros segment_node --ros-args -r image_raw:=/camera/image_raw
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn

STOP_SECONDS = 1.5   # for the threads; with what follows the process ends within three
_POLL_SECONDS = 0.1  # between two looks at the stop signal


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, then end the process: code 0, or 1 if it cannot start.

    The main thread never does anything long, so that a signal is always answered: even libraries
    and weights are loaded in another.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    starting = _in_background(lambda: _start(args))
    while not starting.done() and not stop.is_set():
        stop.wait(_POLL_SECONDS)
    if not starting.done():
        _leave(0)  # a download or an import cannot be interrupted
    try:
        node = starting.result()
    except _Refused:
        _leave(1)
    _spin(node, stop)
    _leave(0)


class _Refused(Exception):
    """The node cannot start; the reason has been logged."""


def _start(args: Sequence[str] | None) -> Any:
    """Import everything, and create the node."""
    import rclpy
    from rclpy.exceptions import ParameterException
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        from sclip_seg_ros.models import WeightsError
        from sclip_seg_ros.ros.segmentation_node import NAME, SegmentNode

        return SegmentNode()
    except (WeightsError, ParameterException, ValueError, OSError) as error:
        rclpy.logging.get_logger(NAME).fatal(" ".join(str(error).split()))
        rclpy.try_shutdown()
        raise _Refused from error


def _spin(node: Any, stop: threading.Event) -> None:
    """Serve callbacks until a signal or a shutdown of the context, then take everything down."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with contextlib.suppress(ExternalShutdownException):
        while not stop.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=_POLL_SECONDS)
    if not node.stop(STOP_SECONDS):
        node.get_logger().warning("a frame or a word is still being worked on; leaving it")
        return  # what that thread uses must not be destroyed
    executor.shutdown(timeout_sec=0.0)
    node.destroy_node()
    rclpy.try_shutdown()


def _in_background(work: Callable[[], Any]) -> Future:
    """Run a function in a daemon thread."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="start", daemon=True).start()
    return future


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's own clean-up.

    That would take seconds on a busy computer, and crash where a thread is still inside torch.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
