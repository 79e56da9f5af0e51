"""The node in somebody else's process: made, started, set and destroyed without `segment_node`."""

from __future__ import annotations

import threading

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_harness import domain_for

from sclip_seg_ros.ros.segmentation_node import SegmentNode

THREADS = {"diagnostics", "vocabulary", "frames"}


@pytest.fixture
def context():
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    yield context
    context.try_shutdown()


@pytest.fixture
def node(context):
    values = {"classes": ["floor", "wall", "ball"], "short_side": 64, "threads": 1, "lazy": False}
    node = SegmentNode(context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])
    yield node
    node.destroy_node()


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()} & THREADS


def test_parameters_set_before_there_is_an_executor_hold_once_there_is_one(context, node):
    assert node.start()
    [answer] = node.set_parameters([Parameter("classes", value=["cup", "box"])])
    assert answer.successful
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        for _ in range(600):
            if node._engine.vocabularies.current.names == ("cup", "box"):
                break
            executor.spin_once(timeout_sec=0.1)
        assert node._engine.vocabularies.current.names == ("cup", "box")
    finally:
        executor.shutdown()


def test_a_destroyed_node_leaves_no_thread_behind(node):
    assert node.start()
    assert threads() == THREADS
    node.destroy_node()
    assert threads() == set()


def test_a_context_that_shuts_down_takes_the_threads_with_it(context, node):
    assert node.start()
    context.shutdown()
    assert threads() == set()


def test_a_node_that_was_never_started_can_be_destroyed(node):
    assert threads() == {"diagnostics"}
    node.destroy_node()
    assert threads() == set()
