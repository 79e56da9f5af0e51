"""Pictures with a few pixels named, in a small JSON file: what words can be judged by.

    {"classes": ["floor|carpet", "wall", "door"],
     "images": {"hall/1.jpg": [[412, 310, "floor"], [80, 95, "wall"]]}}

A point is column, row and class; pixels are counted from 0 at the top left. Paths are relative to
the file. "classes" may be left out where the words come from elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.vocabulary import VocabularyClass, validate_classes

Point = tuple[int, int, str]  # column, row, class


class PointsError(ValueError):
    """A file of points cannot be used; the message says which entry and what belongs there."""


@dataclass(frozen=True)
class PointFile:
    """Named pixels of some pictures.

    Attributes:
        path: of the file.
        classes: to look for; empty where the file names none.
        points: by picture, each with one at least.
    """

    path: Path
    classes: tuple[str, ...]
    points: dict[str, tuple[Point, ...]]

    def truth(self, picture: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Read a picture, and return it with its true ids, 255 where nothing is known.

        Args:
            picture: one of ``points``.
            names: the ids' names.

        Returns:
            (H, W, 3) uint8 RGB and (H, W) uint8.

        Raises:
            PointsError: a point outside the picture, or a class that is none of the names.
            ImageFileError: a picture that cannot be read.
        """
        image = read_image(self.path.parent / picture)
        height, width = image.shape[:2]
        truth = np.full((height, width), UNLABELLED, np.uint8)
        for column, row, name in self.points[picture]:
            if not (0 <= column < width and 0 <= row < height):
                raise PointsError(f"'{self.path}': point [{column}, {row}] lies outside "
                                  f"'{picture}' of {width}x{height} pixels; a point is [column, "
                                  "row, class]")
            if name not in names:
                raise PointsError(f"'{self.path}': class '{name}' of '{picture}' is none of "
                                  f"{', '.join(names)}; use the first of a class's words")
            truth[row, column] = names.index(name)
        return image, truth


def read_points(path: Path) -> PointFile:
    """Read a file of points; the pictures are read later.

    Raises:
        PointsError, OSError: it cannot be read, or an entry is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PointsError(f"'{path}' is not JSON ({error}); see docs/methods.md for an "
                          "example") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), dict):
        raise PointsError(f"'{path}' has no \"images\": {{\"picture.jpg\": [[column, row, "
                          "\"class\"], ...]}; see docs/methods.md for an example")
    unknown = sorted(set(content) - {"images", "classes"})
    if unknown:
        raise PointsError(f"'{path}': '{unknown[0]}' is unknown; there are \"images\" and "
                          "\"classes\"")
    classes = content.get("classes", [])
    if classes:
        validate_classes(classes)
    points = {picture: tuple(_point(path, picture, entry) for entry in entries)
              for picture, entries in content["images"].items() if _listed(path, picture, entries)}
    if not points:
        raise PointsError(f"'{path}' names no point of any picture; give at least "
                          "one below 'images'")
    return PointFile(path, tuple(classes), points)


def write_points(path: Path, points: Mapping[str, Sequence[Point]],
                 classes: Sequence[str] = ()) -> None:
    """Write a file of points; an older one is replaced at once, or stays as it is.

    Args:
        path: of the file.
        points: by picture, as a path relative to the file.
        classes: to look for; empty: the file names none.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(as_json(points, classes), encoding="utf-8")
    os.replace(unfinished, path)


def as_json(points: Mapping[str, Sequence[Point]], classes: Sequence[str] = ()) -> str:
    """Return the text of a file of points, a picture a line."""
    dump = json.JSONEncoder(ensure_ascii=False).encode
    pictures = ",\n".join(f"  {dump(name)}: {dump([list(point) for point in found])}"
                          for name, found in points.items() if found)
    head = f' "classes": {dump(list(classes))},\n' if classes else ""
    return f'{{\n{head} "images": {{\n{pictures}\n }}\n}}\n'


@dataclass
class Score:
    """How many points are labelled as they are named.

    Attributes:
        right, total: points.
        by_word: the same for each word, right first.
    """

    right: int = 0
    total: int = 0
    by_word: dict[str, list[int]] = field(default_factory=dict)

    def add(self, points: Sequence[Point], verdicts: Sequence[bool]) -> None:
        """Count the points of one picture."""
        for (_, _, word), good in zip(points, verdicts, strict=True):
            counts = self.by_word.setdefault(word, [0, 0])
            counts[0] += good
            counts[1] += 1
        self.right += sum(verdicts)
        self.total += len(points)

    def __str__(self) -> str:
        """Return one line for people."""
        share = f" ({100 * self.right / self.total:.1f} %)" if self.total else ""
        return f"{self.right} of {self.total} points right{share}"


def judge(labels: np.ndarray, classes: Sequence[VocabularyClass],
          points: Sequence[Point]) -> list[bool]:
    """Tell of each point whether its pixel has the class that its word is a name or synonym of.

    A point outside the picture is wrong, and so is one whose word is in no class.

    Args:
        labels: (H, W) uint8 positions in ``classes``; 255 = no class.
        classes: with their synonyms.
        points: of the picture.
    """
    owner = {word.casefold(): index for index, entry in enumerate(classes)
             for word in entry.synonyms}
    height, width = labels.shape
    return [0 <= column < width and 0 <= row < height
            and owner.get(word.casefold()) == int(labels[row, column])
            for column, row, word in points]


def _listed(path: Path, picture: str, entries: Any) -> bool:
    """Tell whether a picture has points."""
    if not isinstance(entries, list):
        raise PointsError(f"'{path}': '{picture}' has no list of points; give [[column, row, "
                          "\"class\"], ...]")
    return bool(entries)


def _point(path: Path, picture: str, entry: Any) -> Point:
    whole = isinstance(entry, list) and len(entry) == 3 and all(
        isinstance(number, int) and not isinstance(number, bool) for number in entry[:2])
    if not whole or not isinstance(entry[2], str):
        raise PointsError(f"'{path}': {json.dumps(entry)} of '{picture}' is not a point; give "
                          "[column, row, \"class\"] with whole numbers")
    return entry[0], entry[1], " ".join(entry[2].split())
