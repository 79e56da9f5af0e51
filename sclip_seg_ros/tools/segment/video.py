"""Video files in and out, frame by frame."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np

from sclip_seg_ros.io.file_kinds import found_instead
from sclip_seg_ros.segmentation import Vocabulary
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.tools.console import readable
from sclip_seg_ros.tools.segment.outputs import beside, statistics, write_json

# A video that cannot be opened is reported in our own words, on one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_ERRORS_ALONE = 2  # LOG_LEVEL_ERROR, a name that OpenCV 4 does not give to Python
(cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2).setLogLevel(_ERRORS_ALONE)

VIDEO_RESULTS = _OVERLAY, _LABEL, _CONFIDENCE = ".overlay.mp4", ".label.mkv", ".confidence.mkv"
DEFAULT_RATE = 25.0  # frames per second, for a file that tells none
_TIME_BASE = 1000.0  # a file that tells as many frames per second means its clock
# Those that the wheels of OpenCV do not decode, by their marks in MP4, Matroska and AVI.
_UNKNOWN_CODECS = {b"av01": "AV1", b"V_AV1": "AV1", b"AV01": "AV1", b"vvc1": "H.266 (VVC)",
                   b"vvi1": "H.266 (VVC)", b"V_MPEGI/ISO/VVC": "H.266 (VVC)", b"evc1": "EVC"}
_SEARCHED = 1 << 20  # bytes at either end of a film
_SIDES = (16, 8190)  # smallest and largest of an MPEG-4 film


class VideoError(ValueError):
    """A video cannot be read or written; the message says which and what to do."""


class Labels(Protocol):
    """What is written of a frame; a SegmentationResult has more."""

    @property
    def labels(self) -> np.ndarray:
        """(H, W) uint8."""

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) uint8."""

    @property
    def coverage(self) -> np.ndarray:
        """(C,) float32."""

    @property
    def mean_confidence(self) -> np.ndarray:
        """(C,) float32."""


