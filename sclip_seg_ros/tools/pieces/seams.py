"""Where pieces meet: whether their labels are those of one go, and if not, how far they differ."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.temporal import LONGEST_GAP, FilmSegmentor
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames, Frame


@dataclass(frozen=True)
class Seam:
    """A place where labels need not be those of one go.

    Attributes:
        topic: of the images; empty for a film.
        stamp: of the first frame of the piece behind it, in nanoseconds.
        share: of the pixels of the frame before it, on which both pieces disagree; None where the
            run-in had none.
    """

    topic: str
    stamp: int
    share: float | None


class Entrance:
    """Note what a piece knew when its first frame came, and what it leaves behind."""

    def __init__(self) -> None:
        """Begin a piece."""
        self._notes: dict[str, bytes] = {}

    def saw(self, topic: str, labels: np.ndarray | None) -> None:
        """Take the labels of a frame of the run-in."""
        self._notes[f"saw {topic}"] = b"" if labels is None else zlib.compress(labels.tobytes(), 1)

    def enter(self, topic: str, film: FilmSegmentor) -> None:
        """Note what is known before the first frame that is kept."""
        self._notes.setdefault(f"enter {topic}", _digest(film))

    def leave(self, films: Mapping[str, FilmSegmentor]) -> dict[str, bytes]:
        """Return all notes, with what is known after the last frame."""
        return self._notes | {f"leave {topic}": _digest(film) for topic, film in films.items()}


def seams_of(pieces: Iterable[FinishedFrames], topics: Iterable[str]) -> list[Seam]:
    """Return the seams behind which labels may differ from those of one go.

    Behind the others they are the same: both pieces knew the same to the bit, or the images pause
    so long that nothing is carried over.
    """
    found: list[Seam] = []
    before: dict[str, tuple[Frame, Any]] = {}  # last frame, and what was known after it
    wanted = list(topics)
    for piece in pieces:
        _, notes = piece.checkpoint()
        for topic in wanted:
            first, newest = piece.first_stamp(topic), piece.last(topic)
            if first is None or newest is None:
                continue
            if topic in before:
                last, known = before[topic]
                same = known and known == notes.get(f"enter {topic}")
                if not same and first - last.stamp <= LONGEST_GAP * 1e9:
                    found.append(Seam(topic, first,
                                      _differing(last.labels, notes.get(f"saw {topic}"))))
            before[topic] = newest, notes.get(f"leave {topic}")
    return found


def sentence(name: object, pieces: int, seams: Sequence[Seam]) -> str:
    """Say how far the labels of pieces are those of one go; empty for one piece."""
    if pieces == 1:
        return ""
    if not seams:
        return f"{name}: {pieces} pieces, with the labels of one go"
    known = [seam.share for seam in seams if seam.share is not None]
    told = f", where {100 * max(known):.2f} % of the pixels differ at most" if known else ""
    return (f"{name}: {pieces} pieces; labels may differ from those of one go behind "
            f"{in_number(len(seams), 'seam')}{told}; a longer --run-in lessens it")


def _digest(film: FilmSegmentor) -> bytes:
    try:
        return hashlib.sha256(film.state()).digest()
    except ValueError:  # its newest frame could not be labelled
        return b""


def _differing(labels: np.ndarray | None, packed: bytes | None) -> float | None:
    if labels is None or not packed:
        return None
    other = np.frombuffer(zlib.decompress(packed), np.uint8)
    return float((other != labels.reshape(-1)).mean()) if other.size == labels.size else None
