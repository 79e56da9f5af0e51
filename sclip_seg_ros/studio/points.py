"""Pixels that people named, of the pictures of folders; kept in a small file where there is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.io.points import Point, as_json, read_points, write_points
from sclip_seg_ros.studio.choices.choices import Refusal
from sclip_seg_ros.studio.labelled import Frame
from sclip_seg_ros.tools.console import readable

FIELD = "points"
NEAR = 6       # pixels: a click on a point takes it away
MOST = 10_000  # points


class Points:
    """Named pixels by picture.

    Attributes:
        file: where they are kept; None: in memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Read a file, where it exists already.

        Raises:
            PointsError, OSError: it cannot be read.
        """
        self.file = file
        self._points: dict[str, list[Point]] = {}
        if file is not None and file.exists():
            self._points = {name: list(points)
                            for name, points in read_points(file).points.items()}

    def name_of(self, frame: Frame) -> str:
        """Return a picture's name in the file; empty for what is not a file of its own."""
        return "" if frame.path is None else self.name_at(frame.path, frame.name)

    def name_at(self, path: Path, name: str) -> str:
        """Return the name in the file of a picture at a path, with a name below its folder."""
        if self.file is None:
            return name
        return readable(os.path.relpath(path, self.file.resolve().parent))

    def of(self, frame: Frame) -> list[Point]:
        """Return the points of a picture."""
        return list(self._points.get(self.name_of(frame), ()))

    @property
    def pictures(self) -> dict[str, list[Point]]:
        """Points by picture."""
        return {name: list(points) for name, points in self._points.items() if points}

    def click(self, frame: Frame, x: int, y: int, word: str) -> None:
        """Name a pixel; or take away a point that lies there.

        Raises:
            Refusal: what is not a picture of a folder, a pixel outside it, or a file that cannot be
                written.
        """
        name = self.name_of(frame)
        height, width = frame.image.shape[:2]
        if not name:
            raise Refusal(FIELD, "points belong to pictures of a folder; save this frame as a "
                                 "picture, and start the studio with it")
        if not (0 <= x < width and 0 <= y < height):
            raise Refusal(FIELD, f"point ({x}, {y}) lies outside the picture of {width}x{height}")
        points = self._points.setdefault(name, [])
        near = [point for point in points
                if abs(point[0] - x) <= NEAR and abs(point[1] - y) <= NEAR]
        if near:
            points.remove(near[0])
        elif sum(map(len, self._points.values())) >= MOST:
            raise Refusal(FIELD, f"there are {MOST} points already; begin another file")
        else:
            points.append((x, y, word))
        self._keep()

    def remove(self, frame: Frame, place: int) -> None:
        """Take a picture's point away.

        Raises:
            Refusal: there is none, or the file cannot be written.
        """
        points = self._points.get(self.name_of(frame), [])
        if not 0 <= place < len(points):
            raise Refusal(FIELD, f"there is no point {place + 1} any more")
        del points[place]
        self._keep()

    def text(self, classes: Sequence[str]) -> str:
        """Return them as a file would hold them."""
        return as_json(self._points, classes)

    def _keep(self) -> None:
        if self.file is None:
            return
        try:
            if self.pictures:
                write_points(self.file, self._points)
            else:
                self.file.unlink(missing_ok=True)
        except OSError as error:
            raise Refusal(FIELD, f"the points cannot be kept in '{readable(self.file)}' "
                                 f"({error.strerror}); free the disk, or start the studio with "
                                 "another --points-file") from error
