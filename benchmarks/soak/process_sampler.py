"""Memory, open files and threads of another process, once a second."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A process at one moment.

    Attributes:
        seconds: since the first sample.
        resident_mb: memory, 10^6 bytes.
        allocated_mb: the part of it that the process has allocated; the rest are pages of libraries
            and files, which come and go as the kernel likes.
        files: open file descriptors.
        threads: of the process.
    """

    seconds: float
    resident_mb: float
    allocated_mb: float
    files: int
    threads: int


class ProcessSampler:
    """Collect samples of a process of one's own user."""

    def __init__(self, pid: int, interval: float = 1.0) -> None:
        """Begin now; see :meth:`wait_and_sample`.

        Args:
            pid: of the process.
            interval: seconds between two samples.
        """
        self._folder = Path("/proc") / str(pid)
        self._interval = interval
        self._begin = time.monotonic()
        self.samples: list[Sample] = []

    def wait_and_sample(self) -> None:
        """Wait until the next sample is due, and take it.

        Raises:
            OSError: the process has ended.
        """
        due = self._begin + len(self.samples) * self._interval
        time.sleep(max(0.0, due - time.monotonic()))
        status = dict(line.split(":", 1) for line in
                      (self._folder / "status").read_text().splitlines())
        self.samples.append(Sample(
            time.monotonic() - self._begin, _megabytes(status["VmRSS"]),
            _megabytes(status["RssAnon"]), len(os.listdir(self._folder / "fd")),
            int(status["Threads"])))


def _megabytes(text: str) -> float:
    """Read a size such as "1234 kB"."""
    return int(text.split()[0]) * 1024 / 1e6
