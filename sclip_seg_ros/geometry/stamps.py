"""Which message of one topic belongs to which of another, by stamps that nearly agree."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

RECENT = 8   # companions kept for frames that are still to come
WAITING = 8  # frames that companions are looked for, at most

Frame = TypeVar("Frame")
Companion = TypeVar("Companion")


def stamp_of(header: Any) -> int:
    """Return the stamp of a std_msgs Header, rclpy's or a recording's, in nanoseconds."""
    return header.stamp.sec * 10**9 + header.stamp.nanosec


@dataclass(frozen=True)
class Match(Generic[Frame, Companion]):
    """A frame, and the companion nearest to it.

    Attributes:
        frame: the frame.
        companion: None where none was within the tolerance.
        gap: nanoseconds to the nearest, companion or not; None where there was none at all.
    """

    frame: Frame
    companion: Companion | None
    gap: int | None


@dataclass
class _Entry(Generic[Frame, Companion]):
    stamp: int
    frames: list[Frame] = field(default_factory=list)  # of drivers that repeat a stamp, several
    best: Companion | None = None
    gap: int | None = None

    def matches(self) -> list[Match[Frame, Companion]]:
        """Return its frames with the nearest companion so far."""
        return [Match(frame, self.best, self.gap) for frame in self.frames]


class StampMatcher(Generic[Frame, Companion]):
    """Find the companion whose stamp is nearest to a frame's, within a tolerance.

    A frame is expected when it arrives and handed in when it is finished, which may be much later:
    for each that is expected, only the nearest companion is held. Stamps of companions ascend, so
    the nearest is known once one at or after the frame's stamp has come, or a frame has waited for
    so many others that none will come. Stamps that jump back, as when a recording begins anew,
    start everything over: what waits gets its nearest so far. Of companions with one stamp, as of
    drivers that set none, a frame gets the last that came before it. Not safe between threads.

    Attributes:
        tolerance: nanoseconds.
        newest: stamp of the newest companion; None before the first.
    """

    def __init__(self, tolerance: int) -> None:
        """Begin with nothing expected."""
        self.tolerance = tolerance
        self.newest: int | None = None
        self._recent: deque[tuple[int, Companion]] = deque(maxlen=RECENT)
        self._entries: dict[int, _Entry[Frame, Companion]] = {}
        self._overdue: list[Match[Frame, Companion]] = []

    def clear(self) -> None:
        """Forget frames and companions."""
        self.newest = None
        self._recent.clear()
        self._entries.clear()
        self._overdue.clear()

    def expect(self, stamp: int) -> None:
        """Note that a frame has arrived, and is being worked on."""
        if stamp in self._entries:
            return
        entry = self._entries[stamp] = _Entry(stamp)
        for other, companion in reversed(self._recent):
            self._compare(entry, other, companion)
        while len(self._entries) > WAITING:
            oldest = self._entries.pop(next(iter(self._entries)))
            self._overdue += oldest.matches()  # what came late, or never will, is awaited no longer

    def forget(self, stamp: int) -> None:
        """Note that a frame will not be handed in."""
        self._entries.pop(stamp, None)

    def add_companion(self, stamp: int, companion: Companion) -> list[Match[Frame, Companion]]:
        """Take a companion; return the frames whose nearest is now known, oldest first."""
        if self.newest is not None and stamp < self.newest:
            waiting = self.rest()
            self.clear()
            self._overdue = waiting
        self.newest = stamp
        self._recent.append((stamp, companion))
        for entry in self._entries.values():
            self._compare(entry, stamp, companion)
        return self._decided()

    def add_frame(self, stamp: int, frame: Frame) -> list[Match[Frame, Companion]]:
        """Take a finished frame; return the frames whose nearest is known, oldest first."""
        self.expect(stamp)
        self._entries[stamp].frames.append(frame)
        return self._decided()

    def rest(self) -> list[Match[Frame, Companion]]:
        """Return the frames that still wait, each with its nearest so far; none will come."""
        entries, self._entries = self._entries, {}
        return self._overdue + [match for entry in entries.values() for match in entry.matches()]

    def _compare(self, entry: _Entry[Frame, Companion], stamp: int, companion: Companion) -> None:
        gap = abs(stamp - entry.stamp)
        if entry.gap is None or gap < entry.gap:
            entry.gap = gap
            entry.best = companion if gap <= self.tolerance else None

    def _decided(self) -> list[Match[Frame, Companion]]:
        matches, self._overdue = self._overdue, []
        for entry in list(self._entries.values()):
            known = entry.gap == 0 or self.newest is not None and self.newest >= entry.stamp
            if entry.frames and known:
                del self._entries[entry.stamp]
                matches += entry.matches()
        return matches
