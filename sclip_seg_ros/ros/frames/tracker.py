"""Every frame is answered: by a run of the image tower of its own, or by what is known already."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.cameras.frame_log import FrameLog
from sclip_seg_ros.ros.frames.frame import Job
from sclip_seg_ros.ros.frames.tower import Outcome, Run, Tower, look
from sclip_seg_ros.ros.log import describe
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.segmentation import SegmentationResult, SegmentorSettings, Vocabulary
from sclip_seg_ros.temporal import LONGEST_GAP, Evidence, Memory

SELDOM = 1.0            # seconds between frames from which on too much moves to carry scores far
UNKNOWN_INTERVAL = 0.5  # seconds between frames of a camera of which too few have come
MARGIN = 0.85           # share of its time that a run must fit in before frames wait for runs again
RUNS = 3                # newest runs that tell how long the next one takes a frame, by the longest
EXTRAS = 20             # newest frames that tell how long the rest takes, the median of them
REST_SECONDS = 10.0     # to wait for a run to end
LEAST_INTERVAL = 1e-3   # seconds between frames; what comes faster was held up on its way
GUESS = 0.02            # seconds that the rest takes, before the first frame


@dataclass(eq=False)
class _View:
    """What is known of a camera.

    Attributes:
        memory: its frames and scores.
        log: its counts.
        arrived: when its newest frame did, in seconds.
        refined: whether the newest scores went through the refinements.
    """

    memory: Memory
    log: FrameLog
    arrived: float
    refined: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """Labels of a frame, and what they rest on.

    Attributes:
        result: the labels.
        evidence: that they rest on; None where it is the frame alone.
        keyframe: whether the frame had a run of the tower of its own.
    """

    result: SegmentationResult
    evidence: Evidence | None
    keyframe: bool


class Tracker:
    """Answer frames with the help of those before.

    A frame waits for its own run of the tower where that is expected to end in time: within the
    latency budget or, without one, before the camera's next frame. Otherwise the tower works on
    the newest frames in a thread of its own, and each frame is labelled at once from the scores
    that are there, carried along with what moves.

    All methods belong to the frame thread.

    Attributes:
        trouble: why the last run of the tower's thread failed; empty where it did not.
        run_seconds: the last run took; 0 before the first.
    """

    def __init__(self, quality: QualityControl, tower: Tower, threads: int) -> None:
        """Begin with nothing known.

        Args:
            quality: tells the pipeline of the next run, and takes what runs cost.
            tower: makes the runs that frames do not wait for.
            threads: that torch computes with on the CPU.
        """
        self.trouble = ""
        self.run_seconds = 0.0
        self._quality = quality
        self._tower = tower
        self._threads = threads
        self._views: dict[str, _View] = {}
        self._waiting = True                             # frames wait for runs
        self._failure: Exception | None = None
        self._alone = False                              # all cameras together, a run failed
        self._run_last: dict[str, int] = {}              # number of each camera's last run
        self._kept: Outcome | None = None                # features for new words
        self._settings: SegmentorSettings | None = None  # that the times are of
        self._runs: deque[float] = deque(maxlen=RUNS)
        self._extras: deque[float] = deque(maxlen=EXTRAS)
        self._own_seconds = 0.0                          # of the last frames' own run
        self._tower_ms: dict[str, float] = {}            # of stages, not yet told

    def expect(self, seconds: float) -> None:
        """Take what a run took at warm-up, until there are others."""
        if seconds and not self._runs:
            self._runs.append(seconds)

    def rest(self) -> None:
        """Let the tower come to rest, for what must not run beside it."""
        self._wait_for_runs(True)
        self._tower.rest(REST_SECONDS)

    def failure(self) -> Exception | None:
        """Return what a run of the tower's thread raised since the last call."""
        error, self._failure = self._failure, None
        return error

    def forget(self) -> None:
        """Forget all frames and scores, and what is asked of the tower."""
        self._tower.withdraw()
        self._tower.collect()
        self._views.clear()
        self._kept, self._alone, self.trouble = None, False, ""
        self._waiting = True
        torch.set_num_threads(self._threads)  # of the next frame thread

    def answer(self, jobs: Sequence[Job], options: NodeOptions,
               vocabulary: Vocabulary) -> list[Answer]:
        """Label frames of different cameras.

        Args:
            jobs: with their pixels.
            options, vocabulary: in force.

        Raises:
            Exception: whatever goes wrong in a run of their own, or in labelling.
        """
        pipeline = self._quality.pipeline
        vocabulary = vocabulary.to(pipeline.device)
        key = (vocabulary.version, options.settings.scoring())
        if options.settings != self._settings:
            self._settings = options.settings
            self._extras.clear()
            self._alone = False
        watch = pipeline.stopwatch()
        with watch.stage("temporal"):
            memories = [self._observe(job, options) for job in jobs]
            self._forget_silent(jobs)
            self.collect()
        limit = self._limit(jobs, options)
        waiting = self._choose(jobs, limit, options)
        wanting = [job for job, memory in zip(jobs, memories, strict=True)
                   if memory.wants_scores(key)]
        outcome = self._have_scored(wanting, waiting, vocabulary, key)
        with watch.stage("temporal"):
            if outcome is not None:
                self._fuse(outcome, outcome.scores, key)
            elif not waiting:
                self._score_new_words(vocabulary, key)
            known = [memory.evidence(key) for memory in memories]
        pictures = outcome.pictures if outcome is not None and wanting == jobs else \
            pipeline.read([job.image for job in jobs], watch, _label_sizes(jobs))
        evidence = [found or Evidence.nothing(len(vocabulary.query_class), picture.size,
                                              pipeline.device)
                    for found, picture in zip(known, pictures, strict=True)]
        # Of several cameras, one whose scores were not has all refined; those of none want nothing.
        refined = all(found is None or self._views[job.camera.name].refined
                      for job, found in zip(jobs, known, strict=True))
        deadline = self._quality.deadline(min(job.frame.arrived for job in jobs), limit * 1e3) \
            if options.latency_budget_ms or not waiting else None
        results = pipeline.label(pictures, [found.scores for found in evidence], vocabulary, watch,
                                 deadline, refined=refined,
                                 settle=[found.settle for found in evidence])
        stage_ms, self._tower_ms = self._tower_ms, {}
        if outcome is not None:
            stage_ms |= outcome.stage_ms
        results = [replace(result, stage_ms={**stage_ms, **result.stage_ms}) for result in results]
        own = [outcome is not None and job in wanting for job in jobs]
        return [Answer(*parts) for parts in zip(results, evidence, own, strict=True)]

    def answer_alone(self, jobs: Sequence[Job], options: NodeOptions,
                     vocabulary: Vocabulary) -> list[Answer]:
        """Label frames of different cameras, each from nothing but itself.

        Args, Raises:
            see :meth:`answer`.
        """
        self._own_seconds = 0.0
        self._wait_for_runs(True)
        results = self._quality.pipeline.predict(
            [job.image for job in jobs], vocabulary,
            self._quality.deadline(min(job.frame.arrived for job in jobs)), _label_sizes(jobs))
        for job in jobs:
            job.camera.log.keyframe()
        return [Answer(result, None, True) for result in results]

    def took(self, seconds: float) -> None:
        """Take how long the frames answered last were worked on, from message to messages."""
        if self._own_seconds:
            self._extras.append(seconds - self._own_seconds)

    def collect(self) -> None:
        """Take what the tower's thread has made."""
        for outcome in self._tower.collect():
            number = max(self._run_last.values(), default=0) + 1
            self._run_last.update((job.camera.name, number) for job in outcome.run.jobs)
            if outcome.error is not None:
                self._failure, self.trouble = outcome.error, describe(outcome.error)
                self._alone = True
                continue
            self._note(outcome)
            self._tower_ms = {f"tower {stage}": value for stage, value in outcome.stage_ms.items()}
            self._fuse(outcome, outcome.scores, outcome.run.key)
            self._kept = outcome if outcome.features is not None else None

    def _observe(self, job: Job, options: NodeOptions) -> Memory:
        """Return the memory of a job's camera, which has seen the frame."""
        camera = job.camera
        view = self._views.get(camera.name)
        if view is None:
            view = self._views[camera.name] = _View(Memory(), camera.log, job.frame.arrived)
        view.memory.settings = options.temporal
        # However seldom frames come or are worked on, evidence lasts for as long as it may.
        view.memory.longest_gap = max(LONGEST_GAP, options.temporal.max_age)
        if not job.observed:
            job.observed = True
            view.arrived = job.frame.arrived
            view.memory.observe(job.image, view.arrived)
        return view.memory

    def _forget_silent(self, jobs: Sequence[Job]) -> None:
        """Forget cameras whose frames no longer come, or that nobody listens to any more."""
        now = max(job.frame.arrived for job in jobs)
        here = {job.camera.name for job in jobs}  # also with a frame that has waited for long
        for name, view in list(self._views.items()):
            if name not in here and now - view.arrived > view.memory.longest_gap:
                view.memory.reset()  # scores that are still made of its frames are lost
                del self._views[name]

    def _limit(self, jobs: Sequence[Job], options: NodeOptions) -> float:
        """Return the seconds in which all cameras together have as many frames as are answered."""
        seconds = len(jobs) / sum(1 / max(interval, LEAST_INTERVAL)
                                  for interval in self._intervals())
        budget = options.latency_budget_ms * 1e-3
        return min(budget, seconds) if budget else seconds

    def _intervals(self) -> list[float]:
        """Return the seconds between two frames of each camera."""
        return [view.log.interval(UNKNOWN_INTERVAL) for view in self._views.values()]

    def _choose(self, jobs: Sequence[Job], limit: float, options: NodeOptions) -> bool:
        """Decide whether frames wait for runs; what holds already is not given up lightly."""
        run = max(self._runs, default=0.0) * len(jobs)
        needed = run + (median(self._extras) if self._extras else GUESS)
        waiting = needed <= limit * (1.0 if self._waiting else MARGIN)
        # Where all that is known would be too old, late labels are better than none.
        waiting |= run > options.temporal.max_age or min(self._intervals()) > SELDOM
        self._wait_for_runs(waiting)
        return waiting

    def _wait_for_runs(self, waiting: bool) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            # Beside the tower's threads more than one would only be in one another's way.
            torch.set_num_threads(self._threads if waiting else 1)
            self._tower.withdraw()

    def _have_scored(self, jobs: Sequence[Job], waiting: bool, vocabulary: Vocabulary,
                     key: tuple[Hashable, ...]) -> Outcome | None:
        """Have frames scored: here and now where they wait for it, else by the tower's thread."""
        self._own_seconds = 0.0
        if jobs and not waiting:
            if self._alone:  # one after another, whether a run that was asked for began or not
                jobs = [min(jobs, key=lambda job: self._run_last.get(job.camera.name, 0))]
            self._tower.submit(self._run(jobs, vocabulary, key), self._alone)
        elif jobs and not self._tower.busy:  # else the last run of the other kind ends first
            run = replace(self._run(jobs, vocabulary, key), label_sizes=_label_sizes(jobs))
            outcome = look(run, refine=False)
            self._note(outcome)
            self._own_seconds = outcome.seconds
            return outcome
        return None

    def _run(self, jobs: Sequence[Job], vocabulary: Vocabulary,
             key: tuple[Hashable, ...]) -> Run:
        keyframes = []
        for job in jobs:
            keyframe = self._views[job.camera.name].memory.keyframe
            assert keyframe is not None  # its frame has been observed
            keyframes.append(keyframe)
        return Run(jobs, keyframes, self._quality.pipeline, vocabulary, key)

    def _note(self, outcome: Outcome) -> None:
        self.trouble, self.run_seconds = "", outcome.seconds
        self._runs.append(outcome.seconds / len(outcome.run.jobs))
        self._quality.ran(outcome.run.pipeline, outcome.seconds * 1e3,
                          len(outcome.run.vocabulary.query_class), outcome.stage_ms)

    def _fuse(self, outcome: Outcome, scores: Sequence, key: Hashable) -> None:
        """Hand scores to the memories of their cameras."""
        for job, keyframe, score in zip(outcome.run.jobs, outcome.run.keyframes, scores,
                                        strict=True):
            view = self._views.get(job.camera.name)
            if view is not None and view.memory.fuse(score, key, keyframe):
                view.refined = outcome.refined
                job.camera.log.keyframe()

    def _score_new_words(self, vocabulary: Vocabulary, key: tuple[Hashable, ...]) -> None:
        """Score the newest features for other words, so that these hold from this frame on."""
        kept = self._kept
        if kept is None or kept.run.key == key or kept.run.key[1:] != key[1:]:
            return
        self._fuse(kept, kept.rescored(vocabulary), key)
        self._kept = replace(kept, run=replace(kept.run, key=key))


def _label_sizes(jobs: Sequence[Job]) -> list[tuple[int, int] | None]:
    return [job.camera.label_size.size() for job in jobs]
