"""Films, frame by frame: rendered ones, and folders of frames with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from sclip_seg_ros.io.images import SUFFIXES
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.tools.benchmark.datasets.base import (
    Pictures,
    Sample,
    beside,
    expect_file,
    same_ids,
)

FILMS = 20     # every second one with a thing that moves by itself
RATE = 15.0    # frames a second


class DemoVideos:
    """Rendered films that no training saw: the camera moves, and in every second one a thing."""

    profile = ""
    classes: tuple[str, ...] = ()
    class_count = 0

    def choose(self, count: int | None) -> Sequence[int]:
        """Return the frames of the first `count` films."""
        return range((count or FILMS) * self._frames())

    def name(self, index: int) -> str:
        """Return the name of a frame, behind that of its film."""
        film, frame = divmod(index, self._frames())
        return f"{'mover' if film % 2 else 'camera'}-{film:03d}/{frame:03d}"

    def load(self, index: int) -> Sample:
        """Render a frame.

        Raises:
            Unusable: the rooms are not installed; the sentence says what to do.
        """
        film, frame = divmod(index, self._frames())
        with _RENDERING:  # the frames of a film are rendered together, by whoever comes first
            words, shots = _shots(film)
        shot = shots[frame]
        return Sample(self.name(index), shot.image, shot.labels, words, frame / RATE,
                      shot.following)

    @staticmethod
    def _frames() -> int:
        from sclip_seg_ros.tools.scenes import FRAMES

        return FRAMES


_RENDERING = Lock()


@lru_cache(maxsize=2)
def _shots(number: int) -> tuple[tuple[str, ...], list[Any]]:
    """Return a film's words and frames."""
    from sclip_seg_ros.tools.scenes import film

    shown = film(number // 2, moving=number % 2 == 1)
    return shown.words, list(shown.shots())


class FrameFolders:
    """Films of your own as folders of frames with labels; see :func:`open_videos`."""

    profile = ""

    def __init__(self, pictures: Pictures) -> None:
        """Take the frames, sorted by film and name."""
        self._pictures = pictures
        self.classes, self.class_count = pictures.classes, pictures.class_count

    def choose(self, count: int | None) -> Sequence[int]:
        """Return the frames of the first `count` films, or all."""
        films = list(dict.fromkeys(film_of(each.name) for each in self._pictures.pictures))[:count]
        return [index for index in range(len(self._pictures.pictures))
                if film_of(self.name(index)) in films]

    def name(self, index: int) -> str:
        """Return the name of a frame, behind that of its film."""
        return self._pictures.name(index)

    def load(self, index: int) -> Sample:
        """Read one frame with its truth.

        Raises:
            DatasetError: see :meth:`Pictures.load`.
        """
        return replace(self._pictures.load(index), seconds=index / RATE)


def open_videos(root: Path) -> FrameFolders:
    """Open films of your own.

    Layout:
        images/<film>/<frame>.jpg (or .png, .tif, ...)   labels/<film>/<frame>.png   classes.txt
    as for a data set of your own; the frames of a film are those of one folder, in the order of
    their names, 15 a second.
    """
    classes = tuple(read_vocabulary(expect_file(root, "classes.txt")))
    return FrameFolders(Pictures(beside(root, "images", "labels", SUFFIXES, ".png"), same_ids,
                                 len(classes), classes=classes))


def film_of(name: str) -> str:
    """Return the film that a frame's name belongs to."""
    return name.rpartition("/")[0]
