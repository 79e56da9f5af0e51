"""The node: parameters, camera, worker and outputs, joined."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.ros.camera import CameraSubscription
from sclip_seg_ros.ros.diagnostics import Diagnostics, Situation
from sclip_seg_ros.ros.log_bridge import forward_logs
from sclip_seg_ros.ros.parameters import (
    NodeOptions,
    check_change,
    declare_parameters,
    read_values,
    warn_of_unknown,
)
from sclip_seg_ros.ros.pipeline import Frame, FramePipeline, describe
from sclip_seg_ros.ros.publishers import Outputs
from sclip_seg_ros.ros.status import FrameLog
from sclip_seg_ros.ros.vocabulary_server import Proposal, VocabularyServer
from sclip_seg_ros.ros.worker import Worker
from sclip_seg_ros.segmentation import SCLIPSegmentor

NAME = "sclip_seg"


class SegmentNode(Node):
    """Label camera images with any words.

    Callbacks only store: the newest frame, and parameter changes. A worker thread labels frames,
    another encodes new words, so that a single-threaded executor always has time.
    """

    def __init__(self, **arguments: Any) -> None:
        """Declare parameters, load the model and begin.

        Args:
            arguments: of :class:`rclpy.node.Node`.

        Raises:
            WeightsError: weights out of reach, or not fitting.
            ValueError, OSError, rclpy.exceptions.ParameterException: a parameter that cannot be
                used.
        """
        super().__init__(NAME, **arguments)
        forward_logs(self.get_logger())
        options = declare_parameters(self)
        warn_of_unknown(self)
        self._segmentor = self._load(options)
        self._log = FrameLog()
        self._outputs = Outputs(self)
        self._vocabularies = VocabularyServer(self._segmentor.vocabulary, _proposal(options),
                                              self._on_vocabulary_failure)
        self._worker: Worker[Frame] = Worker("frames", lambda frame: self._pipeline.process(frame),
                                             lambda error: self._pipeline.fail(error),
                                             lambda: self._pipeline.idle())
        self._pipeline = FramePipeline(
            self._segmentor, self._vocabularies, self._outputs, self._log, options,
            self.get_clock(), self.get_logger(), lambda: self._worker.mailbox.overwritten,
            self._on_settings_refused)
        self.add_on_set_parameters_callback(self._on_change)
        self._camera = CameraSubscription(self, self._on_image, options.values["image_transport"],
                                          options.values["image_reliability"])
        self._diagnostics = Diagnostics(self, self._log, self._situation, self._facts)
        self._worker.start()
        self._announce_start()

    def stop(self, seconds: float) -> bool:
        """End the threads; return whether both ended within so many seconds."""
        deadline = time.monotonic() + seconds
        worker_ended = self._worker.stop(seconds)
        return self._vocabularies.stop(max(0.0, deadline - time.monotonic())) and worker_ended

    def _load(self, options: NodeOptions) -> SCLIPSegmentor:
        values = options.values
        device = resolve_device(values["device"])
        # Before the worker threads begin: each takes the number over when it first computes.
        torch.set_num_threads(values["threads"] or default_threads(len(os.sched_getaffinity(0))))
        self.get_logger().info(f"loading '{values['model']}' on {device}, CPU threads: "
                               f"{torch.get_num_threads()} ...")
        return SCLIPSegmentor(values["model"], values["pretrained"], device, options.settings,
                              values["cache_dir"] or None)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._log.received()
        self._worker.mailbox.put(Frame(message, time.monotonic()))

    def _on_change(self, changes: list[Parameter]) -> SetParametersResult:
        """Check a change; what it becomes is read once it is made, after this callback."""
        result = check_change(self, changes)
        if result.successful:
            self._later(self._take_parameters)
        return result

    def _take_parameters(self) -> None:
        options = NodeOptions.from_values(read_values(self))
        self._pipeline.options = options
        if self._vocabularies.propose(_proposal(options)):
            self.get_logger().info(f"encoding a vocabulary of {len(options.classes)} classes")

    def _on_vocabulary_failure(self, proposal: Proposal, error: Exception) -> None:
        text = f"vocabulary refused, the former stays in force: {describe(error)}"
        self._log.note(text)
        self.get_logger().error(text)
        valid = self._vocabularies.in_force
        self._later(lambda: self._restore({"classes": list(valid.classes),
                                           "background": valid.background}))

    def _on_settings_refused(self, refused: dict[str, Any], valid: dict[str, Any]) -> None:
        """Take refused values back, except where they have been changed in the meantime."""
        def restore() -> None:
            now = NodeOptions.from_values(read_values(self)).values
            self._restore({name: value for name, value in valid.items()
                           if now[name] == refused[name]})

        self._later(restore)

    def _restore(self, values: Mapping[str, Any]) -> None:
        """Let parameters say again what is in force."""
        self.set_parameters_atomically([Parameter(name, value=value)
                                        for name, value in values.items()])

    def _later(self, task: Callable[[], None]) -> None:
        """Run something in the executor's thread, where parameters belong."""
        if self.executor is not None:
            self.executor.create_task(task)

    def _situation(self) -> Situation:
        counts = self._log.counts
        return Situation(counts, self._log.seconds_since_arrival(),
                         time.monotonic() - counts.last_error_at, self._worker.busy_seconds,
                         self._worker.alive,
                         self._outputs.wanted or not self._pipeline.options.lazy,
                         self._camera.topic)

    def _facts(self) -> dict[str, str]:
        vocabulary = self._vocabularies.current
        return {"model": self._segmentor.name, "device": str(self._segmentor.device),
                "precision": self._segmentor.precision,
                "vocabulary version": str(vocabulary.version), "classes": str(len(vocabulary)),
                "fallbacks": ", ".join(self._segmentor.fallbacks),
                "frames dropped": str(self._worker.mailbox.overwritten),
                "budget ms": f"{self._pipeline.options.latency_budget_ms:g}"}

    def _announce_start(self) -> None:
        segmentor, vocabulary = self._segmentor, self._vocabularies.current
        self.get_logger().info(
            f"ready: '{segmentor.name}' on {segmentor.device} in {segmentor.precision}, "
            f"{len(vocabulary)} classes; {self._camera.topic} -> "
            f"{', '.join(self._outputs.topics)}")


def default_threads(cores: int) -> int:
    """Leave one core to the camera and the middleware, where that does not halve the speed."""
    return cores - 1 if cores > 2 else cores


def _proposal(options: NodeOptions) -> Proposal:
    return Proposal(options.classes, options.background)
