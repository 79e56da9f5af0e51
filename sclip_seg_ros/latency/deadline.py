"""The end of a frame's time, asked before every iteration of a refinement."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise


class Deadline:
    """Tell whether one more iteration ends in time.

    The next iteration is taken to last as long as the shorter of the last two intervals between
    questions: the longer one may hold the preparation of a refinement, which comes but once.
    """

    def __init__(self, at: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            at: seconds of the clock by which the last iteration must have ended.
            clock: what time is taken from.
        """
        self._at = at
        self._clock = clock
        self._asked: deque[float] = deque(maxlen=3)  # two intervals

    def __call__(self) -> bool:
        """Return whether an iteration that begins now ends before the deadline."""
        self._asked.append(self._clock())
        return self._asked[-1] + self.iteration_seconds <= self._at

    @property
    def iteration_seconds(self) -> float:
        """How long an iteration takes, by the last questions; 0 before the second question."""
        return min((later - earlier for earlier, later in pairwise(self._asked)), default=0.0)
