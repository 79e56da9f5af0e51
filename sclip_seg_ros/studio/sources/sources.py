"""Where pictures come from: folders of photos, films, recordings, and what a browser sends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from sclip_seg_ros.io.files import files_below, is_mac_note, real_path
from sclip_seg_ros.io.images import ImageFileError, is_image, read_image
from sclip_seg_ros.studio.labelled import Frame
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.bag.recording.files import storage_of
from sclip_seg_ros.tools.console import readable
from sclip_seg_ros.tools.segment.inputs import VIDEOS
from sclip_seg_ros.tools.segment.video import VideoError, VideoSource, film_url

MOST_SENT = 32  # pictures from browsers that are held at a time


class Listed(Protocol):
    """What the page says of a source."""

    @property
    def name(self) -> str:
        """The source's name, for people."""

    @property
    def kind(self) -> str:
        """One of "photos", "film", "recording" and "camera"."""

    @property
    def rate(self) -> float:
        """Frames a second of a film; 0 for photos."""

    @property
    def moving(self) -> bool:
        """Whether frames follow one another in time."""

    @property
    def count(self) -> int:
        """Number of frames, as far as known."""

    def name_of(self, index: int) -> str:
        """Return a frame's name; empty where it only has a time."""


class Source(Listed, Protocol):
    """Frames by their number."""

    def frame(self, index: int) -> Frame:
        """Return a frame.

        Raises:
            ValueError: there is none, or it cannot be read.
        """


class Photos:
    """The pictures of a folder, and of all below it; or pictures named one by one."""

    kind, rate, moving = "photos", 0.0, False

    def __init__(self, name: str, root: Path, paths: Sequence[Path]) -> None:
        """Know the files; none is opened yet."""
        self.name = name
        self._root = root
        self._paths = list(paths)

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self._paths)

    def name_of(self, index: int) -> str:
        """Return a picture's name below the folder."""
        return readable(self._paths[index].relative_to(self._root))

    def path_of(self, index: int) -> Path:
        """Return where a picture lies."""
        return self._paths[index]

    def frame(self, index: int) -> Frame:
        """Read a picture."""
        path = self._paths[_checked(index, self.count)]
        return Frame((str(path),), readable(path.relative_to(self._root)), read_image(path),
                     path=path)


class Sent:
    """Pictures that browsers sent; held in memory, the newest of them."""

    kind, name, rate, moving = "photos", "sent from a browser", 0.0, False

    def __init__(self) -> None:
        """Begin without any."""
        self._frames: list[Frame] = []
        self._number = 0

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self._frames)

    def add(self, name: str, image: np.ndarray) -> None:
        """Hold a picture; the oldest goes when there are too many."""
        self._number += 1
        self._frames.append(Frame(("sent", self._number), name, image))
        del self._frames[:-MOST_SENT]

    def name_of(self, index: int) -> str:
        """Return a picture's name."""
        return self._frames[index].name

    def frame(self, index: int) -> Frame:
        """Return a picture."""
        return self._frames[_checked(index, self.count)]


