"""What a configured node holds: the model, its words, its cameras and the thread that works."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import torch
from rclpy.node import Node

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.ros.camera import Camera
from sclip_seg_ros.ros.frames import Frame
from sclip_seg_ros.ros.ledger import Ledger, Refusal
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.parts import WORDS
from sclip_seg_ros.ros.pipeline import FramePipeline
from sclip_seg_ros.ros.vocabulary_server import VocabularyServer, Wanted
from sclip_seg_ros.ros.worker import Worker
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.text import CACHE_SIZE
from sclip_seg_ros.segmentation.vocabulary import validate_classes

_ENCODING_SECONDS = 10.0  # for the word in work, where a start fails


class Engine:
    """Load a model for a node, and label its cameras' frames while it is active.

    Callbacks only store: the newest frame of each camera, and parameter changes. A worker thread
    labels frames, another encodes new words, so that a single-threaded executor always has time.
    """

    def __init__(self, node: Node, options: NodeOptions,
                 on_refused: Callable[[Refusal], None], first_version: int = 1) -> None:
        """Load the model, encode the first words and create the outputs.

        The weights wait in main memory; :meth:`activate` brings them to their device.

        Args:
            node: to publish and subscribe with.
            options: of the node.
            on_refused: called, in one of the threads, with parameters that turned out not to
                work.
            first_version: of the first vocabulary.

        Raises:
            WeightsError: weights out of reach, or not fitting.
            ValueError, OSError: options that cannot be used.
        """
        self._node = node
        self._on_refused = on_refused
        self._weights = threading.Lock()  # held while they move, and while a word is encoded
        self._worker: Worker[Frame] | None = None
        self.segmentor = _load(options, node.get_logger())
        self.ladder = options.ladder_for(self.segmentor.device)
        options.refuse_misfit(self.ladder)
        self.quality = QualityControl(self.segmentor, self.ladder)
        self.quality.configure(options.settings, options.latency_budget_ms)
        self._ledger = Ledger(options, self._refused)
        self.vocabularies = VocabularyServer(self._encode, self._ledger, first_version)
        self.cameras: list[Camera] = []
        try:
            for source in options.cameras:
                self.cameras.append(Camera(node, source))
            self._pipeline = FramePipeline(
                self.segmentor, self.quality, self.vocabularies, self.cameras, self._ledger,
                node.get_clock(), node.get_logger())
            self._free_device()
        except Exception:
            self.close(_ENCODING_SECONDS)
            raise

    @property
    def options(self) -> NodeOptions:
        """What the parameters say; a change takes effect between two frames."""
        return self._ledger.asked

    @options.setter
    def options(self, options: NodeOptions) -> None:
        if WORDS in self._ledger.ask(options):
            self.vocabularies.wake()
            self._node.get_logger().info(
                f"encoding a vocabulary of {len(options.classes)} classes")

    @property
    def worker_alive(self) -> bool:
        """Tell whether the thread that labels frames runs."""
        return self._worker is not None and self._worker.alive

    @property
    def busy_seconds(self) -> float:
        """How long the frames in work have been so, 0 when there are none."""
        return self._worker.busy_seconds if self._worker is not None else 0.0

    def activate(self) -> None:
        """Bring the model to its device, warm up, and subscribe to the cameras."""
        with self._weights:
            self.segmentor.restore()
            self.vocabularies.move(self.segmentor.device)
        self.vocabularies.resume()  # where a close has failed
        self.quality.forget()
        self._pipeline.warm_up()
        pipeline = self._pipeline
        self._worker = Worker("frames", pipeline.process, pipeline.fail, pipeline.idle)
        self._worker.start()
        for camera in self.cameras:
            camera.log.begin()
        self._subscribe()

    def resume(self) -> None:
        """Go on after a :meth:`deactivate` that failed, once the frames in work are done."""
        self._worker.resume()
        self._subscribe()

    def deactivate(self, seconds: float) -> bool:
        """Label no more frames, and give the device's memory back.

        Returns:
            Whether the frames in work were done within so many seconds; where not, the model
            stays where it is, and either :meth:`resume` or another attempt has to follow.
        """
        for camera in self.cameras:
            camera.unsubscribe()
        if self._worker is not None:
            for frame in self._worker.mailbox.take(timeout=0.0):
                frame.camera.log.dropped()
            if not self._worker.stop(seconds):
                return False
        self._worker = None
        self._free_device()
        return True

    def close(self, seconds: float) -> bool:
        """End the threads; once they have ended, take the outputs down.

        Returns:
            Whether the threads ended within so many seconds.
        """
        deadline = time.monotonic() + seconds
        ended = self._worker is None or self._worker.stop(seconds)
        ended = self.vocabularies.stop(max(0.0, deadline - time.monotonic())) and ended
        if ended:
            for camera in self.cameras:
                camera.close()
        return ended

    def _free_device(self) -> None:
        with self._weights:
            self.vocabularies.move(torch.device("cpu"))
            self.segmentor.release()

    def _subscribe(self) -> None:
        for camera in self.cameras:
            camera.subscribe(partial(self._on_image, camera),
                             self.options.values["image_reliability"])

    def _on_image(self, camera: Camera, message: Any) -> None:
        camera.log.received()
        if self._worker.mailbox.put(Frame(camera, message, time.monotonic()), camera.name):
            camera.log.dropped()

    def _encode(self, options: NodeOptions, wanted: Wanted) -> Vocabulary:
        """Encode word by word, so that the weights can move, and it can be given up, between."""
        words = [word for entry in validate_classes(options.classes, options.background)
                 for word in entry.synonyms]
        if len(words) > CACHE_SIZE:
            raise ValueError(f"the classes have {len(words)} words, synonyms counted; give at most "
                             f"{CACHE_SIZE}")
        for word in words:
            if not wanted():
                raise CancelledError
            with self._weights:
                self.segmentor.text.encode([word], options.templates)
        with self._weights:  # from the cache
            return self.segmentor.vocabulary(
                options.classes, options.background, templates=options.templates,
                palette=dict(options.palette))

    def _refused(self, refusal: Refusal) -> None:
        """Tell of parameters that cannot work, before they go back."""
        text = str(refusal)
        for camera in self.cameras:
            camera.log.note(text)
        self._node.get_logger().error(text)
        self._on_refused(refusal)


def default_threads(cores: int) -> int:
    """Leave one core to the camera and the middleware, where that does not halve the speed."""
    return cores - 1 if cores > 2 else cores


def _load(options: NodeOptions, logger) -> SCLIPSegmentor:
    values = options.values
    device = resolve_device(values["device"])
    # Before the worker threads begin: each takes the number over when it first computes.
    torch.set_num_threads(values["threads"] or default_threads(len(os.sched_getaffinity(0))))
    logger.info(f"loading '{values['model']}' on {device}, CPU threads: "
                f"{torch.get_num_threads()} ...")
    return SCLIPSegmentor(values["model"], values["pretrained"], device, options.settings,
                          values["cache_dir"] or None)