class VideoSource:
    """The frames of a video file, upright, as RGB.

    Attributes:
        told: frames per second, as the file says.
        rate: the same; a usual one where the file says none that can be.
        announced: number of frames, as the file says; None where it does not.
        seconds: when the last frame that was yielded is shown.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            VideoError: it cannot be opened.
        """
        _check_name(path)
        self._path = path
        self._capture = cv2.VideoCapture(film_url(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(f"video '{readable(path)}' cannot be opened; " + (
                found_instead(path, "film") or _unknown_codec(path) or "it is damaged or cut "
                "short, or in a format that OpenCV lacks"))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.told = rate
        self.rate = rate if math.isfinite(rate) and 0 < rate < _TIME_BASE else DEFAULT_RATE
        self.seconds = 0.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.announced = int(count) if math.isfinite(count) and count > 0 else None

    def frames(self, begin: int = 0) -> Generator[np.ndarray, None, None]:
        """Yield (H, W, 3) uint8 RGB frames, and close the file at the end.

        Args:
            begin: index of the first one. Those before are decoded, too, because films cannot be
                entered exactly anywhere else than at their beginning.

        Raises:
            VideoError: there is none that can be read.
        """
        try:
            for index in itertools.count():
                found = self._capture.grab()
                if not found and index == 0:
                    raise VideoError(self._without_frames())
                if not found:
                    return
                self.seconds = self._time_of(index)
                if index >= begin:
                    found, pixels = self._capture.retrieve()
                    if not found:
                        return
                    yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()

    def _without_frames(self) -> str:
        """Say why nothing can be read: OpenCV opens films of codecs that it cannot decode."""
        number = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xffffffff
        code = number.to_bytes(4, "little").decode("latin-1").strip("\0 ")
        return f"video '{readable(self._path)}' has no frame that can be read; " + (
            _unknown_codec(self._path) or "it is damaged or cut short, or OpenCV cannot decode "
            f"its codec '{code}', which `ffmpeg -i IN -c:v libx264 OUT.mp4` may convert")

    def _time_of(self, index: int) -> float:
        """Return when the frame just read is shown; phones film at a rate that varies."""
        told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if index == 0:
            return told if math.isfinite(told) and told > 0 else 0.0
        if math.isfinite(told) and told > self.seconds:
            return told
        return self.seconds + 1 / self.rate


class VideoResults:
    """What is written about a video: overlay, labels and confidence as films, statistics.

    Labels and confidence are lossless grey films (FFV1), so that a value read back is a class id.
    """

    def __init__(self, target: Path, rate: float, size: tuple[int, int]) -> None:
        """Open the files; their folder is made.

        Args:
            target: path without an ending.
            rate: frames a second.
            size: height and width.

        Raises:
            VideoError: a file cannot be written.
        """
        _check_name(target)
        _check_size(size)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._rate = rate
        self._size = size
        self._films = {ending: _open_film(beside(target, ending), codec, rate, size, colour)
                       for ending, codec, colour in ((_OVERLAY, "mp4v", True),
                                                     (_LABEL, "FFV1", False),
                                                     (_CONFIDENCE, "FFV1", False))}
        self._lines = beside(target, ".frames.jsonl")
        self._lines.write_text("", encoding="utf-8")
        self._coverage: np.ndarray | float = 0.0
        self._certainty: np.ndarray | float = 0.0
        self.count = 0

    def append(self, overlay: np.ndarray, result: Labels, seconds: float) -> None:
        """Write one frame, which is shown at a time of the video."""
        self._films[_OVERLAY].write(cv2.cvtColor(_even(overlay), cv2.COLOR_RGB2BGR))
        self._films[_LABEL].write(_even(result.labels, UNLABELLED))
        self._films[_CONFIDENCE].write(_even(result.confidence, 0))
        line = {"frame": self.count, "seconds": round(seconds, 4),
                "coverage": _rounded(result.coverage),
                "mean_confidence": _rounded(result.mean_confidence)}
        with open(self._lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._coverage = self._coverage + result.coverage.astype(np.float64)
        self._certainty = self._certainty + (result.coverage * result.mean_confidence).astype(
            np.float64)
        self.count += 1

    def write_summary(self, vocabulary: Vocabulary, about: dict[str, Any]) -> None:
        """Write the statistics of all frames together."""
        zeros = np.zeros(len(vocabulary))
        coverage = self._coverage / max(1, self.count) + zeros
        mean = np.divide(self._certainty, self._coverage, out=zeros.copy(),
                         where=np.asarray(self._coverage) > zeros)
        height, width = self._size
        write_json(beside(self._target, ".json"),
                   {**about, "width": width, "height": height, "frames": self.count,
                    "frames_per_second": round(self._rate, 4),
                    **statistics(vocabulary, coverage, mean)})

    def check(self) -> None:
        """Count the frames of the closed films; OpenCV does not tell of a write that failed.

        Raises:
            VideoError: one holds fewer than were written.
        """
        for ending in self._films:
            path = beside(self._target, ending)
            film = cv2.VideoCapture(film_url(path), cv2.CAP_FFMPEG)
            frames = max(0, int(film.get(cv2.CAP_PROP_FRAME_COUNT))) if film.isOpened() else 0
            film.release()
            if frames < self.count - 1:  # the count follows from the duration, rounded
                raise VideoError(f"'{path}' holds {frames} of {self.count} frames; check that the "
                                 "disk has room")

    def __enter__(self) -> VideoResults:
        """Return the open files."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the files, so that what is written so far can be played."""
        for film in self._films.values():
            film.release()


def _open_film(path: Path, codec: str, rate: float, size: tuple[int, int],
               colour: bool) -> cv2.VideoWriter:
    height, width = (side + side % 2 for side in size)
    film = cv2.VideoWriter(film_url(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate,
                           (width, height), isColor=colour)
    if not film.isOpened():
        raise VideoError(f"video '{path}' cannot be written; check the folder and the disk, and "
                         f"that OpenCV has the codec {codec}")
    return film


def _unknown_codec(path: Path) -> str:
    """Say which codec a film has that OpenCV cannot decode; empty where there is no sign of one.

    The container names it: at its beginning, or, in MP4, often at the end.
    """
    try:
        with open(path, "rb") as file:
            ends = file.read(_SEARCHED)
            file.seek(-min(_SEARCHED, path.stat().st_size), os.SEEK_END)
            ends += file.read()
    except OSError:
        return ""
    for mark, codec in _UNKNOWN_CODECS.items():
        if mark in ends:
            name = shlex.quote(readable(path))
            return (f"it is coded in {codec}, which OpenCV cannot decode; convert it to H.264, "
                    f"e.g. `ffmpeg -i {name} -c:v libx264 h264.mp4`")
    return ""


def film_url(path: Path) -> str:
    """Return a name that FFmpeg takes for a file's: it would take ``12:30.mp4`` for a protocol."""
    return f"file:{path}"


def _check_name(path: Path) -> None:
    """Refuse a name that OpenCV would crash on."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VideoError(f"video '{readable(path)}' has a name that is not UTF-8, which OpenCV "
                         "cannot open; rename the file or its folder") from error


def _check_size(size: tuple[int, int]) -> None:
    """Refuse what the films of the results cannot hold."""
    height, width = size
    if min(size) < _SIDES[0] or max(size) > _SIDES[1]:
        raise VideoError(f"a video of {width}x{height} pixels cannot be written, because films "
                         f"hold sides of {_SIDES[0]} to {_SIDES[1]}; scale it, or give its frames "
                         "as images")


def _even(pixels: np.ndarray, fill: int | None = None) -> np.ndarray:
    """Add a row and a column where a side is odd, which video formats do not take.

    Args:
        pixels: (H, W) or (H, W, 3).
        fill: value of the new pixels; None repeats the neighbours.
    """
    bottom, right = pixels.shape[0] % 2, pixels.shape[1] % 2
    if not bottom and not right:
        return pixels
    kind = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    return cv2.copyMakeBorder(pixels, 0, bottom, 0, right, kind, value=fill or 0)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]
