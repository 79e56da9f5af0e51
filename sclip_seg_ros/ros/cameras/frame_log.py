"""What became of the frames, counted, and how long they took."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

WINDOW_FRAMES = 100
WINDOW_SECONDS = 10.0
INTERVALS = 10       # newest gaps between frames that tell the camera's interval
BUDGET_FRAMES = 200  # labelled frames whose misses of the budget are told apart from earlier ones


@dataclass(frozen=True)
class Counts:
    """Frames since the node was configured, and the newest error.

    Attributes:
        received: arrived in the node.
        dropped: not worked on, because a newer frame replaced them, because they had waited while
            changes were taken over and were no longer new, or because the node was deactivated.
        labelled: all their outputs came out.
        rejected: could not be read.
        failed: the pipeline raised an exception.
        skipped: not worked on, because nobody listened.
        missed: labelled, but over the latency budget.
        last_error: newest error, empty when none.
        last_error_at: its time on the monotonic clock, seconds.
        failing: whether the newest frame worked on failed, since the node became active.
        missed_lately: of the last ``BUDGET_FRAMES`` labelled frames, those over the budget.
        last_miss_at: time of the newest frame over the budget on the monotonic clock, seconds.
    """

    received: int = 0
    dropped: int = 0
    labelled: int = 0
    rejected: int = 0
    failed: int = 0
    skipped: int = 0
    missed: int = 0
    last_error: str = ""
    last_error_at: float = float("-inf")
    failing: bool = False
    missed_lately: int = 0
    last_miss_at: float = float("-inf")

    @property
    def answered(self) -> int:
        """Frames that were worked on, whatever came of it, or deliberately were not."""
        return self.labelled + self.rejected + self.failed + self.skipped


class FrameLog:
    """Counts and a window of latencies; written by the frame path, read by the diagnostics."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._lock = threading.Lock()
        self._counts = Counts()
        self._arrivals: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._latencies: deque[tuple[float, dict[str, float]]] = deque(maxlen=WINDOW_FRAMES)
        self._keyframes: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._misses: deque[bool] = deque(maxlen=BUDGET_FRAMES)

    @property
    def counts(self) -> Counts:
        """A consistent copy of the counts."""
        with self._lock:
            return self._counts

    def begin(self) -> None:
        """Start anew, without knowing whether frames fail; what was counted stays."""
        with self._lock:
            self._counts = replace(self._counts, failing=False)

    def received(self) -> None:
        """Count an arrival."""
        with self._lock:
            self._arrivals.append(time.monotonic())
            self._add(received=1)

    def dropped(self) -> None:
        """Count a frame that was not worked on."""
        with self._lock:
            self._add(dropped=1)

    def labelled(self) -> None:
        """Count a frame that came out as labels."""
        with self._lock:
            self._add(labelled=1)
            self._counts = replace(self._counts, failing=False)

    def timed(self, milliseconds: Mapping[str, float], missed: bool) -> None:
        """Note the times of a labelled frame, and whether it missed its budget."""
        with self._lock:
            now = time.monotonic()
            self._latencies.append((now, dict(milliseconds)))
            self._misses.append(missed)
            self._add(missed=missed)
            self._counts = replace(self._counts, missed_lately=sum(self._misses),
                                   last_miss_at=now if missed else self._counts.last_miss_at)

    def keyframe(self) -> None:
        """Count a frame whose scores the image tower made."""
        with self._lock:
            self._keyframes.append(time.monotonic())

    def skipped(self) -> None:
        """Count a frame that nobody wanted."""
        with self._lock:
            self._add(skipped=1)

    def rejected(self, error: str) -> None:
        """Count a frame that could not be read."""
        with self._lock:
            self._add(rejected=1)
            self._note(error)

    def failed(self, error: str) -> None:
        """Count a frame whose processing raised an exception."""
        with self._lock:
            self._add(failed=1)
            self._note(error)
            self._counts = replace(self._counts, failing=True)

    def note(self, error: str) -> None:
        """Remember an error that is no frame's."""
        with self._lock:
            self._note(error)

    def seconds_since_arrival(self) -> float:
        """Return the age of the newest arrival, infinite before the first."""
        with self._lock:
            return time.monotonic() - self._arrivals[-1] if self._arrivals else float("inf")

    def rates(self) -> tuple[float, float]:
        """Return frames a second that arrived and that were labelled.

        They are those of the last ten seconds, at most the newest 100.
        """
        with self._lock:
            return (_rate(self._arrivals), _rate([at for at, _ in self._latencies]))

    def interval(self, unknown: float) -> float:
        """Return the seconds between two arrivals, the median of the newest.

        Args:
            unknown: to be returned before there are any.
        """
        with self._lock:
            newest = np.array(list(self._arrivals)[-INTERVALS - 1:])
        return float(np.median(np.diff(newest))) if len(newest) > 1 else unknown

    @property
    def keyframes_hz(self) -> float:
        """Keyframes a second, over the last ten seconds."""
        with self._lock:
            return _rate(self._keyframes)

    @property
    def newest(self) -> dict[str, float]:
        """Milliseconds by stage of the frame labelled last; empty before the first."""
        with self._lock:
            return dict(self._latencies[-1][1]) if self._latencies else {}

    def percentiles(self) -> dict[str, tuple[float, float, float]]:
        """Return median, 95th percentile and maximum in milliseconds by stage, in their order.

        They are over the frames of the last ten seconds, at most the newest 100.
        """
        with self._lock:
            recent = [times for at, times in self._latencies
                      if time.monotonic() - at <= WINDOW_SECONDS]
        stages: dict[str, list[float]] = {}
        for times in recent:
            for stage, value in times.items():
                stages.setdefault(stage, []).append(value)
        found = {}
        for stage, spent in stages.items():
            median, most = np.percentile(spent, (50, 95))
            found[stage] = float(median), float(most), max(spent)
        return found

    def _add(self, **amounts: int) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + amount
                                                for name, amount in amounts.items()})

    def _note(self, error: str) -> None:
        self._counts = replace(self._counts, last_error=error, last_error_at=time.monotonic())


def _rate(times) -> float:
    """Return events a second among times of the monotonic clock, oldest first."""
    recent = [at for at in times if time.monotonic() - at <= WINDOW_SECONDS]
    return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
