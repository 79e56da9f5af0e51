"""Keep a frame's latency inside a budget by moving along the quality ladder."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sclip_seg_ros.latency.caution import Caution
from sclip_seg_ros.latency.predictor import SAME_LOAD, TYPICAL_FRAMES, LatencyPredictor
from sclip_seg_ros.latency.trials import Trial, Trials

MARGIN = 0.85  # share of the budget that a level's prediction may fill for a change to it
PATIENCE = 10  # calm frames before a step up
SPIKE = 1.5    # a frame so many times as long as those before it says nothing about its level


class Governor:
    """Choose the best quality level whose frames fit the budget.

    - Down, at once: a frame over the budget leads to the best cheaper level that fits, a second
      one in a row to the cheapest. A longer vocabulary or another budget is met beforehand.
    - Up, with patience: after some calm frames, to the best level whose predicted high percentile
      leaves a margin, unless :class:`Trials` knows that it failed lately at this load.
    - The more frames were over the budget lately, the wider the margin, and the less is forgiven
      as a passing spike (:class:`Caution`).
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
        self._trials = Trials(levels, PATIENCE, probe_after)
        self._caution = Caution()
        self._level = 0
        self._queries = 1
        self._calm = 0            # frames since the last change, or the last one over the budget
        self._over = False        # the last frame was over the budget, and nothing was done yet
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
            raise ValueError(f"latency budget of {budget_ms} ms is no duration; give 0 or more, "
                             "0 for no limit")
        self._budget_ms = float(budget_ms)
        self._over, self._new_budget, self._hopeless = False, True, False
        self._over_in_a_row = 0
        self._trials.forget()
        self._caution.forget()

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
        typical = self.predictor.typical(level, queries)
        self.predictor.record(level, total_ms, queries, stage_ms)
        self._queries = queries
        if level != self._level:
            return  # begun before the last change: news for the predictor alone
        over = self._over = 0 < self._budget_ms < total_ms
        self._calm = 0 if over else self._calm + 1
        self._over_in_a_row = self._over_in_a_row + 1 if over else 0
        avoidable = over and self._predict(self._cheapest(queries), queries) <= self._budget_ms
        self._caution.frame(avoidable)
        spike = over and total_ms > SPIKE * typical > 0
        forgiven = not avoidable or not self._caution.asked
        trial = self._trials.frame(level, over, spike and forgiven)
        if trial is not None:
            self._learn_from(trial)

    def decide(self, queries: int | None = None) -> int:
        """Choose the level of the next frame.

        Args:
            queries: words it will be compared with; by default as many as the last frame.

        Returns:
            The level, also in :attr:`level` from now on.
        """
        queries = queries or self._queries
        if not self._budget_ms:
            self._hopeless = self._over = False
            self._move(0)
            return self._level
        if not self._started and not self.predictor.frames:
            self._level = self._best_fit(range(self.predictor.levels), queries)
        elif self._over or self._outgrown(queries):
            self._step_down(queries)
        elif self._calm >= PATIENCE or self._new_budget:
            self._step_up(queries)
        self._started, self._over, self._new_budget = True, False, False
        self._judge_hope(queries)
        return self._level

    @property
    def _room_ms(self) -> float:
        """What a level's prediction may be at most for a change to it."""
        return MARGIN * self._budget_ms / self._caution.factor

    def _outgrown(self, queries: int) -> bool:
        """Tell whether the level in use no longer fits what was asked for since the last frame."""
        return ((self._new_budget or queries > self._queries)
                and self._predict(self._level, queries) > self._budget_ms)

    def _step_down(self, queries: int) -> None:
        """Leave for the best cheaper level that fits, or for the cheapest."""
        if self._over and self._over_in_a_row > 1:
            self._move(self._cheapest(queries))
        else:
            self._move(self._best_fit(range(self._level + 1, self.predictor.levels), queries))

    def _step_up(self, queries: int) -> None:
        """Try the best level that fits with a margin and did not fail lately, or probe one."""
        for level in range(self._level):
            predicted = self.predictor.predict(level, queries)
            if predicted <= self._room_ms and self._trials.allowed(level, predicted):
                self._try_out(level, predicted)
                return
        if self._level and self._trials.probe_due(self._calm):
            above = self._level - 1
            self._try_out(above, self.predictor.predict(above, queries), probe=True)

    def _try_out(self, level: int, predicted_ms: float, probe: bool = False) -> None:
        steady = self.predictor.steady(TYPICAL_FRAMES)
        self._trials.begin(Trial(level, predicted_ms,
                                 self.predictor.slowdown() if steady else None, probe))
        self._move(level)

    def _learn_from(self, trial: Trial) -> None:
        """Correct the level's cost by its first frames, unless the load changed meanwhile.

        A load that changed at the very step up looks like a wrong reference. That much is believed
        of a probe alone, which is there to find it out.
        """
        if trial.slowdown is not None and self.predictor.steady(PATIENCE):
            self.predictor.learn(trial.level, trial.slowdown,
                                 most=math.inf if trial.probe else SAME_LOAD)

    def _best_fit(self, levels: range, queries: int) -> int:
        """Return the first level that fits with a margin; without any, the cheapest of all."""
        for level in levels:
            if self._predict(level, queries) <= self._room_ms:
                return level
        return self._cheapest(queries)

    def _cheapest(self, queries: int) -> int:
        """Return the level of the smallest prediction, of equals the last."""
        return min(reversed(range(self.predictor.levels)),
                   key=lambda level: self._predict(level, queries))

    def _predict(self, level: int, queries: int) -> float:
        """Return what the last frames would have cost, or the very last one if it cost more."""
        predicted = self.predictor.predict(level, queries)
        if not self._over:
            return predicted
        return max(predicted, self.predictor.predict(level, queries, frames=1))

    def _judge_hope(self, queries: int) -> None:
        if 0 < self.predictor.frames < TYPICAL_FRAMES:
            return  # one slow frame is no reason to give up hope
        self._hopeless = all(self.predictor.typical(level, queries) > self._budget_ms
                             for level in reversed(range(self.predictor.levels)))

    def _move(self, level: int) -> None:
        if level != self._level:
            self._level = level
            self._calm = 0
