"""Keep a frame's latency inside a budget by moving along the quality ladder."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sclip_seg_ros.latency.predictor import TYPICAL_FRAMES, LatencyPredictor

# docs/latency.md tells these numbers in words.
MARGIN = 0.85        # share of the budget that a level's prediction may fill for a change to it
NARROW = 1.05        # times the budget up to which a frame over it tells nothing of a load
PATIENCE = 10        # calm frames before a step up
PROVEN = 100         # frames a level must last: one over the budget in fewer breaks the 99 %
SETBACK = 80         # calm frames by which a failure more than doubles the wait for a level
HALVING = 50         # frames that a level lasts for the wait for it to halve
LONGEST_WAIT = 1000  # calm frames before a step up, at most
RELIEF = 0.85        # a failure counts no more once the prediction fell to this share
MOST_PROBES = 16     # by how many times failures make probes rarer, at most


class Governor:
    """Choose the best quality level whose frames fit the budget.

    - Down, at once: a frame over the budget leads to the best cheaper level that fits, a second
      one in a row to the cheapest. A longer vocabulary or another budget is met beforehand.
    - Up, with patience: after some calm frames, to the best level whose predicted high percentile
      leaves a margin. A level that failed soon after a step up is waited for, longer each time,
      and not at a lighter load: a failure says nothing about another one.
    - Rarely, a level predicted not to fit is probed, lest a wrong prediction last for ever.

    Everything is counted in frames, so that the share of frames over the budget is bounded at any
    frame rate. Levels are numbers, 0 the best. One thread at a time; per frame call
    :meth:`decide`, run the frame at that level, and call :meth:`record`.
    """

    def __init__(self, levels: int, budget_ms: float = 0.0, *, probe_after: int = 1000) -> None:
        """Start at the best level.

        Args:
            levels: number of quality levels.
            budget_ms: milliseconds a frame may take; 0 = no limit, always the best level.
            probe_after: calm frames before a level is tried against its prediction; 0 = never.

        Raises:
            ValueError: an option out of range.
        """
        if probe_after < 0:
            raise ValueError(f"probe_after={probe_after} is out of range; give 0 or more")
        self.predictor = LatencyPredictor(levels)
        self._probe_after = probe_after
        self._level = 0
        self._queries = 1
        self._calm = 0            # frames since the last change, or the last one over the budget
        self._lasted = 0          # frames since the last change
        self._tried_ms = 0.0      # predicted of the level, if the last change was a step up; else 0
        self._over = False        # the last frame was over the budget, and nothing was done yet
        self._loaded = False      # and so far over it that a load may have set in
        self._over_in_a_row = 0
        self._started = False     # a first level was chosen from the warm-up
        self._new_budget = False
        self._hopeless = False
        self.budget_ms = budget_ms

    @property
    def level(self) -> int:
        """The level in use, 0 being the best."""
        return self._level

    @property
    def budget_ms(self) -> float:
        """Milliseconds a frame may take, 0 for no limit; may be changed at any time."""
        return self._budget_ms

    @budget_ms.setter
    def budget_ms(self, budget_ms: float) -> None:
        if not (math.isfinite(budget_ms) and budget_ms >= 0):
            raise ValueError(f"latency budget of {budget_ms} ms is not a duration; give 0 or more, "
                             "0 for no limit")
        self._budget_ms = float(budget_ms)
        self._over = self._loaded = self._hopeless = False
        self._new_budget = True
        self._over_in_a_row, self._tried_ms = 0, 0.0
        self._wait = [PATIENCE] * self.predictor.levels   # calm frames before a step up to a level
        self._failed_ms = [0.0] * self.predictor.levels  # predicted at the step up that failed

    @property
    def hopeless(self) -> bool:
        """Whether even the cheapest level typically takes longer than the budget."""
        return self._hopeless

    def warm_up(self, level: int, total_ms: float, queries: int,
                stage_ms: Mapping[str, float] | None = None) -> None:
        """Take a warm-up measurement, so that the first real frame already fits.

        Measure every level, twice or more where time allows; see
        :meth:`LatencyPredictor.seed`.
        """
        self.predictor.seed(level, total_ms, queries, stage_ms)
        self._queries = queries

    def record(self, level: int, total_ms: float, queries: int,
               stage_ms: Mapping[str, float] | None = None) -> None:
        """Take the measurement of a frame; arguments as for :meth:`LatencyPredictor.record`."""
        self.predictor.record(level, total_ms, queries, stage_ms)
        self._queries = queries
        if level != self._level:
            return  # begun before the last change: news for the predictor alone
        over = self._over = 0 < self._budget_ms < total_ms
        self._loaded = over and total_ms > NARROW * self._budget_ms
        self._calm = 0 if over else self._calm + 1
        self._over_in_a_row = self._over_in_a_row + 1 if over else 0
        if not over:
            self._lasted += 1
            if self._lasted % HALVING == 0:
                self._wait[level] = max(self._wait[level] // 2, PATIENCE)
        elif self._tried_ms and self._lasted < PROVEN:
            self._wait[level] = min(2 * self._wait[level] + SETBACK, LONGEST_WAIT)
            self._failed_ms[level] = self._tried_ms

    def decide(self, queries: int | None = None) -> int:
        """Choose the level of the next frame.

        Args:
            queries: words it will be compared with; by default as many as the last frame.

        Returns:
            The level, also in :attr:`level` from now on.
        """
        queries = queries or self._queries
        if not self._budget_ms:
            self._hopeless = self._over = self._loaded = False
            self._move(0)
            return self._level
        if not self._started and not self.predictor.frames:
            self._level = self._best_fit(range(self.predictor.levels), queries)
        elif self._over or self._outgrown(queries):
            self._step_down(queries)
        elif self._calm >= PATIENCE or self._new_budget:
            self._step_up(queries)
        self._started, self._over, self._loaded, self._new_budget = True, False, False, False
        self._judge_hope(queries)
        return self._level

    def _outgrown(self, queries: int) -> bool:
        """Tell whether the level in use no longer fits what was asked for since the last frame."""
        return ((self._new_budget or queries > self._queries)
                and self._predict(self._level, queries) > self._budget_ms)

    def _step_down(self, queries: int) -> None:
        """Leave for a cheaper level that fits, or for the cheapest."""
        if self._over and self._over_in_a_row > 1:
            self._move(self._cheapest(queries))
        else:
            self._move(self._best_fit(range(self._level + 1, self.predictor.levels), queries))

    def _step_up(self, queries: int) -> None:
        """Take the best level that fits with a margin and was waited for, or probe the next."""
        calm = math.inf if self._new_budget else self._calm
        best, wait, predicted_ms = self._level, 0, 0.0
        for level in reversed(range(self._level)):  # a cheaper level's wait holds better ones up
            predicted = self.predictor.predict(level, queries)
            if predicted >= RELIEF * self._failed_ms[level]:
                wait = max(wait, self._wait[level])
            if predicted <= MARGIN * self._budget_ms and calm >= wait:
                best, predicted_ms = level, predicted
        if best == self._level and self._probe_due:
            best = self._level - 1
            predicted_ms = self.predictor.predict(best, queries)
        self._move(best, predicted_ms)

    @property
    def _probe_due(self) -> bool:
        """Whether it is time to try the next better level against its prediction."""
        if not (self._level and self._probe_after):
            return False
        rarer = min(self._wait[self._level - 1] // PATIENCE, MOST_PROBES)
        return self._calm >= rarer * self._probe_after

    def _best_fit(self, levels: range, queries: int) -> int:
        """Return the first level that fits with a margin; without any, the cheapest of all."""
        for level in levels:
            if self._predict(level, queries) <= MARGIN * self._budget_ms:
                return level
        return self._cheapest(queries)

    def _cheapest(self, queries: int) -> int:
        """Return the level that was the cheapest at warm-up, of equals the last.

        The last frames do not tell: where their refinements were cut short, one's own level looks
        cheap.
        """
        return min(reversed(range(self.predictor.levels)),
                   key=lambda level: self.predictor.predict(level, queries, frames=0))

    def _predict(self, level: int, queries: int) -> float:
        """Return what the last frames would have cost.

        The very last one counts alone if it cost more, and was not just narrowly over the budget.
        """
        predicted = self.predictor.predict(level, queries)
        if not self._loaded:
            return predicted
        return max(predicted, self.predictor.predict(level, queries, frames=1))

    def _judge_hope(self, queries: int) -> None:
        if 0 < self.predictor.frames < TYPICAL_FRAMES:
            return  # one slow frame is no reason to give up hope
        self._hopeless = all(self.predictor.typical(level, queries) > self._budget_ms
                             for level in reversed(range(self.predictor.levels)))

    def _move(self, level: int, predicted_ms: float = 0.0) -> None:
        """Change to a level; for a step up, give what was predicted of it."""
        if level != self._level:
            self._level, self._tried_ms = level, predicted_ms
            self._calm = self._lasted = 0
