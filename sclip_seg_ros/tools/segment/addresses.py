"""Photos and films at addresses: which there are, and where their results go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sclip_seg_ros.cluster.addresses import AddressError, File, Place
from sclip_seg_ros.io.file_kinds import APPLE_DOUBLE
from sclip_seg_ros.tools.arguments import UsageError, is_address
from sclip_seg_ros.tools.segment.inputs import (
    RESULTS,
    Input,
    UnusableNameError,
    mixing,
    targets_of,
    usable,
    usable_below,
)
from sclip_seg_ros.tools.segment.outputs import IMAGE_RESULTS, beside
from sclip_seg_ros.tools.segment.video import VIDEO_RESULTS

MADE = Path("made")  # of the temporary folder: holds results, in their places below the output


@dataclass(frozen=True)
class Copy(Input):
    """A photo or film at an address, of which ``path`` is to be a copy in a temporary folder.

    Attributes:
        given: what leads to it: it, a folder around it, or a pattern.
        file: of that.
        before: whether its results' JSON file was there when the command began.
        whole: whether all of its results were.
    """

    given: Place
    file: File
    before: bool
    whole: bool

    @property
    def name(self) -> str:
        """Its address, for people."""
        return str(self.given.of_file(self.file))

    @property
    def state(self) -> Sequence[object]:
        """What changes where the file does: its address and size; not all stores have times."""
        return self.name, self.file.size

    def fetch(self) -> None:
        """Copy it to its path.

        Raises:
            AddressError: it cannot be read.
            OSError: it cannot be written.
        """
        self.given.fetch([File(self.file.path, str(self.path), self.file.size)], Path())


def find_copies(arguments: argparse.Namespace, notices: list[str],
                refused: dict[str, str]) -> list[Copy]:
    """Return the files to segment, in the order of the names and sorted within each.

    Paths beside addresses are treated as addresses are. The output is tried, too.

    Args:
        arguments: of the command line.
        notices: gains a sentence about photos and films in a folder that cannot be read.
        refused: gains, by name, why it leads to nothing, where others lead to something.

    Raises:
        AddressError, UsageError: nothing can be done; in one sentence.
    """
    output = Place.of(arguments.output)
    found: dict[str, tuple[Place, File]] = {}
    problems: dict[str, UnusableNameError | AddressError] = {}
    for name in arguments.inputs:
        given = Place.of(name if is_address(name) else Path(name))
        try:
            for file in _expand(given, output, notices):
                found.setdefault(str(given.of_file(file)), (given, file))
        except (UnusableNameError, AddressError) as error:
            problems[str(given)] = error
    if problems and not found:
        raise next(iter(problems.values()))
    refused.update((name, str(error)) for name, error in problems.items())
    there: set[str] = set()
    if not arguments.dry_run:
        output.try_to_write()
        there = output.names()
    targets = targets_of([Path(os.path.normpath(f"/{file.path}".replace("//", "/")))
                          for _, file in found.values()], MADE)
    taken: dict[Path, str] = {}
    for address, target in zip(found, targets, strict=True):
        if taken.setdefault(target, address) != address:
            raise UsageError(f"'{taken[target]}' and '{address}' would have the same results; "
                             "segment them one by one, into different --output folders")
    return [Copy(Path(PurePosixPath(file.name).name), target, given, file,
                 *_earlier(target, there))
            for (given, file), target in zip(found.values(), targets, strict=True)]


def below_output(target: Path, ending: str) -> str:
    """Return the name below the output that a result in the temporary folder is to have."""
    return beside(target, ending).relative_to(MADE).as_posix()


def _earlier(target: Path, there: set[str]) -> tuple[bool, bool]:
    """Tell whether a JSON file is among names of results, and whether all results are."""
    before = below_output(target, ".json") in there
    return before, before and any(
        all(below_output(target, ending) in there for ending in kind)
        for kind in (IMAGE_RESULTS, VIDEO_RESULTS))


def _expand(given: Place, output: Place, notices: list[str]) -> list[File]:
    """Return the files that one name stands for, by the rules for paths.

    Raises:
        AddressError: it cannot be listed.
        UnusableNameError: there is none to be segmented.
        UsageError: the results would lie among the images.
    """
    files = given.files()
    named = {PurePosixPath(file.name): file for file in files}
    if "*" in given.address:
        found = [path for path in named if usable(path)]
        taken = [file for file in _no_notes(given, [named[path] for path in found])
                 if not _is_result(given.of_file(file), output)]
        if not taken:
            raise UnusableNameError(f"'{given}' matches no image or video; check the pattern")
        return taken
    if given.of_file(files[0]) is given:
        if not usable(PurePosixPath(files[0].name)):
            raise UnusableNameError(f"'{given}' is not an image or a video; give one, or a folder")
        if _is_result(given, output):
            raise UnusableNameError(f"'{given}' is a result of an earlier run; name the image "
                                    "itself, or choose another --output")
        return files
    if output.holds(given):
        raise mixing(output, given)
    inside = [path for path, file in named.items() if not output.holds(given.of_file(file))]
    return list(_no_notes(given, [named[path] for path in usable_below(given, inside, notices)]))


def _no_notes(given: Place, files: Sequence[File]) -> Iterator[File]:
    """Leave out what Macs note about files, of which the zips that they make are full."""
    for file in files:
        if not PurePosixPath(file.name).name.startswith("._") \
                or given.head(file, len(APPLE_DOUBLE)) != APPLE_DOUBLE:
            yield file


def _is_result(place: Place, output: Place) -> bool:
    return str(place).endswith(RESULTS) and output.holds(place)
