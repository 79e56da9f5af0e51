"""The end of a frame's time, asked before every iteration of a refinement."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Deadline:
    """Tell whether one more iteration ends in time; after a no, nothing begins any more.

    The next iteration is taken to last as long as the shorter of the last two intervals between
    questions of one refinement: the longer one may hold its preparation, which comes but once.
    """

    def __init__(self, at: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            at: seconds of the clock by which the last iteration must have ended.
            clock: what time is taken from.
        """
        self._at = at
        self._clock = clock
        self._asked_at = 0.0
        self._intervals: deque[float] = deque(maxlen=2)
        self._over = False

    def __call__(self, ran: int) -> bool:
        """Return whether an iteration that begins now ends before the deadline.

        Args:
            ran: iterations of the same refinement before it; 0 begins another refinement.
        """
        if self._over:
            return False
        now = self._clock()
        if ran:
            self._intervals.append(now - self._asked_at)
        self._asked_at = now
        self._over = now + self.iteration_seconds > self._at
        return not self._over

    @property
    def iteration_seconds(self) -> float:
        """How long an iteration takes, by the last ones before a no; 0 before the second one."""
        return min(self._intervals, default=0.0)
