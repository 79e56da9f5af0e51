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
from typing import Any

STOP_SECONDS = 1.5   # for the threads; with what follows the process ends within three
_POLL_SECONDS = 0.1  # between two looks at the stop signal


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the process's exit code.

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
        _leave_at_once(0)  # a download or an import cannot be interrupted
    try:
        node = starting.result()
    except _Refused as refusal:
        return refusal.code
    return _spin(node, stop)


class _Refused(Exception):
    """The node cannot start; the reason has been logged."""

    code = 1


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


def _spin(node: Any, stop: threading.Event) -> int:
    """Serve callbacks until a signal or a shutdown of the context, then take everything down."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with contextlib.suppress(ExternalShutdownException):
        while not stop.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=_POLL_SECONDS)
    ended = node.stop(STOP_SECONDS)
    if not ended:
        node.get_logger().warning("a frame or a word is still being worked on; leaving it")
        _leave_at_once(0)  # tearing libraries down under a running thread would crash
    executor.shutdown(timeout_sec=0.0)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


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


def _leave_at_once(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
