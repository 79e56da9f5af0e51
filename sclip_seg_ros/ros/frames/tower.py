"""The image tower's own thread: scores of the newest frames, however long they take."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch

from sclip_seg_ros.ros.frames.frame import Job
from sclip_seg_ros.ros.log import drop_tracebacks
from sclip_seg_ros.ros.threads.worker import Worker
from sclip_seg_ros.segmentation import Vocabulary
from sclip_seg_ros.segmentation.pipeline import Features, KeptFeatures, Picture, Pipeline
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.temporal import Keyframe

NICENESS = 10             # of the thread: a frame that only needs to be decided goes first
KEPT_BYTES = 256_000_000  # of features, at most, so that new words can be scored on them

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Run:
    """Frames for the tower.

    Attributes:
        jobs: one of each camera.
        keyframes: the same frames in their cameras' memories.
        pipeline: to look and score with.
        vocabulary: the words, on the pipeline's device.
        key: of the scores.
        label_sizes: of each frame's labels, where they are decided on the same pictures.
    """

    jobs: Sequence[Job]
    keyframes: Sequence[Keyframe]
    pipeline: Pipeline
    vocabulary: Vocabulary
    key: tuple[Hashable, ...]
    label_sizes: Sequence[tuple[int, int] | None] = ()

    def joined(self, earlier: Run) -> Run:
        """Return this run with an earlier one's frames of other cameras.

        Those of a run with another pipeline or key are left out: their scores would be of no use.
        """
        if earlier.pipeline is not self.pipeline or earlier.key != self.key:
            return self
        cameras = {job.camera.name for job in self.jobs}
        others = [(job, keyframe)
                  for job, keyframe in zip(earlier.jobs, earlier.keyframes, strict=True)
                  if job.camera.name not in cameras]
        return replace(self, jobs=[*self.jobs, *(job for job, _ in others)],
                       keyframes=[*self.keyframes, *(keyframe for _, keyframe in others)])


@dataclass(eq=False)
class Outcome:
    """What came of a run.

    Attributes:
        run: it was.
        scores: of each frame; none where it failed.
        refined: whether they went through the refinements of scores.
        features: that the scores are of, for other words; None where they are too large.
        pictures: on the device.
        seconds: it took.
        stage_ms: of its stages.
        error: what was raised instead.
    """

    run: Run
    scores: list[ScoreMap] = field(default_factory=list)
    refined: bool = False
    features: Features | None = None
    pictures: list[Picture] = field(default_factory=list)
    seconds: float = 0.0
    stage_ms: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None

    def rescored(self, vocabulary: Vocabulary) -> list[ScoreMap]:
        """Return scores of the same features for other words; ResCLIP's feedback stays as it was.

        Raises:
            ValueError: scores that are not numbers.
        """
        pipeline = self.run.pipeline
        watch = pipeline.stopwatch()
        scores = pipeline.score(self.features, vocabulary, watch)
        return pipeline.refine(self.pictures, scores, vocabulary, watch) if self.refined else scores


def look(run: Run, refine: bool) -> Outcome:
    """Run the tower, and score what it saw.

    Args:
        run: to make.
        refine: whether to refine the scores as well, and to keep the features.

    Raises:
        Exception: whatever goes wrong.
    """
    begin, pipeline = time.monotonic(), run.pipeline
    watch = pipeline.stopwatch()
    pictures = pipeline.read([job.image for job in run.jobs], watch, run.label_sizes)
    seen = KeptFeatures(pipeline.glance(pictures, run.vocabulary, watch),
                        KEPT_BYTES if refine else 0)
    scores = pipeline.score(seen.passing, run.vocabulary, watch)
    if refine:
        scores = pipeline.refine(pictures, scores, run.vocabulary, watch)
    stage_ms = watch.milliseconds()  # on CUDA, waits
    return Outcome(run, scores, refine, seen.features if refine else None, pictures,
                   time.monotonic() - begin, stage_ms)


class Tower:
    """Make the newest run, one at a time, in a thread of its own.

    A run that nobody began yet is replaced by a newer one, or joined with it.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        """Prepare; :meth:`start` starts the thread.

        Args:
            device: of the model.
            threads: that torch computes with on the CPU.
        """
        self._device = device
        self._threads = threads
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._asked: Run | None = None   # asked for and not begun
        self._making = False
        self._ready = threading.local()  # the stream of a thread that is ready to compute
        self._worker = Worker[None]("tower", self._make, _log)

    def start(self) -> None:
        """Start the thread, anew after a :meth:`stop`."""
        self._worker.start()

    def submit(self, run: Run, alone: bool = False) -> None:
        """Ask for a run; it replaces one that was asked for and not begun.

        Args:
            run: to make.
            alone: whether it has the tower to itself; else the newest frames of cameras that it
                lacks stay in it.
        """
        with self._lock:
            self._asked = run if alone or self._asked is None else run.joined(self._asked)
        self._worker.mailbox.put(None)

    def withdraw(self) -> None:
        """Ask for nothing; a run that has begun goes on."""
        with self._lock:
            self._asked = None

    def collect(self) -> list[Outcome]:
        """Return what runs came to since the last call, in their order."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            return outcomes

    @property
    def busy(self) -> bool:
        """Whether a run is asked for or being made."""
        with self._lock:
            return self._making or self._asked is not None

    @property
    def busy_seconds(self) -> float:
        """How long the present run has been going on, 0 where there is none."""
        return self._worker.busy_seconds

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._worker.alive

    def rest(self, seconds: float) -> bool:
        """Withdraw what was asked for, and wait until nothing is made; return whether it came so.

        Args:
            seconds: to wait at most.
        """
        self.withdraw()
        deadline = time.monotonic() + seconds
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.002)
        return not self.busy

    def stop(self, seconds: float) -> bool:
        """Begin no more runs; return whether the thread ended within so many seconds."""
        self.withdraw()
        return self._worker.stop(seconds)

    def resume(self) -> None:
        """Go on after a :meth:`stop` that could not wait for the present run."""
        self.withdraw()  # what the frame thread asked of nobody meanwhile
        self._worker.resume()

    def _make(self, calls: list[None]) -> None:
        with self._lock:
            run, self._asked = self._asked, None
            self._making = run is not None
        if run is None:
            return  # withdrawn
        try:
            with self._on_stream():
                outcome = look(run, refine=True)
            if self._device.type == "cuda":
                self._ready.stream.synchronize()
                _hand_over(outcome, torch.cuda.default_stream(self._device))
        except Exception as error:
            drop_tracebacks(error)  # they hold what filled the device's memory
            outcome = Outcome(run, error=error)
        with self._lock:
            self._outcomes.append(outcome)
            self._making = False

    def _on_stream(self) -> AbstractContextManager[object]:
        """Make the thread ready, once; return the context that it computes in."""
        cuda = self._device.type == "cuda"
        if not hasattr(self._ready, "stream"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            torch.set_num_threads(self._threads)  # the frame thread may have asked for fewer
            self._ready.stream = torch.cuda.Stream(self._device) if cuda else None
        if not cuda:
            return nullcontext()
        self._ready.stream.wait_stream(torch.cuda.default_stream(self._device))
        return torch.cuda.stream(self._ready.stream)


def _log(error: Exception) -> None:
    _LOG.error("a run of the image tower was lost: %r", error)


def _hand_over(outcome: Outcome, stream: torch.cuda.Stream) -> None:
    """Keep what a run made from being reused while another stream reads it; its work is done."""
    for score in outcome.scores:
        score.values.record_stream(stream)
    for _, pieces in outcome.features.parts if outcome.features else ():
        for piece in pieces:
            piece.record_stream(stream)
    for picture in outcome.pictures:
        picture.original.record_stream(stream)
        picture.working.record_stream(stream)
