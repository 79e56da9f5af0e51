"""The frames that are segmented already, on disk, so that an interrupted run can go on."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sclip_seg_ros.common.text import differing

_FRAMES = ("SELECT topic, stamp, problem, height, width, labels, coverage, mean_confidence, "
           "confidence FROM frames")


class ForeignRunError(ValueError):
    """Finished frames cannot be continued: of another run, or no such file; says what to do."""


@dataclass(frozen=True)
class Frame:
    """What came of one image message.

    Attributes:
        topic: of the image.
        stamp: when it was recorded, in nanoseconds.
        problem: why it could not be segmented; empty if it could.
        labels: (H, W) uint8; None with a problem.
        coverage, mean_confidence: (C,) float32; None with a problem.
        confidence: (H, W) uint8; None where nobody needs it.
    """

    topic: str
    stamp: int
    problem: str = ""
    labels: np.ndarray | None = None
    coverage: np.ndarray | None = None
    mean_confidence: np.ndarray | None = None
    confidence: np.ndarray | None = None


class FinishedFrames:
    """Frames in the order of their images; each is safe on disk once it was appended."""

    def __init__(self, path: Path, run: Mapping[str, Any], lasting: bool = True) -> None:
        """Open the file, or begin one; its folder is made.

        Args:
            path: of the file.
            run: all that the frames depend on.
            lasting: whether frames shall outlast a computer that fails; without that nothing waits
                for the disk.

        Raises:
            ForeignRunError: it belongs to another run, or is no such file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            if not lasting:
                self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute("CREATE TABLE IF NOT EXISTS run (description TEXT NOT NULL)")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS frames (number INTEGER PRIMARY KEY, topic TEXT, "
                "stamp INTEGER, problem TEXT, height INTEGER, width INTEGER, labels BLOB, "
                "coverage BLOB, mean_confidence BLOB, confidence BLOB)")
            self._database.execute("CREATE TABLE IF NOT EXISTS checkpoint "
                                   "(count INTEGER, topic TEXT, state BLOB)")
            self._claim(run)
            self.count = self._database.execute("SELECT count(*) FROM frames").fetchone()[0]
        except sqlite3.Error as error:
            self.close()
            raise ForeignRunError(f"'{path}' cannot be continued ({error}); add --restart") \
                from error
        except ForeignRunError:
            self.close()
            raise

    def append(self, frame: Frame) -> None:
        """Write one more frame."""
        height, width = (None, None) if frame.labels is None else frame.labels.shape
        self._database.execute(
            "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.count, frame.topic, frame.stamp, frame.problem, height, width,
             _packed(frame.labels), _plain(frame.coverage), _plain(frame.mean_confidence),
             _packed(frame.confidence)))
        self.count += 1

    def keep(self, states: Mapping[str, bytes]) -> None:
        """Replace the checkpoint: what is carried on, by topic, after the frames there are."""
        with self._database:  # all of it, or nothing
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM checkpoint")
            self._database.executemany(
                "INSERT INTO checkpoint VALUES (?, ?, ?)",
                [(self.count, topic, state) for topic, state in states.items()])

    def checkpoint(self) -> tuple[int, dict[str, bytes]]:
        """Return how many frames there were at the last checkpoint, 0 without one, and its states.
        """
        rows = self._database.execute("SELECT count, topic, state FROM checkpoint").fetchall()
        return (rows[0][0] if rows else 0), {topic: state for _, topic, state in rows}

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in their order."""
        yield from map(_frame, self._database.execute(f"{_FRAMES} ORDER BY number"))

    def problems(self) -> Iterator[tuple[str, str, int]]:
        """Yield topic, reason and number of images that could not be segmented."""
        yield from self._database.execute(
            "SELECT topic, problem, count(*) FROM frames WHERE problem != '' GROUP BY topic, "
            "problem ORDER BY min(number)")

    def last(self, topic: str) -> Frame | None:
        """Return the last frame of a topic; None where there is none."""
        row = self._database.execute(f"{_FRAMES} WHERE topic = ? ORDER BY number DESC LIMIT 1",
                                     (topic,)).fetchone()
        return None if row is None else _frame(row)

    def first_stamp(self, topic: str) -> int | None:
        """Return when the first frame of a topic was recorded; None where there is none."""
        return self._database.execute("SELECT min(stamp) FROM frames WHERE topic = ?",
                                      (topic,)).fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _claim(self, run: Mapping[str, Any]) -> None:
        """Write the description of a new run, or compare it with that of an earlier one."""
        found = self._database.execute("SELECT description FROM run").fetchone()
        if found is None:
            self._database.execute("INSERT INTO run VALUES (?)", (json.dumps(run),))
            return
        if different := differences(json.loads(found[0]), run):
            raise ForeignRunError(f"'{self._path.parent}' was begun with another "
                                  f"{different}; go back to that one, or add --restart")


def _frame(row: Sequence[Any]) -> Frame:
    topic, stamp, problem, height, width, labels, coverage, mean, sure = row
    if labels is None:
        return Frame(topic, stamp, problem)
    return Frame(topic, stamp, problem, _plane(labels, height, width),
                 np.frombuffer(coverage, np.float32), np.frombuffer(mean, np.float32),
                 _plane(sure, height, width))


def _plain(values: np.ndarray | None) -> bytes | None:
    return None if values is None else values.tobytes()


def _packed(plane: np.ndarray | None) -> bytes | None:
    return None if plane is None else zlib.compress(plane.tobytes(), 1)


def _plane(packed: bytes | None, height: int, width: int) -> np.ndarray | None:
    return None if packed is None else \
        np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name what two descriptions of runs differ in; empty if in nothing."""
    return differing(old, json.loads(json.dumps(new)))
