"""What a configured node holds: the model, its words, its cameras and the threads that work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from rclpy.node import Node

from sclip_seg_ros.common.cores import set_threads
from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.frames.frame import Frame
from sclip_seg_ros.ros.frames.pipeline import FramePipeline
from sclip_seg_ros.ros.frames.tower import Tower
from sclip_seg_ros.ros.frames.tracker import Tracker
from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer, Wanted
from sclip_seg_ros.ros.parameters.groups import WORDS
from sclip_seg_ros.ros.parameters.options import NodeOptions, warn_of_lone_class
from sclip_seg_ros.ros.parameters.pending_changes import Ledger, Refusal
from sclip_seg_ros.ros.threads.worker import Worker
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.text.encoder import CACHE_SIZE
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes, validate_negatives

_ENCODING_SECONDS = 10.0  # for the word in work, where a start fails


class Engine:
    """Load a model for a node, and label its cameras' frames while it is active.

    Callbacks only store: the newest frame of each camera, and parameter changes. One thread labels
    frames, one runs the image tower where frames do not wait for it, one encodes new words; so a
    single-threaded executor always has time.
    """

    def __init__(self, node: Node, options: NodeOptions,
                 on_refused: Callable[[Refusal], None], first_version: int,
                 on_words: Callable[[], None]) -> None:
        """Load the model, encode the first words and create the outputs.

        The weights wait in main memory; :meth:`activate` brings them to their device.

        Args:
            node: to publish and subscribe with.
            options: of the node.
            on_refused: called, in one of the threads, with parameters that turned out not to
                work.
            first_version: of the first vocabulary.
            on_words: called, in one of the threads, when new words are ready or in force.

        Raises:
            WeightsError: weights out of reach, or not fitting.
            ValueError, OSError: options that cannot be used.
        """
        self._node = node
        self._on_refused = on_refused
        self._weights = threading.Lock()  # held while they move, and while a word is encoded
        self._worker: Worker[Frame] | None = None
        self.segmentor = _load(options, node.get_logger())
        warn_of_lone_class(node, options)
        self.ladder = options.ladder_for(self.segmentor.device)
        options.refuse_misfit(self.ladder)
        self.quality = QualityControl(self.segmentor, self.ladder)
        self.quality.configure(options.settings, options.latency_budget_ms)
        threads = torch.get_num_threads()
        self._tower = Tower(self.segmentor.device, threads)
        self._tracker = Tracker(self.quality, self._tower, threads)
        self._ledger = Ledger(options, self._refused)
        self.vocabularies = VocabularyServer(self._encode, self._ledger, first_version,
                                             on_words)
        self.cameras: list[Camera] = []
        try:
            for source in options.cameras:
                self.cameras.append(Camera(node, source))
                self.cameras[-1].label_size.want(options.label_size)
            self._pipeline = FramePipeline(
                self.segmentor, self.quality, self.vocabularies, self.cameras, self._ledger,
                node.get_clock(), node.get_logger(), self._tracker)
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
        for camera in self.cameras:
            camera.label_size.want(options.label_size)
        if WORDS in self._ledger.ask(options):
            self.vocabularies.wake()
            self._node.get_logger().info(
                f"encoding a vocabulary of {in_number(len(options.classes), 'class')}")
            warn_of_lone_class(self._node, options)

    @property
    def worker_alive(self) -> bool:
        """Tell whether the thread that labels frames and that of the image tower run."""
        return self._worker is not None and self._worker.alive and self._tower.alive

    @property
    def busy_seconds(self) -> float:
        """How long frames, or a run of the tower, have been in work; 0 when there are none."""
        frames = self._worker.busy_seconds if self._worker is not None else 0.0
        return max(frames, self._tower.busy_seconds)

    @property
    def tower_trouble(self) -> str:
        """Why the tower's last run failed; empty where it did not."""
        return self._tracker.trouble

    @property
    def tower_run_seconds(self) -> float:
        """How long the tower's last run took; 0 before the first."""
        return self._tracker.run_seconds

    def activate(self) -> None:
        """Bring the model to its device, warm up, and subscribe to the cameras."""
        with self._weights:
            self.segmentor.restore()
            self.vocabularies.move(self.segmentor.device)
        self.vocabularies.resume()  # where a close has failed
        self.quality.forget()
        self._pipeline.warm_up()
        pipeline = self._pipeline
        self._tower.start()
        self._worker = Worker("frames", pipeline.process, pipeline.fail, pipeline.idle)
        self._worker.start()
        for camera in self.cameras:
            camera.log.begin()
        self._subscribe()

    def resume(self) -> None:
        """Go on after a :meth:`deactivate` that failed, once what is in work is done."""
        if self._worker is None:
            raise RuntimeError("there is no thread to go on; activate the engine first")
        self._worker.resume()
        self._tower.resume()
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
        if not self._stop(seconds):
            return False
        self._worker = None
        self._tracker.forget()
        self._free_device()
        return True

    def close(self, seconds: float) -> bool:
        """End the threads; once they have ended, take the outputs down.

        Returns:
            Whether the threads ended within so many seconds.
        """
        deadline = time.monotonic() + seconds
        ended = self._stop(seconds)
        ended = self.vocabularies.stop(max(0.0, deadline - time.monotonic())) and ended
        if ended:
            for camera in self.cameras:
                camera.close()
        return ended

    def _stop(self, seconds: float) -> bool:
        """Begin no more frames and runs; return whether those in work ended in so many seconds."""
        deadline = time.monotonic() + seconds
        ended = self._worker is None or self._worker.stop(seconds)
        return self._tower.stop(max(0.0, deadline - time.monotonic())) and ended

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
        if self._worker is None:
            camera.log.dropped()
            return  # the subscription was due already when it was taken down
        replaced = self._worker.mailbox.put(Frame(camera, message, time.monotonic()), camera.name)
        if replaced:
            camera.log.dropped()
        if camera.points is not None:
            camera.points.expect(message.header, replaced)

    def _encode(self, options: NodeOptions, wanted: Wanted) -> Vocabulary:
        """Encode word by word, so that the weights can move, and it can be given up, between."""
        classes = validate_classes(options.classes, options.background)
        words = [word for entry in classes for word in entry.synonyms]
        words += validate_negatives(options.negatives, classes)
        if len(words) > CACHE_SIZE:
            raise ValueError(f"the classes have {len(words)} words, synonyms counted; give at most "
                             f"{CACHE_SIZE}")
        for word in words:
            if not wanted():
                raise CancelledError
            with self._weights:
                self.segmentor.text.encode([word], options.templates)
        with self._weights:  # from the cache
            vocabulary = self.segmentor.vocabulary(
                options.classes, options.background, templates=options.templates,
                palette=dict(options.palette), negatives=options.negatives)
        return replace(vocabulary, ids=options.class_ids)

    def _refused(self, refusal: Refusal) -> None:
        """Tell of parameters that cannot work, before they go back."""
        text = str(refusal)
        for camera in self.cameras:
            camera.log.note(text)
        self._node.get_logger().error(text)
        self._on_refused(refusal)


def _load(options: NodeOptions, logger) -> SCLIPSegmentor:
    values = options.values
    device = resolve_device(values["device"])
    # Before the worker threads begin: each takes the number over when it first computes.
    threads = set_threads(values["threads"])
    logger.info(f"loading '{values['model']}' on {device}, CPU threads: {threads} ...")
    return SCLIPSegmentor(values["model"], values["pretrained"], device, options.settings,
                          values["cache_dir"] or None)
