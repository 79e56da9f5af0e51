"""Find the images and videos that paths, folders and globs name, and name their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from sclip_seg_ros.io.file_kinds import FILMS, OTHERS, found_instead, is_no_file
from sclip_seg_ros.io.files import files_below, is_mac_note, real_path
from sclip_seg_ros.io.images import SUFFIXES
from sclip_seg_ros.tools.arguments import UsageError, refuse_address
from sclip_seg_ros.tools.console import readable
from sclip_seg_ros.tools.segment.outputs import IMAGE_RESULTS
from sclip_seg_ros.tools.segment.video import VIDEO_RESULTS

VIDEOS = FILMS
RESULTS = (*IMAGE_RESULTS, *VIDEO_RESULTS)
_Path = TypeVar("_Path", bound=PurePath)


class UnusableNameError(UsageError):
    """A name leads to nothing that can be segmented; the others may."""


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

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return readable(self.path)

    @property
    def state(self) -> Sequence[object]:
        """What changes where the file does: its path, size and time.

        Raises:
            OSError: it is not there.
        """
        state = self.path.stat()
        return str(real_path(self.path)), state.st_size, state.st_mtime_ns


def find_inputs(names: Sequence[str], output: Path,
                unreadable: Callable[[OSError], None] | None = None,
                notices: list[str] | None = None,
                refused: dict[str, str] | None = None) -> list[Input]:
    """Return the files to segment, in the order of the names and sorted within each.

    Args:
        names: files, folders (with all below them) or globs.
        output: folder of the results. Of folders nothing below it is an input, and neither is a
            file there that is named as results are, however it was named.
        unreadable: told of each folder below those that cannot be read; without it, raised.
        notices: gains a sentence about photos and films in a folder that cannot be read.
        refused: gains, by name, why it leads to nothing, where others lead to something; without
            it, raised.

    Raises:
        UsageError: names that lead to nothing, or to something else; results among the images.
        OSError: a file that was named cannot be opened.
    """
    paths: dict[Path, Path] = {}
    problems: dict[str, UnusableNameError | OSError] = {}
    for name in names:
        try:
            for path in _expand(name, output, unreadable, [] if notices is None else notices):
                paths.setdefault(real_path(path), path)
        except (UnusableNameError, OSError) as error:
            problems[name] = error
    if problems and (refused is None or not paths):
        raise next(iter(problems.values()))
    if refused is not None:
        refused.update((readable(name), str(error)) for name, error in problems.items())
    taken = list(paths.values())
    return [Input(*both) for both in zip(
        taken, targets_of([_without_dots(path) for path in taken], output), strict=True)]


def _expand(name: str, output: Path, unreadable: Callable[[OSError], None] | None,
            notices: list[str]) -> Iterator[Path]:
    """Yield the files that one name stands for."""
    path = Path(name)
    if path.is_dir():
        yield from _files_below(path, output, unreadable, notices)
    elif path.exists():
        if not usable(path) or is_no_file(path):
            raise UnusableNameError(
                f"'{name}' is not an image ({' '.join(SUFFIXES)}) or video ({' '.join(VIDEOS)}); "
                + (found_instead(path, "photo") or "convert it to one of these"))
        if _is_result(path, output):
            raise UnusableNameError(f"'{name}' is a result of an earlier run; name the image "
                                    "itself, or choose another --output")
        with open(path, "rb"):
            yield path
    elif glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        found = [match for match in matches if not match.is_dir() and usable(match)
                 and not is_no_file(match) and not is_mac_note(match)
                 and not _is_result(match, output)]
        if not found:
            refuse_address(name)
            raise UnusableNameError(f"'{name}' matches no image or video; check the pattern")
        yield from found
    else:
        refuse_address(name)
        raise UnusableNameError(f"'{name}' does not exist; check its path")


def _files_below(folder: Path, output: Path, unreadable: Callable[[OSError], None] | None,
                 notices: list[str]) -> list[Path]:
    inside, results = real_path(folder), real_path(output)
    if inside == results or results in inside.parents:
        raise mixing(output, folder)
    below = [path for path in files_below(folder, unreadable)
             if results not in real_path(path).parents]
    return usable_below(folder, below, notices)


def mixing(output: object, folder: object) -> UsageError:
    """Say that the results would lie among the images, or above them."""
    return UsageError(f"--output '{output}' would mix results with the images of '{folder}'; "
                      "choose another folder")


def usable_below(folder: object, below: Sequence[_Path], notices: list[str]) -> list[_Path]:
    """Return the images and videos among all files of a folder.

    Args:
        folder: its name, for people.
        below: the files.
        notices: gains a sentence about photos and films that cannot be read.

    Raises:
        UnusableNameError: there is none.
    """
    others = Counter(path.suffix.lower() for path in below if path.suffix.lower() in OTHERS)
    told = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
    found = [path for path in below if usable(path)]
    if not found:
        raise UnusableNameError(f"folder '{folder}' holds no image or video" + (
            f" that can be read, but {told}; convert these to JPEG, PNG or H.264" if told
            else "; check its path"))
    if told:
        notices.append(f"of folder '{folder}' these are left out: {told}; convert them to JPEG, "
                       "PNG or H.264")
    return found


def _is_result(path: Path, output: Path) -> bool:
    return path.name.endswith(RESULTS) and real_path(output) in real_path(path).parents


def usable(path: PurePath) -> bool:
    """Tell by its name whether a file is an image or a video."""
    return path.suffix.lower() in (*SUFFIXES, *VIDEOS)


def targets_of(absolute: Sequence[Path], output: Path) -> list[Path]:
    """Keep files' places below the folder they share; equal stems keep their endings.

    Args:
        absolute: paths without "..", which would lead out of the output folder.
        output: folder of the results.
    """
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    places = [path.relative_to(root) for path in absolute]
    stems = Counter(place.with_suffix("") for place in places)
    return [output / (place if stems[place.with_suffix("")] > 1 else place.with_suffix(""))
            for place in places]


def _without_dots(path: Path) -> Path:
    """Return an absolute path without ".."."""
    return real_path(path.parent) / path.name if ".." in path.parts else path.absolute()
