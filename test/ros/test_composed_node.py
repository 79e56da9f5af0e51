"""The node in somebody else's process: made, started, set and destroyed without `segment_node`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_harness import LATCHED, domain_for
from sclip_seg_ros.msg import Vocabulary

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
    heard: list[Vocabulary] = []
    node.create_subscription(Vocabulary, "~/vocabulary", heard.append, LATCHED)
    [answer] = node.set_parameters([Parameter("classes", value=["cup", "box"])])
    assert answer.successful
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        for _ in range(600):
            if heard and [entry.name for entry in heard[-1].classes] == ["cup", "box"]:
                break
            executor.spin_once(timeout_sec=0.1)
        assert [entry.name for entry in heard[-1].classes] == ["cup", "box"]
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


PROGRAM = """
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_harness import picture
from sclip_seg_ros.ros.segmentation_node import SegmentNode
from sensor_msgs.msg import Image

rclpy.init()
executor = SingleThreadedExecutor()
for namespace in ("/front", "/rear"):
    node = SegmentNode(namespace=namespace, parameter_overrides=[
        Parameter(name, value=value) for name, value in
        {"short_side": 336, "threads": 1, "lazy": False, "use_densecrf": True}.items()])
    assert node.start()
    publisher = node.create_publisher(Image, "image_raw", 1)
    node.create_timer(0.05, lambda publisher=publisher: publisher.publish(picture(320, 240)))
    node.create_subscription(Image, "sclip_seg/label", lambda image: print("labelled", flush=True),
                             1)
    executor.add_node(node)
try:
    executor.spin()
except (KeyboardInterrupt, ExternalShutdownException):
    pass
print("over", flush=True)
"""


def test_ctrl_c_without_destroying_the_nodes_ends_the_program_in_order():
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_for(__file__)),
             "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]),
                                            os.environ.get("PYTHONPATH", "")])})
    try:
        assert program.stdout.readline() == "labelled\n"
        program.send_signal(signal.SIGINT)
        said, complaints = program.communicate(timeout=60)
    finally:
        program.kill()
    assert said.endswith("over\n")
    assert program.returncode == 0, complaints
    assert "terminate called" not in complaints
