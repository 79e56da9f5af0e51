"""A real segmentation node inside the test's process, for faults that are injected into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_harness import MODEL

from sclip_seg_ros.ros.segmentation_node import SegmentNode

PATIENCE = 60.0


@contextmanager
def node_in_process(domain: int, **parameters: Any) -> Iterator[SegmentNode]:
    """Run a node in a thread of its own, unconfigured, until the end of the ``with`` block."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    values = {"model": MODEL, "threads": 1, "short_side": 64, **parameters}
    node = SegmentNode(context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=serve, name="executor")
    thread.start()
    try:
        yield node
    finally:
        stop.set()
        thread.join(PATIENCE)
        node.stop(PATIENCE)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def hold(monkeypatch: pytest.MonkeyPatch, owner: object,
         name: str) -> tuple[threading.Event, threading.Event]:
    """Hold back all calls of a function; return what tells of the first, and what frees them."""
    called, go_on, function = threading.Event(), threading.Event(), getattr(owner, name)

    def held(*arguments: Any, **keywords: Any) -> Any:
        called.set()
        go_on.wait(PATIENCE)
        return function(*arguments, **keywords)

    monkeypatch.setattr(owner, name, held)
    return called, go_on
