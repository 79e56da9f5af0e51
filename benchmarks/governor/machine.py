"""A machine in simulated time: what frames at each level cost under a load that changes."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sclip_seg_ros.latency.governor import Governor
from sclip_seg_ros.latency.predictor import grows_with_queries

TRACES = json.loads((Path(__file__).parent / "traces.json").read_text())
LEVELS = list(TRACES["levels"].values())  # measured stage times, the best level first
QUERIES = TRACES["queries"]

Load = Callable[[int], float]  # frame number -> factor on every stage


@dataclass
class Machine:
    """Levels with a base cost by stage, times an outside load, times noise.

    Attributes:
        levels: milliseconds by stage of each level with QUERIES words and no load.
        load: factor on every stage, by frame number.
        noise: relative deviation of each stage's time, log-normal.
        overhead_ms: part of the total outside all stages.
        stage_load: factors on single stages, e.g. for larger images.
        true_factor: factor on single levels that the warm-up does not show.
    """

    levels: Sequence[dict[str, float]] = field(default_factory=lambda: LEVELS)
    load: Load = lambda frame: 1.0
    noise: float = 0.0
    overhead_ms: float = 2.0
    seed: int = 0
    stage_load: dict[str, float] = field(default_factory=dict)
    true_factor: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def stages(self, level: int, frame: int, queries: int = QUERIES,
               warm_up: bool = False) -> dict[str, float]:
        """Return the stage times of one frame."""
        factor = 1.0 if warm_up else self.load(frame) * self.true_factor.get(level, 1.0)
        return {stage: ms * factor * self._random.lognormvariate(0.0, self.noise)
                * (1.0 if warm_up else self.stage_load.get(stage, 1.0))
                * (queries / QUERIES if grows_with_queries(stage) else 1.0)
                for stage, ms in self.levels[level].items()}

    def expected(self, level: int, frame: int, queries: int = QUERIES) -> float:
        """Return the total of a frame without noise."""
        quiet = Machine(self.levels, self.load, 0.0, self.overhead_ms, 0, self.stage_load,
                        self.true_factor)
        return self.overhead_ms + sum(quiet.stages(level, frame, queries).values())

    def warm_up(self, governor: Governor, times: int = 2) -> None:
        """Measure every level as a node does when it is configured."""
        for level in range(len(self.levels)):
            for _ in range(times):
                stages = self.stages(level, 0, warm_up=True)
                governor.warm_up(level, sum(stages.values()), QUERIES, stages)

    def run(self, governor: Governor, frames: int, start: int = 0,
            queries: Callable[[int], int] = lambda frame: QUERIES) -> Run:
        """Let the governor steer a number of frames."""
        levels, totals = [], []
        for frame in range(start, start + frames):
            level = governor.decide(queries(frame))
            stages = self.stages(level, frame, queries(frame))
            total = self.overhead_ms + sum(stages.values())
            governor.record(level, total, queries(frame), stages)
            levels.append(level)
            totals.append(total)
        return Run(levels, totals)


@dataclass(frozen=True)
class Run:
    """What happened, frame by frame."""

    levels: list[int]
    totals: list[float]
    shares: list[float] = field(default_factory=list)  # of the refinement's iterations that ran

    def misses(self, budget_ms: float) -> int:
        """Return the number of frames over a budget."""
        return sum(total > budget_ms for total in self.totals)

    @property
    def changes(self) -> int:
        """Return how often the level changed."""
        return sum(a != b for a, b in zip(self.levels, self.levels[1:], strict=False))


def step(begin: int, end: int, factor: float) -> Load:
    """Return a load between two frames."""
    return lambda frame: factor if begin <= frame < end else 1.0


def replay(name: str) -> Load:
    """Return a recorded load; it starts again at its end."""
    trace = TRACES["loads"][name]["factors"]
    return lambda frame: trace[frame % len(trace)]


@dataclass
class RefiningMachine(Machine):
    """A machine whose levels end with a refinement that a deadline cuts short.

    Attributes:
        iterations: of the refinement ``pamr`` where a level has it.
        whole: whether frames that were cut short are told as if they had run in full.
    """

    iterations: int = 10
    whole: ClassVar[bool] = False

    def run(self, governor: Governor, frames: int, start: int = 0,
            queries: Callable[[int], int] = lambda frame: QUERIES) -> Run:
        """Let the governor steer; no iteration begins that would not end in time.

        Time is left for the longest of the last 20 tails, as in the node.
        """
        levels, totals, shares = [], [], []
        tails: deque[float] = deque(maxlen=20)
        for frame in range(start, start + frames):
            level = governor.decide(queries(frame))
            stages = self.stages(level, frame, queries(frame))
            total, share = self.overhead_ms + sum(stages.values()), 1.0
            full, full_total = dict(stages), total
            tail = self.overhead_ms + stages["decode"]
            if "pamr" in stages:
                before = total - tail - stages["pamr"]
                left = governor.budget_ms - max(tails, default=0.0) - before
                each = stages["pamr"] / self.iterations
                ran = min(max(int(left / each), 0), self.iterations)
                stages["pamr"] = ran * each
                total, share = before + stages["pamr"] + tail, ran / self.iterations
            tails.append(tail)
            governor.record(level, full_total if self.whole else total, queries(frame),
                            full if self.whole else stages)
            levels.append(level)
            totals.append(total)
            shares.append(share)
        return Run(levels, totals, shares)
