"""What frames are answered with, by cameras' rates and the tower's speed, in simulated time.

Tracker, tower and memories are the real ones, and so are the tower's thread and the model; time
goes by as the test says, so that nothing depends on how fast this computer is.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from ros_harness import MODEL

from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.cameras import frame_log
from sclip_seg_ros.ros.frames import tower as tower_module
from sclip_seg_ros.ros.frames.frame import Frame, Job
from sclip_seg_ros.ros.frames.tower import Tower
from sclip_seg_ros.ros.frames.tracker import Answer, Tracker
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.temporal import TemporalSettings

PATIENCE = 120.0  # seconds for what the tower's thread is to do
SIZE = 120, 160
LADDER = QualityLadder((QualityLevel("full", {}),))
THREADS = 2       # of a frame thread that nothing computes beside

pytestmark = pytest.mark.ros


class Camera:
    """A camera whose picture goes by, with the counts of a real one.

    Attributes:
        answers: of each frame, after its time of arrival.
    """

    def __init__(self, name: str, period: float, phase: float = 0.0, jitter: float = 0.0,
                 until: float = math.inf) -> None:
        rng = np.random.default_rng(3)
        wide = np.full((SIZE[0], 1200, 3), 90, np.uint8)
        for _ in range(150):
            top, left = rng.integers(0, SIZE[0] - 20), rng.integers(0, 1160)
            wide[top:top + 20, left:left + 40] = rng.integers(0, 256, 3)
        self.name, self.log = name, frame_log.FrameLog()
        self.label_size = SimpleNamespace(size=lambda: None)
        self.answers: list[tuple[float, Answer]] = []
        self._period, self._phase, self._jitter, self._until = period, phase, jitter, until
        self._wide, self._at = wide, 0

    def times(self, seconds: float) -> list[float]:
        """Return when frames arrive."""
        rng = np.random.default_rng(1)
        count = int(min(seconds, self._until) / self._period)
        return [self._phase + index * self._period + rng.uniform(-self._jitter, self._jitter)
                for index in range(count)]

    def picture(self) -> np.ndarray:
        self._at = (self._at + 2) % 1000
        return np.ascontiguousarray(self._wide[:, self._at:self._at + SIZE[1]])

    def unlabelled(self, first: int) -> int:
        """Return how many frames have no label at all, of those from the given one on."""
        return sum(bool((answer.result.labels == 255).all())
                   for _, answer in self.answers[first:])

    @property
    def keyframes(self) -> int:
        """How many different frames of its own labels rest on."""
        return len({round(arrived - answer.evidence.seconds, 3) for arrived, answer in self.answers
                    if not math.isnan(answer.evidence.seconds)})


class Simulation:
    """Cameras, a frame thread (the test's own) and a tower, so many seconds for a frame."""

    def __init__(self, segmentor: SCLIPSegmentor, run_seconds: float) -> None:
        self.now = self.arriving = 0.0
        self.run_seconds = run_seconds
        self.options: Any = SimpleNamespace(settings=segmentor.settings, latency_budget_ms=0.0,
                                            temporal=TemporalSettings())
        self.vocabulary = segmentor.vocabulary(["floor", "wall", "ball"])
        self.tower = Tower(segmentor.device, 1)
        self.tracker = Tracker(QualityControl(segmentor, LADDER), self.tower, THREADS)
        self.tracker.expect(run_seconds)
        self.begun, self.free = threading.Event(), threading.Event()
        self._end = math.inf  # of the run in the tower's thread
        self._frames = 0      # that it is of

    def glance(self, frames: int) -> None:
        """Let a run take its time, in the thread that makes it."""
        if threading.current_thread().name != "tower":
            self.now += self.run_seconds * frames
            return
        self._frames = frames
        self.begun.set()
        assert self.free.wait(PATIENCE), f"nobody let the run end within {PATIENCE:g} s"
        self.free.clear()

    def play(self, cameras: list[Camera], seconds: float) -> None:
        """Answer the cameras' frames; one that is replaced while others are answered is lost."""
        due = deque(sorted((1 + at, index) for index, camera in enumerate(cameras)
                           for at in camera.times(seconds)))
        while due:
            self._go_on(due[0][0])
            newest = {}
            while due and due[0][0] <= self.now:
                self.arriving, index = due.popleft()
                cameras[index].log.received()
                newest[index] = self.arriving
            self.answer([(cameras[index], at) for index, at in newest.items()])

    def answer(self, frames: list[tuple[Camera, float]]) -> None:
        jobs = [Job(Frame(cast(Any, camera), cast(Any, None), at), camera.picture())
                for camera, at in frames]
        answers = self.tracker.answer(jobs, self.options, self.vocabulary)
        for (camera, at), answer in zip(frames, answers, strict=True):
            camera.answers.append((at, answer))
        self._look_at_tower()

    def _look_at_tower(self) -> None:
        if self._end == math.inf and self.tower.busy:
            assert self.begun.wait(PATIENCE), f"no run began within {PATIENCE:g} s"
            self._end = self.now + self.run_seconds * self._frames

    def _go_on(self, to: float) -> None:
        """Go on in time, and end the runs that are over by then."""
        while self._end <= to:
            self.now, self._end = max(self.now, self._end), math.inf
            self.begun.clear()
            self.free.set()
            deadline = time.monotonic() + PATIENCE
            while self.tower.busy and not self.begun.wait(0.002):
                assert time.monotonic() < deadline, f"the run did not end in {PATIENCE:g} s"
            self._look_at_tower()
        self.now = max(self.now, to)


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(MODEL, device="cpu", short_side=64)


@pytest.fixture
def simulate(segmentor, monkeypatch) -> Iterator[Callable[[float], Simulation]]:
    """Return a function that begins a simulation, given the seconds of a run for each frame."""
    made: list[Simulation] = []
    glance, threads = Pipeline.glance, torch.get_num_threads()

    def timed(pipeline, pictures, *arguments):
        made[-1].glance(len(pictures))
        return glance(pipeline, pictures, *arguments)

    def begin(run_seconds: float) -> Simulation:
        made.append(Simulation(segmentor, run_seconds))
        made[-1].tower.start()
        return made[-1]

    monkeypatch.setattr(Pipeline, "glance", timed)
    monkeypatch.setattr(frame_log, "time", SimpleNamespace(monotonic=lambda: made[-1].arriving))
    monkeypatch.setattr(tower_module, "time", SimpleNamespace(monotonic=lambda: made[-1].now))
    yield begin
    for simulation in made:
        simulation.tower.withdraw()
        simulation.free.set()
        assert simulation.tower.stop(PATIENCE), f"a run did not end within {PATIENCE:g} s"
    torch.set_num_threads(threads)


def test_a_camera_that_seldom_sends_is_labelled_beside_a_fast_one(simulate):
    fast, seldom = Camera("fast", 0.2), Camera("seldom", 2.0, phase=0.03)
    simulate(0.8).play([fast, seldom], 16.0)
    assert (len(fast.answers), len(seldom.answers)) == (80, 8)  # nobody waits for a run
    assert fast.unlabelled(first=10) == 0
    assert seldom.unlabelled(first=2) == 0


def test_frames_a_second_apart_are_labelled_though_the_tower_is_slower(simulate):
    camera = Camera("", 1.0, jitter=0.03)
    simulate(1.4).play([camera], 30.0)
    assert len(camera.answers) > 10
    assert camera.unlabelled(first=3) == 0


def test_cameras_share_the_tower_though_their_frames_never_come_together(simulate):
    fast, slow = Camera("fast", 0.1), Camera("slow", 0.5, phase=0.03)
    simulate(0.8).play([fast, slow], 16.0)
    assert slow.unlabelled(first=8) == 0
    assert abs(slow.keyframes - fast.keyframes) <= 1


def test_cameras_that_fail_together_take_turns_whatever_a_run_takes(simulate):
    """Also where each run takes as long as two frames of both."""
    simulation = simulate(0.4)
    usual = simulation.glance

    def glance(count: int) -> None:
        usual(count)
        if count > 1 and threading.current_thread().name == "tower":
            raise RuntimeError("no memory for two")

    simulation.glance = glance
    one, other = Camera("one", 0.2), Camera("other", 0.2)
    simulation.play([one, other], 16.0)
    assert one.unlabelled(first=20) == other.unlabelled(first=20) == 0
    assert abs(one.keyframes - other.keyframes) <= 2


def test_a_camera_that_fell_silent_costs_the_others_nothing_for_long(simulate):
    simulation = simulate(0.12)
    stays, goes = Camera("stays", 0.2), Camera("goes", 0.2, phase=0.1, until=3.0)
    simulation.play([stays, goes], 12.0)
    both = [answer.keyframe for at, answer in stays.answers if 2 < at < 4]
    alone = [answer.keyframe for at, answer in stays.answers if at > 10]
    assert both and not any(both)  # there is no time for two
    assert alone and all(alone)


def test_a_frame_that_has_waited_for_long_is_answered_with_a_new_one(simulate):
    """As after the loading of weights, during which one camera fell silent."""
    simulation = simulate(run_seconds=0.1)
    early, late = Camera("early", 0.5), Camera("late", 0.5)
    simulation.answer([(early, 1.0), (late, 9.0)])
    assert [len(camera.answers) for camera in (early, late)] == [1, 1]
    assert early.unlabelled(0) == late.unlabelled(0) == 0


def test_scores_are_refined_once_wherever_they_were_made(simulate):
    """By the frame where it has waited for them, also later; by the tower's thread where not."""
    simulation, camera = simulate(0.1), Camera("", 0.2)
    simulation.play([camera], 2.0)
    simulation.run_seconds, camera._phase = 0.7, 2.0  # another program takes the processor
    simulation.play([camera], 4.0)
    waited = [answer.keyframe for _, answer in camera.answers]
    by_frame = ["pamr" in answer.result.iterations for _, answer in camera.answers]
    beside = waited.index(False)
    assert by_frame[:beside + 2] == (beside + 2) * [True], "the scores are those of a frame"
    assert not any(by_frame[-10:]) and not any(waited[-10:])
    assert by_frame == sorted(by_frame, reverse=True)


def test_where_every_frame_is_labelled_alone_it_has_all_threads(simulate):
    simulation, camera = simulate(0.8), Camera("", 0.2)
    simulation.play([camera], 3.0)
    assert torch.get_num_threads() == 1  # the tower computes beside
    job = Job(Frame(cast(Any, camera), cast(Any, None), simulation.now), camera.picture())
    simulation.tracker.answer_alone([job], simulation.options, simulation.vocabulary)
    assert torch.get_num_threads() == THREADS
    simulation.play([camera], 3.0)
    assert torch.get_num_threads() == 1


def test_a_tower_that_is_told_to_stop_keeps_no_count_of_what_it_was_asked_then(simulate):
    simulation, camera = simulate(0.8), Camera("", 0.2)
    simulation.play([camera], 1.0)
    assert simulation.tower.busy
    assert not simulation.tower.stop(0.0)  # a run is being made
    simulation.answer([(camera, simulation.now + 0.1)])
    simulation.tower.resume()
    simulation.free.set()
    deadline = time.monotonic() + PATIENCE
    while simulation.tower.busy:
        assert time.monotonic() < deadline, f"the tower was still busy after {PATIENCE:g} s"
        time.sleep(0.002)
    assert len(simulation.tower.collect()) == 1
