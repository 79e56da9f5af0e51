"""Find the images and videos that paths, folders and globs name, and name their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sclip_seg_ros.io.images import SUFFIXES
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.segment.outputs import IMAGE_RESULTS
from sclip_seg_ros.tools.segment.video import VIDEO_RESULTS

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")

RESULTS = (*IMAGE_RESULTS, *VIDEO_RESULTS)


@dataclass(frozen=True)
class Input:
    """One file to segment.

    Attributes:
        path: of the file.
        target: of its results, without an ending.
    """

    path: Path
    target: Path

    @property
    def is_video(self) -> bool:
        """Tell a video from an image."""
        return self.path.suffix.lower() in VIDEOS


def find_inputs(names: Sequence[str], output: Path) -> list[Input]:
    """Return the files to segment, in the order of the names and sorted within each.

    Args:
        names: files, folders (with all below them) or globs.
        output: folder of the results. Of folders nothing below it is an input, and neither is a
            file there that is named as results are, however it was named.

    Raises:
        UsageError: a name that leads to nothing, or to something else.
        OSError: a file that was named cannot be opened.
    """
    paths: dict[Path, Path] = {}
    for name in names:
        for path in _expand(name, output):
            paths.setdefault(path.resolve(), path)
    return _with_targets(list(paths.values()), output)


def _expand(name: str, output: Path) -> Iterator[Path]:
    """Yield the files that one name stands for."""
    path = Path(name)
    if path.is_dir():
        yield from _files_below(path, output)
    elif path.exists():
        if not _usable(path):
            raise UsageError(f"'{name}' is no image ({' '.join(SUFFIXES)}) or video "
                             f"({' '.join(VIDEOS)}); convert it to one of these")
        if _is_result(path, output):
            raise UsageError(f"'{name}' is a result of an earlier run; name the image itself, or "
                             "choose another --output")
        with open(path, "rb"):
            yield path
    elif glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        found = [match for match in matches if match.is_file() and _usable(match)
                 and not _is_result(match, output)]
        if not found:
            raise UsageError(f"'{name}' matches no image or video; check the pattern")
        yield from found
    else:
        raise UsageError(f"'{name}' does not exist; check its path")


def _files_below(folder: Path, output: Path) -> list[Path]:
    inside, results = folder.resolve(), output.resolve()
    if inside == results or results in inside.parents:
        raise UsageError(f"--output '{output}' would mix results with the images of '{folder}'; "
                         "choose another folder")
    found = sorted(path for path in folder.rglob("*") if path.is_file() and _usable(path)
                   and results not in path.resolve().parents)
    if not found:
        raise UsageError(f"folder '{folder}' holds no image or video; check its path")
    return found


def _is_result(path: Path, output: Path) -> bool:
    return path.name.endswith(RESULTS) and output.resolve() in path.resolve().parents


def _usable(path: Path) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *VIDEOS)


def _with_targets(paths: Sequence[Path], output: Path) -> list[Input]:
    """Keep the files' places below the folder they share; equal stems keep their endings."""
    absolute = [_without_dots(path) for path in paths]
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    places = [path.relative_to(root) for path in absolute]
    stems = Counter(place.with_suffix("") for place in places)
    return [Input(path, output / (place if stems[place.with_suffix("")] > 1
                                  else place.with_suffix("")))
            for path, place in zip(paths, places, strict=True)]


def _without_dots(path: Path) -> Path:
    """Return an absolute path without "..", which would lead out of the output folder."""
    return path.parent.resolve() / path.name if ".." in path.parts else path.absolute()
