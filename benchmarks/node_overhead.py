"""What the node adds to the model: milliseconds from a frame's arrival to its last publish.

The real pipeline, publishers and messages run with a segmentor that returns a ready result at once.
A second process subscribes, so that every message is serialised and sent. Between two frames the
core is kept awake, as a model keeps it, or left idle: waking up costs it milliseconds.

    scripts/run_in_overlay python -m benchmarks.node_overhead
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.node_overhead", "node_overhead"))

import argparse
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import numpy as np
import rclpy
import torch
from rclpy.executors import ExternalShutdownException
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.common.heap import keep_freed_memory
from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.frames.frame import Frame
from sclip_seg_ros.ros.frames.pipeline import FramePipeline
from sclip_seg_ros.ros.frames.tower import Tower
from sclip_seg_ros.ros.frames.tracker import Tracker
from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.ros.parameters.camera_topics import CameraTopic
from sclip_seg_ros.ros.parameters.options import declare_parameters
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.result import DeviceView
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.tools.program import Program, documented, positive

TOPICS = {"label": Image, "confidence": Image, "class_confidence": ClassConfidenceArray,
          "status": SegmentationStatus}
CLASSES = tuple(f"thing {index}" for index in range(20))
DOMAIN = 87
PAUSE_SECONDS = 0.02
DISCOVERY_SECONDS = 60.0


class NullPipeline(Pipeline):
    """The embedded model's pipeline, with a ready result in place of the computation."""

    result: SegmentationResult

    def predict(self, images, vocabulary, keep_going=None, label_sizes=()):
        """Return the ready result for every image."""
        return [self.result] * len(images)


class NullSegmentor(SCLIPSegmentor):
    """The embedded model's segmentor, whose pipelines are such."""

    def prepare(self, settings):
        """Return a pipeline that does nothing."""
        pipeline = super().prepare(settings)
        pipeline.__class__ = NullPipeline
        return pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--frames", type=positive, default=200, help="(default %(default)s)")
    parser.add_argument("--size", type=positive, nargs=2, default=(1080, 1920),
                        metavar=("HEIGHT", "WIDTH"))


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(DOMAIN))
    segmentor = NullSegmentor("embedded")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.node_overhead"])  # imported once for both consumers
    for topics in (tuple(TOPICS), (*TOPICS, "overlay")):
        consumer = context.Process(target=consume, args=(topics,), daemon=True)
        consumer.start()
        for pause, between in ((stay_awake, "awake"), (time.sleep, "idle")):
            times = measure(segmentor, options.frames, *options.size, topics, pause, consumer)
            print(f"{options.size[1]}x{options.size[0]}, {len(CLASSES)} classes, "
                  f"{', '.join(topics)}, core {between} between frames:")
            for stage, values in times.items():
                median, high = np.percentile(values, (50, 95))
                print(f"  {stage:<8} {median:6.2f} ms median, {high:6.2f} ms 95th percentile")
        consumer.kill()  # at SIGTERM an idle rclpy.spin waits for ever once in some 200 times
        consumer.join()


def stay_awake(seconds: float) -> None:
    """Keep the core busy, as a model would, or a thread that waits for a GPU."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def measure(segmentor: NullSegmentor, frames: int, height: int, width: int,
            topics: tuple[str, ...], pause: Callable[[float], None],
            consumer: BaseProcess) -> dict[str, list]:
    """Return milliseconds by stage, and in total, of each frame.

    Raises:
        Failed: the consumer hears nothing.
    """
    rclpy.init()
    node = rclpy.create_node("sclip_seg", parameter_overrides=[
        Parameter("temporal.enabled", value=False)])
    pipeline, camera = build(segmentor, node, height, width)
    keep_freed_memory()  # as the node's process does
    message = to_message(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8),
                         "rgb8", Header(frame_id="camera"))
    give_up = time.monotonic() + DISCOVERY_SECONDS
    while unheard := [topic for topic in topics
                      if node.count_subscribers(f"/sclip_seg/{topic}") == 0]:
        if not consumer.is_alive() or time.monotonic() > give_up:
            raise Failed(f"the consumer did not subscribe to {', '.join(unheard)} "
                         f"(exit code {consumer.exitcode})")
        time.sleep(0.05)
    times: dict[str, list[float]] = {}
    for index in range(frames + 20):
        arrived = time.monotonic()
        pipeline.process([Frame(camera, message, arrived)])
        total = (time.monotonic() - arrived) * 1e3
        if index >= 20:  # the first ones find caches cold
            stages = camera.log.newest
            for stage in ("convert", "publish", "overlay"):
                if stage in stages:
                    times.setdefault(stage, []).append(stages[stage])
            times.setdefault("total", []).append(total)
        pause(PAUSE_SECONDS)
    node.destroy_node()
    rclpy.shutdown()
    return times


def build(segmentor: NullSegmentor, node, height: int,
          width: int) -> tuple[FramePipeline, Camera]:
    """Join the node's own parts around the null segmentor."""
    options = declare_parameters(node)
    ledger = Ledger(options, print)
    vocabularies = VocabularyServer(lambda options, wanted: segmentor.vocabulary(CLASSES), ledger)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, len(CLASSES), (height // 40, width // 40), dtype=np.uint8)
    labels = np.ascontiguousarray(labels.repeat(40, 0).repeat(40, 1))
    share = np.full(len(CLASSES), 1 / len(CLASSES), np.float32)
    image = generator.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    NullPipeline.result = SegmentationResult(
        labels, generator.integers(0, 256, labels.shape, dtype=np.uint8), share, share,
        DeviceView(torch.from_numpy(image), torch.from_numpy(labels)),
        ScoreMap.of(torch.zeros(len(CLASSES), 21, 37)), vocabularies.current, 1.0, {}, {})
    camera = Camera(node, CameraTopic("", "image_raw", False))
    quality = QualityControl(segmentor, parse_ladder({"levels": [{"name": "full"}]}))
    tracker = Tracker(quality, Tower(segmentor.device, 1), 1)
    return FramePipeline(segmentor, quality, vocabularies, (camera,), ledger, node.get_clock(),
                         node.get_logger(), tracker), camera


def consume(topics: tuple[str, ...]) -> None:
    """Subscribe to the outputs, in a process of its own."""
    kinds = {**TOPICS, "overlay": Image}
    rclpy.init()
    node = rclpy.create_node("consumer")
    for topic in topics:
        node.create_subscription(kinds[topic], f"/sclip_seg/{topic}", lambda message: None,
                                 qos_profile_sensor_data)
    with contextlib.suppress(ExternalShutdownException):
        rclpy.spin(node)


main = Program(*documented(__doc__), add_arguments, run)
