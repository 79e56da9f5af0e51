"""The newest frames of all cameras from messages to messages, every way to fail accounted for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from rclpy.clock import Clock

from sclip_seg_ros.common.patchwork import patchwork
from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.cameras.messages import evidence_message
from sclip_seg_ros.ros.frames.frame import Frame, Job
from sclip_seg_ros.ros.frames.reporter import THROTTLE_SECONDS, Reporter
from sclip_seg_ros.ros.frames.settings_change import adopt_settings
from sclip_seg_ros.ros.frames.tracker import Tracker
from sclip_seg_ros.ros.frames.upsampler_check import UpsamplerCheck
from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer
from sclip_seg_ros.ros.frames.weights_loader import WeightsLoader
from sclip_seg_ros.ros.images import ImageError, to_rgb
from sclip_seg_ros.ros.log import describe, drop_tracebacks
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.backbones.cuda_graphs import give_back_device_memory

STALE_SECONDS = 1.0        # of taking over changes, after which a frame at hand is an old one
WARM_UP_SIZE = (480, 640)  # pixels, until the cameras' are known


class FramePipeline:
    """Work on one batch of frames at a time, with one vocabulary and one set of options.

    Every method is to be called by the worker's thread alone.
    """

    def __init__(self, segmentor: SCLIPSegmentor, quality: QualityControl,
                 vocabularies: VocabularyServer, cameras: Sequence[Camera], ledger: Ledger,
                 clock: Clock, logger, tracker: Tracker) -> None:
        """Join the parts.

        Args:
            segmentor: set to what the ledger has in force.
            quality: of the same segmentor.
            vocabularies: where the vocabulary of the next frame comes from.
            cameras: frames may come from.
            ledger: of the parameters.
            clock: the node's, for the age of a frame.
            logger: the node's.
            tracker: answers frames with the help of those before.
        """
        self._segmentor = segmentor
        self._quality = quality
        self._tracker = tracker
        self._vocabularies = vocabularies
        self._cameras = cameras
        self._ledger = ledger
        self._logger = logger
        self._reporter = Reporter(segmentor, quality, clock, logger)
        self._upsampler_check = UpsamplerCheck(segmentor, quality, logger)
        self._loader = WeightsLoader(segmentor.upsamplers, segmentor.proxies)

    def warm_up(self) -> None:
        """Run every quality level before the first frame comes; without a budget, the only one."""
        self._take_over()
        self._measure_levels()
        self._tracker.expect(self._quality.expected_ms() * 1e-3)

    def process(self, frames: Sequence[Frame]) -> None:
        """Label frames of different cameras, and publish what somebody wants to have of them."""
        answered = [frame.camera.log.counts.answered for frame in frames]
        try:
            self._process(frames)
        except Exception as error:
            self.fail(error, [frame.camera for frame, before in zip(frames, answered, strict=True)
                              if frame.camera.log.counts.answered == before])

    def _process(self, frames: Sequence[Frame]) -> None:
        begin = time.monotonic()
        options, vocabulary = self._take_over()
        if time.monotonic() - begin > STALE_SECONDS:  # newer frames are there by now
            for frame in frames:
                frame.camera.log.dropped()
            return
        jobs = []
        for frame in frames:
            if not options.enabled or options.lazy and not frame.camera.outputs.wanted:
                frame.camera.log.skipped()
                self._announce(frame.camera, options, vocabulary)
                continue
            job = self._read(frame, options, vocabulary)
            if job is not None:
                jobs.append(job)
        if jobs:
            self._answer(jobs, options, vocabulary)
            self._tracker.took(time.monotonic() - begin)

    def idle(self) -> None:
        """Take over changes while no frame comes, so that they are answered for all the same."""
        options, vocabulary = self._take_over()
        self._collect()
        for camera in self._cameras:
            self._announce(camera, options, vocabulary)

    def fail(self, error: Exception, cameras: Sequence[Camera] = ()) -> None:
        """Account for an exception that nobody expected.

        Args:
            error: the exception.
            cameras: whose frames it cost; without any, it is trouble beside the frames.
        """
        if isinstance(error, torch.cuda.OutOfMemoryError):
            give_back_device_memory()
        text = describe(error)
        if not cameras:
            self._tell_of_trouble(text)
            return
        for camera in cameras:
            camera.log.failed(text)
        topics = ", ".join(camera.topic for camera in cameras)
        self._logger.error(f"{topics}: frame failed: {text}",
                           throttle_duration_sec=THROTTLE_SECONDS)

    def _tell_of_trouble(self, text: str) -> None:
        for camera in self._cameras:
            camera.log.note(text)
        self._logger.error(text, throttle_duration_sec=THROTTLE_SECONDS)

    def _take_over(self) -> tuple[NodeOptions, Vocabulary]:
        """Adopt pending settings and vocabulary; return what holds for these frames."""
        temporal = self._ledger.asked.temporal
        self._quality.run_every(temporal.refresh * 1e3 if temporal.enabled else 0.0)
        if adopt_settings(self._quality, self._ledger, self._loader):
            self._reporter.tell_of_fallbacks()
        if self._quality.needs_warm_up:
            try:
                self._tracker.rest()
                self._measure_levels()
            except Exception as error:  # frames may fare better
                drop_tracebacks(error)
                self._tell_of_trouble(f"no quality level could be measured: {describe(error)}")
        in_force = replace(self._ledger.asked, settings=self._quality.base,
                           latency_budget_ms=self._quality.state.budget_ms)
        return in_force, self._vocabularies.adopt()

    def _measure_levels(self) -> None:
        """Measure the levels that nothing is known of.

        Raises:
            Exception: none of them can run.
        """
        begin = time.monotonic()
        count = self._quality.warm_up(patchwork(*WARM_UP_SIZE), self._vocabularies.current)
        if count:
            self._logger.info(f"{count} of {len(self._quality.state.names)} quality levels "
                              f"measured in {time.monotonic() - begin:.1f} s")
        for name, reason in self._quality.unusable.items():
            self._logger.error(f"quality level '{name}' cannot run and is left out: {reason}")

    def _read(self, frame: Frame, options: NodeOptions, vocabulary: Vocabulary) -> Job | None:
        """Return a frame with its pixels; of one that cannot be read, report that."""
        waited = {"wait": (time.monotonic() - frame.arrived) * 1e3}  # for the frames before
        watch = Stopwatch()
        try:
            with watch.stage("convert"):
                image = to_rgb(frame.message)
                height, width = image.shape[:2]
                self._check_size(height, width, options)
        except Exception as error:
            job = Job(frame, np.empty((0, 0, 3), np.uint8), waited)
            if isinstance(error, ImageError):
                frame.camera.log.rejected(str(error))
                self._logger.warning(f"{frame.camera.topic}: frame rejected: {error}",
                                     throttle_duration_sec=THROTTLE_SECONDS)
            else:
                self.fail(error, [frame.camera])
            self._reporter.report(job, options, vocabulary)
            return None
        return Job(frame, image, {**waited, **watch.milliseconds()})

    def _check_size(self, height: int, width: int, options: NodeOptions) -> None:
        patch = self._segmentor.backbone.patch_size
        size = self._segmentor.working_size(height, width, options.settings)
        if min(size) < patch:
            raise ImageError(f"image of {width}x{height} pixels is smaller than one patch of "
                             f"{patch} when worked on as {size[1]}x{size[0]}; publish a larger or "
                             "less elongated image")

    def _answer(self, jobs: Sequence[Job], options: NodeOptions, vocabulary: Vocabulary) -> None:
        """Label and publish a batch; where that fails, its frames one by one."""
        sizes, over_time = [job.image.shape[:2] for job in jobs], options.temporal.enabled
        self._quality.begin(sizes, vocabulary)
        self._reporter.tell_of_level()
        try:
            answers = (self._tracker.answer if over_time else self._tracker.answer_alone)(
                jobs, options, vocabulary)
        except Exception as error:
            drop_tracebacks(error)  # they hold what filled the device's memory
            if len(jobs) > 1:  # one image must not cost the other cameras theirs
                for job in jobs:
                    self._answer([job], options, vocabulary)
                return
            self.fail(error, [jobs[0].camera])
            self._reporter.report(jobs[0], options, vocabulary)
            return
        finally:
            self._tell_of_tower()
        labelled = time.monotonic()
        for job, answer in zip(jobs, answers, strict=True):
            job.evidence = evidence_message(answer.evidence, answer.keyframe,
                                            job.camera.log.keyframes_hz)
            self._publish(job, answer.result, options, vocabulary)
        results = [answer.result for answer in answers]
        tail_ms = (time.monotonic() - labelled) * 1e3 + results[0].stage_ms.get("decode", 0.0)
        if over_time:  # what the tower took is told by the tracker
            self._quality.left_room(tail_ms)
        else:
            self._quality.end(max(job.total_ms for job in jobs), results, tail_ms)
        self._look_back(jobs[0].image, sizes, vocabulary)

    def _collect(self) -> None:
        self._tracker.collect()
        self._tell_of_tower()

    def _tell_of_tower(self) -> None:
        """Tell of a run of the tower that failed; give back what it had taken of the memory."""
        error = self._tracker.failure()
        if error is None:
            return
        if isinstance(error, torch.cuda.OutOfMemoryError):
            give_back_device_memory()
        self._tell_of_trouble(f"a run of the image tower failed: {describe(error)}")

    def _look_back(self, image: np.ndarray, sizes: Sequence[tuple[int, int]],
                   vocabulary: Vocabulary) -> None:
        """Do what the first frames of a kind give occasion to; their labels are out already."""
        begin = time.monotonic()
        found = ", ".join(f"{width}x{height}" for height, width in sizes)
        try:
            self._upsampler_check.look(image, vocabulary, self._tracker.rest)
        except Exception as error:
            drop_tracebacks(error)
            self._logger.warning(f"the upsampler could not be checked: {describe(error)}; check it "
                                 "with sclip-check-upsampler")
        try:
            if self._quality.settle(sizes, vocabulary, self._tracker.rest):
                self._logger.info(f"warmed up for images of {found} in "
                                  f"{time.monotonic() - begin:.1f} s")
        except Exception as error:
            drop_tracebacks(error)
            self._logger.warning(f"not warmed up for images of {found}: {describe(error)}; the "
                                 "next ones may take longer")

    def _publish(self, job: Job, result: SegmentationResult, options: NodeOptions,
                 vocabulary: Vocabulary) -> None:
        camera, watch = job.camera, Stopwatch()
        job.milliseconds.update(result.stage_ms)
        try:
            camera.outputs.publish(result, job.header, options,
                                   self._reporter.quality_of(job, options), watch,
                                   job.image.shape[:2])
            camera.log.labelled()
            job.milliseconds.update(watch.milliseconds())
        except Exception as error:  # the next frame may fare better
            self.fail(error, [camera])
        self._reporter.report(job, options, vocabulary)

    def _announce(self, camera: Camera, options: NodeOptions, vocabulary: Vocabulary) -> None:
        camera.outputs.announce(vocabulary, options.settings.probability_threshold)
