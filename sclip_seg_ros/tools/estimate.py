"""`--dry-run`: how much work there is, how long it takes, how much disk it wants."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.common.text import in_number

PROBED = 5  # frames that are labelled; the first one warms up
_Frame = TypeVar("_Frame")


@dataclass
class Estimate:
    """What there is to do.

    Attributes:
        sources: recordings, films and photos.
        pieces: of them.
        frames: to be labelled and kept.
        run_ins: frames more that are labelled for what follows them.
        seconds: of one worker on this computer.
        results: bytes of the results.
        meanwhile: bytes of the pieces, until they are put together.
    """

    sources: int = 0
    pieces: int = 0
    frames: int = 0
    run_ins: float = 0.0
    seconds: float = 0.0
    results: float = 0.0
    meanwhile: float = 0.0

    def add(self, pieces: list[Piece], span: int, frames: int, cost: Cost) -> None:
        """Add a recording or a film.

        Args:
            pieces: of it.
            span: its length in their unit.
            frames: that it has.
            cost: of one of them.
        """
        before = sum(piece.begin - piece.run_in for piece in pieces) / max(1, span) * frames
        self.sources += 1
        self.pieces += len(pieces)
        self.frames += frames
        self.run_ins += before
        self.seconds += (frames + before) * cost.seconds
        self.results += frames * cost.results
        self.meanwhile += frames * cost.packed

    def scale(self, sources: int, factor: float) -> None:
        """Reckon from what was added, one source, what several are that are so much larger."""
        self.sources = self.pieces = sources
        self.frames = round(self.frames * factor)
        self.seconds, self.results = self.seconds * factor, self.results * factor
        self.meanwhile = 0.0

    def join(self, other: Estimate) -> None:
        """Add all that another one holds."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def lines(self, workers: int | None) -> list[str]:
        """Say it to people."""
        more = f" and {self.run_ins:.0f} of run-ins" if self.run_ins else ""
        alone = timedelta(seconds=round(self.seconds))
        rate = (self.frames + self.run_ins) / max(self.seconds, 1e-9)
        shared = f", {timedelta(seconds=round(self.seconds / workers))} for {workers} of them" \
            if workers and workers > 1 else "; workers share it"
        return [f"{in_number(self.sources, 'source')}, {in_number(self.pieces, 'piece')}, "
                f"{in_number(self.frames, 'frame')} to label{more}",
                f"about {alone} for one worker like this computer ({rate:.2f} frames a second)"
                f"{shared}",
                f"disk: about {_size(self.results)} for the results, and {_size(self.meanwhile)} "
                "for pieces until they are put together"]


@dataclass(frozen=True)
class Cost:
    """What one frame costs: seconds, bytes of its results, bytes of it in a piece."""

    seconds: float
    results: float
    packed: float


def compute_like_a_worker(arguments: argparse.Namespace) -> None:
    """Compute with the threads that one of Ray's workers has: as many as cores."""
    if arguments.ray is not None:
        torch.set_num_threads(math.ceil(arguments.ray_cpus or 1))


def probe(frames: Iterable[_Frame], label: Callable[[_Frame], tuple[float, float]]) -> Cost | None:
    """Label a few frames; return what one of them costs, None without any.

    Args:
        frames: to label.
        label: labels one, and returns the bytes of its results and of it in a piece.
    """
    seconds, sizes = [], []
    for number, frame in enumerate(frames):
        start = time.monotonic()
        sizes.append(label(frame))
        seconds.append(time.monotonic() - start)
        if number + 1 == PROBED:
            break
    if not sizes:
        return None
    results, packed = (sum(column) / len(sizes) for column in zip(*sizes, strict=True))
    kept = seconds[1:] or seconds
    return Cost(sum(kept) / len(kept), results, packed)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
