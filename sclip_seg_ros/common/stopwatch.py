"""How long each stage of a frame took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Stopwatch:
    """Collect the milliseconds of named stages, in the order they first ran.

    On CUDA the stages are marked with events, read once in :meth:`milliseconds`, so that measuring
    adds no synchronisation between stages. A stage that runs twice counts twice.
    """

    def __init__(self, device: torch.device | str = "cpu",
                 clock: Callable[[], float] | None = None) -> None:
        """Measure with CUDA events on a CUDA device, else by a clock of seconds.

        Without one it is the monotonic clock; ``time.thread_time`` leaves other programs out.
        """
        self._clock = clock
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` statement under a name; a body that raises is not counted."""
        begin = self._mark()
        yield
        self._marks.append((name, begin, self._mark()))

    def milliseconds(self) -> dict[str, float]:
        """Return milliseconds by stage; on CUDA this waits for the work measured."""
        result: dict[str, float] = {}
        for name, begin, end in self._marks:
            if self._cuda:
                end.synchronize()
            span = begin.elapsed_time(end) if self._cuda else (end - begin) * 1e3
            result[name] = result.get(name, 0.0) + span
        return result

    def _mark(self):
        if not self._cuda:
            return (self._clock or time.perf_counter)()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # not always the current device's
        return event
