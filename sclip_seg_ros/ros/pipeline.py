"""The newest frames of all cameras from messages to messages, every way to fail accounted for."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from rclpy.clock import Clock
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.latency.deadline import Deadline
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.msg import SegmentationStatus
from sclip_seg_ros.ros.camera import Camera
from sclip_seg_ros.ros.images import ImageError, to_rgb
from sclip_seg_ros.ros.ledger import Ledger
from sclip_seg_ros.ros.messages import FrameQuality, stage_times
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.settings_change import adopt_settings
from sclip_seg_ros.ros.status import describe, forget_frames
from sclip_seg_ros.ros.upsampler_gate import UpsamplerGate
from sclip_seg_ros.ros.vocabulary_server import VocabularyServer
from sclip_seg_ros.ros.weights_loader import WeightsLoader
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.stopwatch import Stopwatch

MAX_AGE_SECONDS = 600.0   # an older stamp means another clock, e.g. a bag without --clock
THROTTLE_SECONDS = 5.0    # of log lines that every frame could cause
STALE_SECONDS = 1.0       # of taking over changes, after which a frame at hand is an old one
HOPELESS_SECONDS = 60.0   # between two complaints about a budget that cannot be kept


@dataclass(frozen=True)
class Frame:
    """An image message, its camera, and when it arrived, in seconds of the monotonic clock."""

    camera: Camera
    message: Image | CompressedImage
    arrived: float


@dataclass
class _Job:
    """A frame in work: its pixels, and milliseconds by stage."""

    frame: Frame
    image: np.ndarray
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def header(self) -> Header:
        return self.frame.message.header

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.frame.arrived


class FramePipeline:
    """Work on one batch of frames at a time, with one vocabulary and one set of options.

    Every method is to be called by the worker's thread alone.
    """

    def __init__(self, segmentor: SCLIPSegmentor, quality: QualityControl,
                 vocabularies: VocabularyServer, cameras: Sequence[Camera], ledger: Ledger,
                 clock: Clock, logger) -> None:
        """Join the parts.

        Args:
            segmentor: set to what the ledger has in force.
            quality: of the same segmentor.
            vocabularies: where the vocabulary of the next frame comes from.
            cameras: frames may come from.
            ledger: of the parameters.
            clock: the node's, for the age of a frame.
            logger: the node's.
        """
        self._segmentor = segmentor
        self._quality = quality
        self._vocabularies = vocabularies
        self._cameras = cameras
        self._ledger = ledger
        self._clock = clock
        self._logger = logger
        self._gate = UpsamplerGate(segmentor, logger)
        self._loader = WeightsLoader(segmentor)
        self._fallbacks: tuple[str, ...] = ()
        self._warn_of_fallbacks()

    def warm_up(self) -> None:
        """Run every quality level before the first frame comes; without a budget, the only one."""
        self._take_over()
        self._measure_levels()

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
            if options.lazy and not frame.camera.outputs.wanted:
                frame.camera.log.skipped()
                self._announce(frame.camera, options, vocabulary)
                continue
            job = self._read(frame, options, vocabulary)
            if job is not None:
                jobs.append(job)
        if jobs:
            self._label(jobs, options, vocabulary)

    def idle(self) -> None:
        """Take over changes while no frame comes, so that they are answered for all the same."""
        options, vocabulary = self._take_over()
        for camera in self._cameras:
            self._announce(camera, options, vocabulary)

    def fail(self, error: Exception, cameras: Sequence[Camera] = ()) -> None:
        """Account for an exception that nobody expected.

        Args:
            error: the exception.
            cameras: whose frames it cost; without any, it is trouble beside the frames.
        """
        if isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
        text = describe(error)
        if not cameras:
            self._tell_of_trouble(text)
            return
        for camera in cameras:
            camera.log.failed(text)
        self._logger.error(f"frame failed: {text}", throttle_duration_sec=THROTTLE_SECONDS)

    def _tell_of_trouble(self, text: str) -> None:
        for camera in self._cameras:
            camera.log.note(text)
        self._logger.error(text, throttle_duration_sec=THROTTLE_SECONDS)

    def _take_over(self) -> tuple[NodeOptions, Vocabulary]:
        """Adopt pending settings and vocabulary; return what holds for these frames."""
        if adopt_settings(self._quality, self._ledger, self._loader):
            self._warn_of_fallbacks()
        if self._quality.needs_warm_up:
            try:
                self._measure_levels()
            except Exception as error:  # frames may fare better
                forget_frames(error)
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
        count = self._quality.warm_up(warm_up_image(), self._vocabularies.current)
        if count:
            self._logger.info(f"{count} of {len(self._quality.state.names)} quality levels "
                              f"measured in {time.monotonic() - begin:.1f} s")
        for name, reason in self._quality.unusable.items():
            self._logger.error(f"quality level '{name}' cannot run and is left out: {reason}")

    def _read(self, frame: Frame, options: NodeOptions, vocabulary: Vocabulary) -> _Job | None:
        """Return a frame with its pixels; of one that cannot be read, report that."""
        waited = {"wait": (time.monotonic() - frame.arrived) * 1e3}  # for the frames before
        watch = Stopwatch()
        try:
            with watch.stage("convert"):
                image = to_rgb(frame.message)
                self._check_size(*image.shape[:2], options)
        except Exception as error:
            job = _Job(frame, np.empty((0, 0, 3), np.uint8), waited)
            if isinstance(error, ImageError):
                frame.camera.log.rejected(str(error))
                self._logger.warning(f"frame rejected: {error}",
                                     throttle_duration_sec=THROTTLE_SECONDS)
            else:
                self.fail(error, [frame.camera])
            self._report(job, options, vocabulary)
            return None
        return _Job(frame, image, {**waited, **watch.milliseconds()})

    def _check_size(self, height: int, width: int, options: NodeOptions) -> None:
        patch = self._segmentor.backbone.patch_size
        size = self._segmentor.working_size(height, width, options.settings)
        if min(size) < patch:
            raise ImageError(f"image of {width}x{height} pixels is smaller than one patch of "
                             f"{patch} when worked on as {size[1]}x{size[0]}; publish a larger or "
                             "less elongated image")

    def _label(self, jobs: Sequence[_Job], options: NodeOptions, vocabulary: Vocabulary) -> None:
        """Label and publish a batch; where that fails, its frames one by one."""
        former, sizes = self._quality.state.level, [job.image.shape[:2] for job in jobs]
        self._quality.begin(sizes, vocabulary)
        self._tell_of_level(former)
        deadline = self._quality.deadline(min(job.frame.arrived for job in jobs))
        results = self._predict(jobs, vocabulary, deadline)
        if isinstance(results, Exception):
            if len(jobs) > 1:  # one image must not cost the other cameras theirs
                for job in jobs:
                    self._label([job], options, vocabulary)
                return
            self.fail(results, [jobs[0].frame.camera])
            self._report(jobs[0], options, vocabulary)
            return
        labelled = time.monotonic()
        for job, result in zip(jobs, results, strict=True):
            self._publish(job, result, options, vocabulary)
        tail_ms = (time.monotonic() - labelled) * 1e3 + results[0].stage_ms.get("decode", 0.0)
        self._quality.end(max(job.age_seconds for job in jobs) * 1e3, results, deadline, tail_ms)
        self._look_back(jobs[0].image, sizes, vocabulary)

    def _look_back(self, image: np.ndarray, sizes: Sequence[tuple[int, int]],
                   vocabulary: Vocabulary) -> None:
        """Do what the first frames of a kind give occasion to; their labels are out already."""
        begin = time.monotonic()
        try:
            self._gate.look(image, vocabulary)
            if self._quality.settle(sizes, vocabulary):
                found = ", ".join(f"{width}x{height}" for height, width in sizes)
                self._logger.info(f"warmed up for images of {found} in "
                                  f"{time.monotonic() - begin:.1f} s")
        except Exception as error:
            forget_frames(error)
            self._logger.warning("LoftUp could not be checked, or the levels not warmed up: "
                                 f"{describe(error)}")

    def _predict(self, jobs: Sequence[_Job], vocabulary: Vocabulary,
                 deadline: Deadline | None) -> list[SegmentationResult] | Exception:
        """Return results, or what prevented them without the device's memory it had taken."""
        try:
            return self._segmentor.predict_batch([job.image for job in jobs], vocabulary, deadline)
        except Exception as error:
            forget_frames(error)
            return error

    def _publish(self, job: _Job, result: SegmentationResult, options: NodeOptions,
                 vocabulary: Vocabulary) -> None:
        camera, watch = job.frame.camera, Stopwatch()
        job.milliseconds.update(result.stage_ms)
        try:
            camera.log.labelled()
            camera.outputs.publish(result, job.header, options,
                                   self._frame_quality(job, options), watch)
            job.milliseconds.update(watch.milliseconds())
        except Exception as error:  # the next frame may fare better
            self.fail(error, [camera])
        self._report(job, options, vocabulary)

    def _report(self, job: _Job, options: NodeOptions, vocabulary: Vocabulary) -> None:
        """Count a frame's times, and publish its status."""
        log, total_ms, age_ms = job.frame.camera.log, job.age_seconds * 1e3, self._age_ms(job)
        missed = 0 < options.latency_budget_ms < total_ms
        if "publish" in job.milliseconds:
            known = {} if math.isnan(age_ms) else {"age": age_ms}
            log.timed({**job.milliseconds, "total": total_ms, **known}, missed)
        counts, quality = log.counts, self._frame_quality(job, options)
        job.frame.camera.outputs.publish_status(SegmentationStatus(
            header=job.header, vocabulary_version=vocabulary.version,
            model=self._segmentor.name, device=str(self._segmentor.device),
            precision=self._segmentor.precision, stages=stage_times(job.milliseconds),
            total_ms=total_ms, age_ms=age_ms,
            latency_budget_ms=quality.budget_ms, budget_missed=missed,
            quality_level=quality.level, quality_level_name=quality.level_name,
            budget_misses=quality.misses, level_changes=quality.changes,
            frames_received=counts.received, frames_labelled=counts.labelled,
            frames_dropped=counts.dropped, frames_rejected=counts.rejected,
            frames_failed=counts.failed, frames_skipped=counts.skipped,
            fallbacks=list(self._segmentor.fallbacks),
            last_error=counts.last_error))

    def _frame_quality(self, job: _Job, options: NodeOptions) -> FrameQuality:
        quality = self._quality.state
        return FrameQuality(quality.level, quality.name, options.latency_budget_ms,
                            job.frame.camera.log.counts.missed, quality.changes, job.milliseconds)

    def _tell_of_level(self, former: int) -> None:
        quality = self._quality.state
        if quality.level != former:
            self._logger.info(f"quality level {quality.level} '{quality.name}'",
                              throttle_duration_sec=THROTTLE_SECONDS)
        if quality.hopeless:
            self._logger.error(
                f"no quality level keeps the latency budget of {quality.budget_ms:g} ms; raise "
                "latency_budget_ms, shorten the classes, or add a cheaper level to the ladder",
                throttle_duration_sec=HOPELESS_SECONDS)

    def _age_ms(self, job: _Job) -> float:
        """Return how old the image is by the node's clock; NaN when the clocks do not fit."""
        try:
            stamp = Time.from_msg(job.header.stamp, clock_type=self._clock.clock_type)
        except ValueError:  # rclpy has no times before 1970
            return math.nan
        seconds = (self._clock.now() - stamp).nanoseconds * 1e-9
        return seconds * 1e3 if 0 <= seconds <= MAX_AGE_SECONDS else math.nan

    def _announce(self, camera: Camera, options: NodeOptions, vocabulary: Vocabulary) -> None:
        camera.outputs.announce(vocabulary, options.settings.probability_threshold)

    def _warn_of_fallbacks(self) -> None:
        """Warn once of each simpler stage, and again only where it has been away."""
        former, self._fallbacks = self._fallbacks, self._segmentor.fallbacks
        for fallback in self._fallbacks:
            if fallback not in former:
                self._logger.warning(f"a simpler stage stands in: {fallback}")


def warm_up_image(height: int = 480, width: int = 640) -> np.ndarray:
    """Return an (H, W, 3) uint8 image with areas, edges and some noise, as a camera's has."""
    generator = np.random.default_rng(0)
    areas = generator.integers(0, 256, (6, 8, 3))
    image = areas.repeat(-(-height // 6), axis=0).repeat(-(-width // 8), axis=1)[:height, :width]
    return np.clip(image + generator.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
