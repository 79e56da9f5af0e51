"""Refinement that may stop after any iteration: who says when, how many ran, how many did not."""

from __future__ import annotations

from collections.abc import Callable

import torch

KeepGoing = Callable[[int], bool]  # of how many iterations a refinement has run


class Iterations:
    """Ask before every iteration of a refinement whether to go on, and count those that ran.

    Attributes:
        planned: iterations that run where nobody says no.
        ran: those that did.
    """

    def __init__(self, planned: int, keep_going: KeepGoing | None,
                 device: torch.device | str) -> None:
        """Begin a refinement.

        Args:
            planned: iterations at most.
            keep_going: asked before each iteration, with the number of those that ran; None never
                stops.
            device: where the work runs. A GPU works behind its queue, so it is waited for before
                each question: a clock that ``keep_going`` reads means something only then.
        """
        self.planned = planned
        self.ran = 0
        self._keep_going = keep_going
        self._device = torch.device(device)
        self._asked_ahead: bool | None = None

    @property
    def missing(self) -> int:
        """Iterations that were planned and did not run."""
        return self.planned - self.ran

    def may_start(self) -> bool:
        """Ask for the first iteration ahead, to spare a refinement's preparation after a no."""
        self._asked_ahead = self.planned > 0 and self._ask()
        return self._asked_ahead

    def __call__(self) -> bool:
        """Tell whether one more iteration may run, and count it."""
        answer, self._asked_ahead = self._asked_ahead, None
        if answer is None:
            answer = self._ask()
        self.ran += answer
        return answer

    def _ask(self) -> bool:
        if self._keep_going is None:
            return True
        if self._device.type == "cuda":
            # Not for the whole device: that would break a graph recorded in another thread.
            torch.cuda.current_stream(self._device).synchronize()
        return bool(self._keep_going(self.ran))
