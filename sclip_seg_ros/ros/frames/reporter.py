"""What became of each frame: counts, status, log lines."""

from __future__ import annotations

import math
import time

from rclpy.clock import Clock
from rclpy.time import Time

from sclip_seg_ros.latency.quality import QualityControl, QualityState
from sclip_seg_ros.msg import SegmentationStatus
from sclip_seg_ros.ros.cameras.messages import FrameQuality, stage_times
from sclip_seg_ros.ros.frames.frame import Job
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary

MAX_AGE_SECONDS = 600.0   # an older stamp means another clock, e.g. a bag without --clock
THROTTLE_SECONDS = 5.0    # of log lines that every frame could cause
HOPELESS_SECONDS = 60.0   # between two complaints about a budget that cannot be kept


class Reporter:
    """Tell of frames in their cameras' counts and status, and of levels and fallbacks in the log.

    Every method is to be called by the worker's thread alone.
    """

    def __init__(self, segmentor: SCLIPSegmentor, quality: QualityControl, clock: Clock,
                 logger) -> None:
        """Begin with nothing told.

        Args:
            segmentor: that labels the frames.
            quality: of the same segmentor.
            clock: the node's, for the age of a frame.
            logger: the node's.
        """
        self._segmentor = segmentor
        self._quality = quality
        self._clock = clock
        self._logger = logger
        self._told_level = quality.state.name
        self._told_at = -math.inf  # seconds of the monotonic clock
        self._fallbacks: tuple[str, ...] = ()
        self.tell_of_fallbacks()

    def report(self, job: Job, options: NodeOptions, vocabulary: Vocabulary) -> None:
        """Count a frame's times, and publish its status.

        Args:
            job: that has been labelled, or failed.
            options, vocabulary: that were in force.
        """
        log, age_ms = job.camera.log, self._age_ms(job)
        total_ms = job.total_ms = job.age_seconds * 1e3
        missed = 0 < options.latency_budget_ms < total_ms
        if "publish" in job.milliseconds:
            known = {} if math.isnan(age_ms) else {"age": age_ms}
            if not math.isnan(job.evidence.age_ms):
                known["evidence age"] = job.evidence.age_ms
            log.timed({**job.milliseconds, "total": total_ms, **known}, missed)
        counts, quality = log.counts, self.quality_of(job, options)
        job.camera.outputs.publish_status(SegmentationStatus(
            header=job.header, vocabulary_version=vocabulary.version,
            model=self._segmentor.name,
            weights=str(self._segmentor.origin or "random"), device=str(self._segmentor.device),
            precision=self._segmentor.precision,
            attention=self._quality.pipeline.attention, evidence=job.evidence,
            stages=stage_times(job.milliseconds),
            total_ms=total_ms, age_ms=age_ms,
            latency_budget_ms=quality.budget_ms, budget_missed=missed,
            quality_level=quality.level, quality_level_name=quality.level_name,
            budget_misses=quality.misses, level_changes=quality.changes,
            frames_received=counts.received, frames_labelled=counts.labelled,
            frames_dropped=counts.dropped, frames_rejected=counts.rejected,
            frames_failed=counts.failed, frames_skipped=counts.skipped,
            fallbacks=list(self._quality.pipeline.fallbacks),
            last_error=counts.last_error))

    def quality_of(self, job: Job, options: NodeOptions) -> FrameQuality:
        """Return at which quality a frame is being computed."""
        quality = self._quality.state
        return FrameQuality(quality.level, quality.name, options.latency_budget_ms,
                            job.camera.log.counts.missed, quality.changes, job.milliseconds,
                            job.evidence)

    def tell_of_level(self) -> None:
        """Log another quality level than the one told last, and a budget that none can keep.

        A level that comes soon after another one is told later, if it is still in use then.
        """
        quality, now = self._quality.state, time.monotonic()
        if quality.name != self._told_level and now - self._told_at >= THROTTLE_SECONDS:
            self._told_level, self._told_at = quality.name, now
            self._logger.info(f"quality level {quality.level} '{quality.name}'")
        if quality.hopeless:
            self._logger.error(
                f"{hopeless(quality)}; raise it, shorten the classes, or add a cheaper level to "
                "the ladder", throttle_duration_sec=HOPELESS_SECONDS)

    def tell_of_fallbacks(self) -> None:
        """Warn once of each simpler stage, and again only where it has been away."""
        former, self._fallbacks = self._fallbacks, self._quality.pipeline.fallbacks
        for fallback in self._fallbacks:
            if fallback not in former:
                self._logger.warning(f"a simpler stage stands in: {fallback}")

    def _age_ms(self, job: Job) -> float:
        """Return how old the image is by the node's clock; NaN when the clocks do not fit."""
        try:
            stamp = Time.from_msg(job.header.stamp, clock_type=self._clock.clock_type)
        except ValueError:  # rclpy has no times before 1970
            return math.nan
        seconds = (self._clock.now() - stamp).nanoseconds * 1e-9
        return seconds * 1e3 if 0 <= seconds <= MAX_AGE_SECONDS else math.nan


def hopeless(quality: QualityState) -> str:
    """Return what no quality level achieves, in words."""
    if quality.run_ms > quality.budget_ms:
        return (f"no quality level runs within temporal.refresh of {quality.run_ms / 1e3:g} s, so "
                "that labels rest on older evidence")
    return f"no quality level keeps the latency budget of {quality.budget_ms:g} ms"
