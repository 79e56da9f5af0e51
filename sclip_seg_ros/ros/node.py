"""Run the segmentation node as a process: signals, start-up, exit codes.

    ros2 run sclip_seg_ros segment_node --ros-args -r image_raw:=/camera/image_raw
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # its own class in Python 3.10
from itertools import takewhile
from typing import Any, NoReturn

from sclip_seg_ros.common.entry import loading_libraries
from sclip_seg_ros.common.streams import outlive_listeners

STOP_SECONDS = 1.5   # for the threads; with what follows the process ends within three
_POLL_SECONDS = 0.1  # between two looks at the stop signal
_HELP = """Label the images of cameras with any words, as a node of ROS 2.

  ros2 run sclip_seg_ros segment_node --ros-args -r image_raw:=/camera/image_raw -p model:=ViT-B/16
  ros2 launch sclip_seg_ros segment.launch.py image:=/camera/image_raw model:=ViT-B/16
  ros2 launch sclip_seg_ros segment.launch.py --show-args

All parameters, for either: docs/parameters.md, or `ros2 param describe /sclip_seg NAME` while the
node runs."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, then end the process: code 0, or 1 if it cannot start.

    The main thread never does anything long, so that a signal is always answered: libraries are
    imported, weights loaded and callbacks served in another.
    """
    given = sys.argv if args is None else args
    if not {"-h", "--help"}.isdisjoint(takewhile(lambda word: word != "--ros-args", given)):
        print(_HELP)
        _leave(0)
    # Before torch is imported: threads that wait by spinning take the cores, when others want them
    # too, from the very thread they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    outlive_listeners()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: Future = Future()
    serving = _in_background(lambda: _serve(given, node, stop))
    while not serving.done() and not stop.is_set():
        stop.wait(_POLL_SECONDS)
    if serving.done() and (error := serving.exception()) is not None:
        if not isinstance(error, _Refused):  # e.g. a library that cannot be imported
            traceback.print_exception(error)
        _leave(1)
    try:
        ended = node.done() and _ended(serving)
    except Exception:  # of the executor, while the node was told to stop
        traceback.print_exc()
        _leave(1)
    if ended:
        _end(node.result())
    _leave(0)  # where a download, an import or a transition cannot be interrupted too


class _Refused(Exception):
    """The node cannot start; the reason has been logged."""


def _serve(args: Sequence[str], ready: Future, stop: threading.Event) -> None:
    """Import everything, create the node, start it, and serve callbacks until told to stop."""
    from sclip_seg_ros.ros.programs.refusals import (
        refused_surroundings,
        why_no_node,
        why_refused,
    )

    if refusal := refused_surroundings():
        print(f"sclip_seg: {'; '.join(refusal)}", file=sys.stderr)
        raise _Refused
    import rclpy
    from rclpy.exceptions import ParameterException
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.logging import get_logger
    from rclpy.signals import SignalHandlerOptions

    logging.captureWarnings(True)  # those of libraries, into the node's log
    try:
        rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # e.g. a parameter file that is none
        get_logger("sclip_seg").fatal(why_refused(error))
        raise _Refused from error
    from sclip_seg_ros.common.heap import keep_freed_memory

    with loading_libraries():
        from sclip_seg_ros.ros.segmentation_node import NAME, SegmentNode

    try:
        node = SegmentNode(args)
    except RuntimeError as error:
        if not (refusal := why_no_node(error)):
            raise
        get_logger(NAME).fatal("; ".join(refusal))
        raise _Refused from error
    except (ParameterException, ValueError, OSError) as error:
        get_logger(NAME).fatal(" ".join(str(error).split()))
        raise _Refused from error
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    if node.autostart and not node.start():
        raise _Refused
    keep_freed_memory()  # here and not sooner: not what loading the weights needed
    ready.set_result(node)
    with contextlib.suppress(ExternalShutdownException):
        while not stop.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=_POLL_SECONDS)
    executor.shutdown(timeout_sec=0.0)


def _ended(serving: Future) -> bool:
    """Wait for the executor's thread; return whether it has ended.

    Raises:
        Exception: whatever ended it.
    """
    try:
        serving.result(_POLL_SECONDS * 5)
    except FutureTimeout:
        return False
    return True


def _end(node: Any) -> None:
    """Take everything down, unless a thread cannot be ended and still uses it."""
    import rclpy

    if not node.stop(STOP_SECONDS):
        node.get_logger().warning("a frame or a word is still being worked on; leaving it")
        return
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
