"""What became of steps up: which levels may be tried again, and when."""

from __future__ import annotations

from dataclasses import dataclass

from sclip_seg_ros.latency.predictor import Costs

PROVEN = 100          # frames a level must last: one over the budget in fewer breaks the 99 %
LONGEST_WAIT = 1000   # frames between two attempts at most
MOST_DOUBLINGS = 4    # of the time between two probes
RELIEF = 0.85         # a failure counts no more once the prediction fell to this share


@dataclass
class Trial:
    """A step up.

    Attributes:
        level: that was stepped up to.
        predicted_ms: why it was dared.
        slowdown: the load just before, where it stood still.
        probe: it was dared against its prediction.
        frames: that it has lasted.
    """

    level: int
    predicted_ms: float
    slowdown: Costs | None
    probe: bool
    frames: int = 0


class Trials:
    """Exponential back-off of failed steps up, counted in frames.

    A step up fails when a frame is over the budget within the next 100. The level and all better
    ones are then barred, twice as long as the time before; the bar falls early when the load does,
    for a failure says nothing about another load. After 100 frames the level has proven itself and
    its next failure counts as the first.
    """

    def __init__(self, levels: int, patience: int, probe_after: int) -> None:
        """Start with nothing barred; the first bar lasts ``patience`` frames."""
        self._patience = patience
        self._probe_after = probe_after
        self._failed_probes = 0
        self._now = 0
        self._wait = [patience] * levels
        self._barred_until = [0] * levels
        self._failed_ms = [0.0] * levels
        self._trial: Trial | None = None

    def forget(self) -> None:
        """Lift every bar; the budget changed."""
        levels = len(self._wait)
        self._wait = [self._patience] * levels
        self._barred_until = [0] * levels
        self._failed_probes = 0
        self._trial = None

    def allowed(self, level: int, predicted_ms: float) -> bool:
        """Tell whether a level may be tried; a bar on a cheaper level bars the better ones too."""
        return all(self._now >= until or predicted_ms < RELIEF * failed
                   for until, failed in zip(self._barred_until[level:], self._failed_ms[level:],
                                            strict=True))

    def probe_due(self, calm: int) -> bool:
        """Tell whether it is time to try a level against its prediction."""
        return 0 < self._probe_after << self._failed_probes <= calm

    def begin(self, trial: Trial) -> None:
        """Note a step up."""
        self._trial = trial

    def frame(self, level: int, over: bool, spike: bool = False) -> Trial | None:
        """Count a frame at the level in use.

        Args:
            level: the level in use.
            over: the frame was over the budget.
            spike: it took far longer than those before it: no verdict on a level that had run
                calmly for a while.

        Returns:
            The step up, once its level has run long enough to learn from.
        """
        self._now += 1
        trial = self._trial if self._trial and self._trial.level == level else None
        self._trial = trial
        if over:
            self._bar(level, trial, spike)
            self._trial = None
        elif trial is not None:
            trial.frames += 1
            if trial.frames == PROVEN:
                self._wait[level] = self._patience
                self._trial = None
            if trial.frames == self._patience:
                if trial.probe:
                    self._failed_probes = 0
                return trial
        return None

    def _bar(self, level: int, trial: Trial | None, spike: bool) -> None:
        wait = self._patience
        self._failed_ms[level] = 0.0
        if trial is None:
            self._wait[level] = wait
        elif not spike or trial.frames < self._patience:
            wait = self._wait[level] = min(2 * self._wait[level], LONGEST_WAIT)
            self._failed_ms[level] = trial.predicted_ms
            self._failed_probes = min(self._failed_probes + trial.probe, MOST_DOUBLINGS)
        self._barred_until[level] = self._now + wait