class Film:
    """A video file; any frame of it, the next one without searching.

    Where the file does not tell its length, which FFmpeg needs to find a frame, frames are counted
    when it is opened, and found by reading on from the last one or from the beginning.
    """

    kind, moving = "film", True
    _next: int  # the frame that a read gives; -1: the file is not open

    def __init__(self, name: str, path: Path) -> None:
        """Open the file.

        Raises:
            VideoError: it cannot be read.
        """
        source = VideoSource(path)
        if next(source.frames(), None) is None:
            raise VideoError(f"video '{readable(path)}' has no frame that can be read; it is "
                             "damaged or cut short")
        self.name, self.rate = name, source.rate
        self._path = path
        self._tells_length = source.announced is not None
        if source.announced is not None:
            self._count = source.announced
        else:
            self._begin()
            self._count = self._read_up_to(None)
            self._capture.release()
        self._next = -1

    @property
    def count(self) -> int:
        """Number of frames, as the file says."""
        return self._count

    def name_of(self, index: int) -> str:
        """Return nothing: frames have times."""
        return ""

    def frame(self, index: int) -> Frame:
        """Read a frame; where the file ends before it, the film is shorter from then on."""
        index = _checked(index, self._count)
        if self._next < 0 or (index < self._next and not self._tells_length):
            self._begin()
        if index != self._next and self._tells_length:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        else:
            self._read_up_to(index)
        found, pixels = self._capture.read()
        self._next = index + 1
        if not found:
            self._next = -1
            self._count = max(1, min(self._count, index))
            raise VideoError(f"frame {index + 1} of '{self.name}' cannot be read; the film ends "
                             "before it, or is damaged there")
        seconds = index / self.rate
        return Frame((str(self._path), index), f"{self.name}, {seconds:.2f} s",
                     cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), seconds)

    def _begin(self) -> None:
        """Open the file and stand before its first frame.

        Raises:
            VideoError: it cannot be opened any more.
        """
        self._next = -1
        self._capture = cv2.VideoCapture(film_url(self._path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(f"film '{self.name}' cannot be opened any more; put the file back, or "
                             "start the studio again")
        self._next = 0

    def _read_up_to(self, index: int | None) -> int:
        """Pass over the frames before one, or over all that are left; return where that is."""
        while self._next != index and self._capture.grab():
            self._next += 1
        return self._next


def open_sources(names: Sequence[Path], left_out: list[Exception] | None = None) -> list[Source]:
    """Open what a command line names: folders, pictures, films and recordings.

    A folder gives its pictures as one source and each of its films as one; links that lead out of
    it are not followed, and what Macs note about films is left out.

    Args:
        names: of them.
        left_out: gains what keeps a name, or a film in a folder, from being opened, where
            something else can be; without it, raised.

    Raises:
        UsageError: a name that leads to nothing of these.
        ValueError: a film or recording that cannot be read.
        OSError: a folder that cannot be read.
    """
    found: list[Source] = []
    single: list[Path] = []
    problems: list[Exception] = []
    for path in names:
        try:
            if is_image(path):
                single.append(real_path(path))
            else:
                found += _opened(path, problems)
        except (ValueError, OSError) as error:
            problems.append(error)
    if problems and (left_out is None or not (found or single)):
        raise problems[0]
    if left_out is not None:
        left_out += problems
    if single:
        root = Path(*_shared_parts(single))
        found.insert(0, Photos("pictures", root, single))
    return found


def _opened(path: Path, problems: list[Exception]) -> Sequence[Source]:
    """Open a recording, a folder or a film; problems gain what else a folder holds."""
    if _is_recording(path):
        from sclip_seg_ros.studio.sources.recordings import (
            open_recording,  # needs the extra 'tools'
        )
        return open_recording(path)
    if path.is_dir():
        return _of_folder(path, problems)
    if path.is_file() and path.suffix.lower() in VIDEOS:
        return [Film(readable(path.name), path)]
    if path.exists():
        raise UsageError(f"'{readable(path)}' is not a picture, film or recording; give a "
                         "folder of pictures, a film, or a rosbag2 recording")
    raise UsageError(f"'{readable(path)}' does not exist; check its path")


def _of_folder(folder: Path, problems: list[Exception]) -> list[Source]:
    root = real_path(folder)
    inside = [path for path in files_below(root)
              if path.is_file() and root in real_path(path).parents]
    pictures = list(filter(is_image, inside))
    sources: list[Source] = []
    if pictures:
        sources.append(Photos(readable(root.name or str(root)), root, pictures))
    films = [path for path in inside if path.suffix.lower() in VIDEOS]
    for path in films:
        try:
            sources.append(Film(readable(path.relative_to(root)), path))
        except VideoError as error:
            problems.append(error)
    if not sources and not films:
        raise ImageFileError(f"'{readable(folder)}' is a folder without pictures or films; name "
                             "another")
    return sources


def _is_recording(path: Path) -> bool:
    if path.is_dir():
        return any(storage_of(entry) and not is_mac_note(entry) for entry in path.iterdir())
    return path.is_file() and bool(storage_of(path))


def _shared_parts(paths: Sequence[Path]) -> list[str]:
    parts = [path.parent.parts for path in paths]
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise ValueError(f"there is no frame {index + 1}; the source has {count}")
    return index
