"""One frame from message to messages, with every way it can go wrong accounted for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from rclpy.clock import Clock
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sclip_seg_ros.msg import SegmentationStatus, StageTime
from sclip_seg_ros.ros.images import ImageError, to_rgb
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.publishers import Outputs
from sclip_seg_ros.ros.stages import apply_by_stage, parameter_value
from sclip_seg_ros.ros.status import FrameLog
from sclip_seg_ros.ros.vocabulary_server import VocabularyServer
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.stopwatch import Stopwatch

MAX_AGE_SECONDS = 600.0   # an older stamp means another clock, e.g. a bag without --clock
THROTTLE_SECONDS = 5.0    # of log lines that every frame could cause


@dataclass(frozen=True)
class Frame:
    """An image message and when it arrived, in seconds of the monotonic clock."""

    message: Image | CompressedImage
    arrived: float


class FramePipeline:
    """Work on one frame at a time with one vocabulary and one set of options.

    Every method but :attr:`options` is to be called by the worker's thread alone.
    """

    def __init__(self, segmentor: SCLIPSegmentor, vocabularies: VocabularyServer, outputs: Outputs,
                 log: FrameLog, options: NodeOptions, clock: Clock, logger,
                 dropped: Callable[[], int],
                 on_refused: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
        """Join the parts.

        Args:
            segmentor: already set to ``options.settings``.
            vocabularies: where the vocabulary of the next frame comes from.
            outputs: where results go.
            log: of counts and times.
            options: to begin with.
            clock: the node's, for the age of a frame.
            logger: the node's.
            dropped: returns the number of frames that were overwritten.
            on_refused: called when changed parameters turn out not to work, with their refused
                values and with those that stay in force.
        """
        self.options = options
        self._segmentor = segmentor
        self._vocabularies = vocabularies
        self._outputs = outputs
        self._log = log
        self._clock = clock
        self._logger = logger
        self._dropped = dropped
        self._on_refused = on_refused
        self._tried = options.settings
        self._warn_of_fallbacks()

    def process(self, frame: Frame) -> None:
        """Label a frame and publish what somebody wants to have of it."""
        options, vocabulary = self._take_over()
        if options.lazy and not self._outputs.wanted:
            self._log.skipped()
            self._outputs.announce(vocabulary, options.settings.probability_threshold)
            return
        waited = {"wait": (time.monotonic() - frame.arrived) * 1e3}  # for the frame before
        watch = Stopwatch()
        try:
            milliseconds = self._label(frame, options, vocabulary, watch)
        except ImageError as error:
            self._log.rejected(str(error))
            self._logger.warning(f"frame rejected: {error}", throttle_duration_sec=THROTTLE_SECONDS)
            milliseconds = watch.milliseconds()
        except Exception as error:  # the next frame may fare better
            self.fail(error)
            milliseconds = watch.milliseconds()
        self._report(frame, options, vocabulary, {**waited, **milliseconds})

    def idle(self) -> None:
        """Take over changes while no frame comes, so that they are answered for all the same."""
        options, vocabulary = self._take_over()
        self._outputs.announce(vocabulary, options.settings.probability_threshold)

    def fail(self, error: Exception) -> None:
        """Account for an exception that no frame should have caused."""
        if isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
        text = describe(error)
        self._log.failed(text)
        self._logger.error(f"frame failed: {text}", throttle_duration_sec=THROTTLE_SECONDS)

    def _take_over(self) -> tuple[NodeOptions, Vocabulary]:
        """Adopt pending settings and vocabulary; return what holds for this frame."""
        wanted = self.options
        if wanted.settings != self._tried:
            apply_by_stage(self._segmentor, wanted.settings, self._tried, self._refuse)
            self._tried = wanted.settings
            self._warn_of_fallbacks()
        return (replace(wanted, settings=self._segmentor.settings),
                self._vocabularies.adopt())

    def _refuse(self, refused: dict[str, Any], error: Exception) -> None:
        """Tell of parameters that cannot work, and what they go back to."""
        valid = {name: parameter_value(self._segmentor.settings, name) for name in refused}
        back = ", ".join(f"{name}={value}" for name, value in valid.items())
        text = f"settings refused, back to {back}: {describe(error)}"
        self._log.note(text)
        self._logger.error(text)
        self._on_refused(refused, valid)

    def _label(self, frame: Frame, options: NodeOptions, vocabulary: Vocabulary,
               watch: Stopwatch) -> dict[str, float]:
        with watch.stage("convert"):
            image = to_rgb(frame.message)
            patch = self._segmentor.backbone.patch_size
            if min(image.shape[:2]) < patch:
                raise ImageError(f"image of {image.shape[1]}x{image.shape[0]} pixels is smaller "
                                 f"than one patch of {patch}; publish a larger image")
        before = watch.milliseconds()
        result = self._segmentor.predict_dense(image, vocabulary)
        self._log.labelled()
        self._outputs.publish(image, result, frame.message.header, options, watch)
        return {**before, **result.stage_ms, **watch.milliseconds()}

    def _report(self, frame: Frame, options: NodeOptions, vocabulary: Vocabulary,
                milliseconds: dict[str, float]) -> None:
        total = (time.monotonic() - frame.arrived) * 1e3
        missed = 0 < options.latency_budget_ms < total
        labelled = "publish" in milliseconds
        if labelled:
            self._log.timed({**milliseconds, "total": total}, missed)
        counts = self._log.counts
        self._outputs.publish_status(SegmentationStatus(
            header=frame.message.header, vocabulary_version=vocabulary.version,
            model=self._segmentor.name, device=str(self._segmentor.device),
            precision=self._segmentor.precision,
            stages=[StageTime(stage=name, ms=value) for name, value in milliseconds.items()],
            total_ms=total, age_ms=self._age_ms(frame.message.header),
            latency_budget_ms=options.latency_budget_ms, budget_missed=missed,
            quality_level=0, quality_level_name="full",
            frames_received=counts.received, frames_labelled=counts.labelled,
            frames_dropped=self._dropped(), frames_rejected=counts.rejected,
            frames_failed=counts.failed, frames_skipped=counts.skipped,
            fallbacks=list(self._segmentor.fallbacks),
            last_error=counts.last_error))

    def _age_ms(self, header: Header) -> float:
        """Return how old the image is by the node's clock; NaN when the clocks do not fit."""
        try:
            stamp = Time.from_msg(header.stamp, clock_type=self._clock.clock_type)
        except ValueError:  # rclpy has no times before 1970
            return math.nan
        seconds = (self._clock.now() - stamp).nanoseconds * 1e-9
        return seconds * 1e3 if 0 <= seconds <= MAX_AGE_SECONDS else math.nan

    def _warn_of_fallbacks(self) -> None:
        for fallback in self._segmentor.fallbacks:
            self._logger.warning(f"a simpler stage stands in: {fallback}")


def describe(error: Exception) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
