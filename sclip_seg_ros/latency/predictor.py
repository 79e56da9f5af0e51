"""What a frame would cost at each quality level, judged from the last frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

UNMEASURED_STEP = 0.75  # cost assumed of a level never measured, relative to the one above it
WINDOW = 20             # frames that a prediction looks back on
TYPICAL_FRAMES = 5      # frames whose median is called typical

_REST = "rest"          # of the total, what no stage accounts for: conversions, waiting, publishing
_WHOLE = "whole"        # the total where no stages were measured
# A stage shorter than this share of its frame says little about a level where it takes more than
# so many times as long.
_SHORT_SHARE, _FAR = 0.1, 4.0

# Stages whose work does not depend on the number of words, or hardly; that of all others grows with
# it. Most of the clusters' is the tower's.
_FIXED = ("preprocess", "encode", "proxy", "upsample", "clusters", _REST, _WHOLE)

Costs = Mapping[str, float]  # stage -> milliseconds; of some, per query


@dataclass(frozen=True)
class _Frame:
    level: int
    costs: Costs
    queries: int
    translated: dict[int, tuple[float, float]] = field(default_factory=dict)  # by level, see _sums


class LatencyPredictor:
    """Translate the last frames to every level, and take a high percentile.

    Each level has a reference cost by stage, measured at warm-up. A frame at one level tells by
    how much every stage is slower than its reference: another process takes the cores, the image
    grew, the chip is hot. The same frame at another level is assumed slower by the same factors::

        cost of frame f at level j = sum over stages s of  reference[j][s] * f[s] / reference[i][s]

    with i the level the frame ran at. Stages that level i lacks, or that are too short there to
    judge by, follow the frame's overall factor; what no stage accounts for is carried over as it
    is. Only ratios of references matter, so that a load during the whole warm-up does no harm.
    """

    def __init__(self, levels: int) -> None:
        """Start without knowledge.

        Args:
            levels: number of quality levels.

        Raises:
            ValueError: no level.
        """
        if levels < 1:
            raise ValueError(f"levels={levels} makes no predictor; give 1 or more")
        self.levels = levels
        self._frames: deque[_Frame] = deque(maxlen=WINDOW)
        self._seeds: dict[int, list[Costs]] = {}
        self._reference: dict[int, Costs] = {}

    @property
    def frames(self) -> int:
        """Number of frames that a prediction can look back on now."""
        return len(self._frames)

    def seed(self, level: int, total_ms: float, queries: int,
             stage_ms: Mapping[str, float] | None = None) -> None:
        """Take a warm-up measurement as reference; of several, the median of each stage counts."""
        seeds = self._seeds.setdefault(level, [])
        seeds.append(self._unit_costs(level, total_ms, queries, stage_ms))
        self._reference[level] = _medians(seeds)
        for frame in self._frames:
            frame.translated.clear()

    def record(self, level: int, total_ms: float, queries: int,
               stage_ms: Mapping[str, float] | None = None) -> None:
        """Take the measurement of a frame.

        Args:
            level: quality level it ran at.
            total_ms: from the frame's arrival to its last publish.
            queries: words it was compared with.
            stage_ms: milliseconds by stage, as :class:`SegmentationResult` has them. Without
                them a longer vocabulary looks like a slower machine.

        Raises:
            ValueError: no such level, a time that is negative or no number, or no queries.
        """
        costs = self._unit_costs(level, total_ms, queries, stage_ms)
        if level not in self._reference:
            self._reference[level] = _divided(costs, self.slowdown())
        self._frames.append(_Frame(level, costs, queries))

    def predict(self, level: int, queries: int, frames: int | None = None,
                percentile: float = 0.9) -> float:
        """Return what share ``percentile`` of the last frames would have cost at most.

        Args:
            level: quality level.
            queries: words to compare with.
            frames: how many frames to look back; the whole window by default, 0 for what the level
                cost at warm-up.
            percentile: 0..1; by the nearest rank, so that 0.9 leaves out 2 frames of 20.

        Returns:
            Milliseconds; the reference's before the first frame, 0 while nothing is known at all.
        """
        if not self._reference:
            return 0.0
        if level not in self._reference:
            nearest = min(self._reference, key=lambda known: abs(known - level))
            return (self.predict(nearest, queries, frames, percentile)
                    * UNMEASURED_STEP ** (level - nearest))
        recent = list(self._frames)[-(frames or len(self._frames)):]
        if frames == 0 or not recent:
            return _total(self._reference[level], queries)
        costs = sorted(self._translate(frame, level, queries) for frame in recent)
        return costs[max(math.ceil(percentile * len(costs) - 1e-9), 1) - 1]

    def typical(self, level: int, queries: int) -> float:
        """Return the median of the last five frames translated to a level, in milliseconds."""
        return self.predict(level, queries, TYPICAL_FRAMES, 0.5)

    def slowdown(self) -> Costs:
        """Return by which factor each stage is typically slower than its reference now."""
        recent = list(self._frames)[-TYPICAL_FRAMES:]
        return _medians([self._factors(frame) for frame in recent]) if recent else {_WHOLE: 1.0}

    def _translate(self, frame: _Frame, level: int, queries: int) -> float:
        """Return what a frame would have cost at another level, in milliseconds."""
        if level not in frame.translated:  # later decisions ask for the same again
            frame.translated[level] = _sums(self._costs_at(frame, level))
        fixed, per_query = frame.translated[level]
        return fixed + per_query * queries

    def _costs_at(self, frame: _Frame, level: int) -> Costs:
        """Return a frame's costs by stage had it run at another level."""
        if frame.level == level:
            return frame.costs
        here, there = self._reference[frame.level], self._reference[level]
        factors = self._factors(frame)
        if len(factors) == 1:  # no stage in common: totals against totals
            return {stage: unit * factors[_WHOLE] for stage, unit in there.items()}
        costs = {stage: unit for stage, unit in frame.costs.items()
                 if stage == _REST or stage not in here}
        short = _SHORT_SHARE * _total(here, frame.queries)
        for stage, unit in there.items():
            near = _scaled(stage, here.get(stage, 0.0), frame.queries)
            telling = near >= short or _scaled(stage, unit, frame.queries) <= _FAR * near
            if stage != _REST:
                costs[stage] = unit * factors[stage if telling and stage in factors else _WHOLE]
        return costs

    def _factors(self, frame: _Frame) -> dict[str, float]:
        """Return a frame's slow-down by stage, and over all its stages under ``whole``."""
        here = self._reference[frame.level]
        shared = [stage for stage in frame.costs
                  if stage not in (_REST, _WHOLE) and here.get(stage, 0.0) > 0]
        measured = {stage: frame.costs[stage] for stage in shared} or frame.costs
        expected = {stage: here[stage] for stage in shared} or here
        overall = _total(measured, frame.queries) / max(_total(expected, frame.queries), 1e-9)
        return {_WHOLE: overall, **{stage: frame.costs[stage] / here[stage] for stage in shared}}

    def _unit_costs(self, level: int, total_ms: float, queries: int,
                    stage_ms: Mapping[str, float] | None) -> dict[str, float]:
        """Check a measurement, and express it per query where the work grows with them."""
        if not 0 <= level < self.levels:
            raise ValueError(f"quality level {level} is not on the ladder; give 0 to "
                             f"{self.levels - 1}")
        if queries < 1:
            raise ValueError(f"queries={queries} is out of range; give 1 or more")
        for name, value in {"total": total_ms, **(stage_ms or {})}.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} of {value} ms is not a duration; give 0 or more")
        if not stage_ms:
            return {_WHOLE: total_ms}
        costs = {stage: value / (queries if grows_with_queries(stage) else 1)
                 for stage, value in stage_ms.items()}
        costs[_REST] = max(total_ms - sum(stage_ms.values()), 0.0)
        return costs


def grows_with_queries(stage: str) -> bool:
    """Tell whether a stage takes the longer, the more words there are."""
    return stage not in _FIXED


def _scaled(stage: str, unit: float, queries: int) -> float:
    return unit * queries if grows_with_queries(stage) else unit


def _sums(costs: Costs) -> tuple[float, float]:
    """Return the milliseconds that do not depend on the number of queries, and those per query."""
    per_query = sum(unit for stage, unit in costs.items() if grows_with_queries(stage))
    return sum(costs.values()) - per_query, per_query


def _total(costs: Costs, queries: int) -> float:
    fixed, per_query = _sums(costs)
    return fixed + per_query * queries


def _medians(rows: list[Costs]) -> dict[str, float]:
    """Return the median of each stage over the rows that have it."""
    stages = dict.fromkeys(stage for row in rows for stage in row)
    return {stage: median(row[stage] for row in rows if stage in row) for stage in stages}


def _divided(costs: Costs, factors: Costs) -> dict[str, float]:
    """Take a slow-down out of costs; the remainder of a frame stays as it is."""
    return {stage: unit if stage == _REST
            else unit / max(factors.get(stage, factors[_WHOLE]), 1e-9)
            for stage, unit in costs.items()}
