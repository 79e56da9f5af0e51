"""Photos and films at addresses: copied to a worker's disk, labelled there, results put back.

A result's JSON file comes last and says of what and with what it was made, as in a folder; so it is
the receipt by which the same command knows what is finished.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from sclip_seg_ros.cluster.addresses import AddressError, Place
from sclip_seg_ros.cluster.work import Tally, Task
from sclip_seg_ros.tools.addresses import temporary_folder
from sclip_seg_ros.tools.estimate import PROBED, Estimate, compute_like_a_worker
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, NO_ROOM, cause_of, unexpected
from sclip_seg_ros.tools.pieces.pieces import open_engine
from sclip_seg_ros.tools.segment.addresses import MADE, Copy, below_output
from sclip_seg_ros.tools.segment.estimate import estimate
from sclip_seg_ros.tools.segment.finished import tells_of
from sclip_seg_ros.tools.segment.inputs import Input
from sclip_seg_ros.tools.segment.labelling import Labelling, depends_on
from sclip_seg_ros.tools.segment.outputs import beside, json_of
from sclip_seg_ros.tools.segment.pieces import Batch, Desk, SegmentWorker, Source, sources_of
from sclip_seg_ros.tools.segment.run import Run

_CLAIM = b"{}\n"  # in the place of a receipt: these results are being replaced


def segment_copies(run: Run) -> None:
    """Segment all files, photos some at a time, films as a whole.

    What an earlier run of the same flags has finished is left as it is.

    Raises:
        AddressError: the output cannot be read.
    """
    sources = sources_of(run.inputs)
    with open_engine(run.arguments, partial(CopyWorker, run.arguments, sources)) as engine:
        run.said = engine.describe()
        CopyDesk(run, sources).work(engine)


def put_about(run: Run, about: dict[str, Any]) -> None:
    """Say beside the results what they were made with; that this failed is noted."""
    place = Place.of(run.arguments.output) / "run.json"
    try:
        place.write(json_of(about))
    except AddressError as error:
        run.failures[str(place)] = str(error)


class CopyDesk(Desk):
    """Hands out copies, and notes what comes of them."""

    def _left(self, source: Source) -> Source:
        return _unfinished(source, self._run.said, self._run.arguments)

    def _note_missing(self, index: int, tally: Tally) -> None:
        source = [replace(cast(Copy, entry), whole=True) for entry in self._sources[index]]
        self._sources[index] = source  # for some of them may have been done before the end
        try:
            super()._note_missing(index, tally)
        except AddressError as error:
            self._run.failures.update((entry.name, str(error)) for entry in source)


class CopyWorker(SegmentWorker):
    """Copies photos and films, labels the copies, and puts the results where they belong."""

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Do some photos or a film, each from its copy to its receipt."""
        source = waiting = self._sources[task.source]
        batch = Batch(0, {}, [])
        try:
            if not self._arguments.restart:
                waiting = _unfinished(source, self.describe(), self._arguments)
        except AddressError as error:
            waiting, batch.failures = [], {entry.name: str(error) for entry in source}
        for entry in waiting:
            try:
                batch.done += self._label(cast(Copy, entry), batch.notices)
            except AddressError as error:
                batch.failures[entry.name] = str(error)
            except (*IMAGE_ERRORS, OSError) as error:
                remedy = "; or let TMPDIR name a folder on another disk" if isinstance(
                    error, OSError) and error.errno in NO_ROOM else ""
                batch.failures[entry.name] = _told(entry, cause_of(error)).replace(
                    f"'{MADE}/", f"'{Place.of(self._arguments.output)}/") + remedy
            except Exception as error:  # the others shall be done
                batch.failures[entry.name] = unexpected(error)
        if not source[0].is_video:
            return batch.done, "", batch
        return batch.done, batch.failures.get(source[0].name, ""), batch.notices

    def _label(self, entry: Copy, notices: list[str]) -> int:
        """Copy and label one file, and put its results; return how many frames it has.

        Raises:
            AddressError: it cannot be read, or the results cannot be written.
            OSError, or one of IMAGE_ERRORS: it cannot be labelled.
        """
        labelling = self._labelling  # loaded in the command's folder
        frames: list[None] = []
        with temporary_folder():
            entry.fetch()
            told = labelling.film(entry, lambda: frames.append(None)) if entry.is_video \
                else labelling.photo(entry)
            self._put(entry)
        notices += told
        return len(frames) if entry.is_video else 1

    def _put(self, entry: Copy) -> None:
        """Put a file's results at the output, the JSON file last."""
        output, receipt = Place.of(self._arguments.output), beside(entry.target, ".json")
        place = output / below_output(entry.target, ".json")
        if entry.before:
            place.write(_CLAIM)
        output.put([path for path in receipt.parent.iterdir() if path != receipt], MADE)
        place.write(receipt.read_bytes())


def estimate_copies(arguments: argparse.Namespace,
                    copies: Sequence[Input]) -> tuple[Estimate, list[str]]:
    """Copy a few photos and the smallest film, label some of their pixels, reckon the others.

    Returns:
        What there is to do, photos by their number and films by their size, and why files cannot
        be done.
    """
    compute_like_a_worker(arguments)
    labelling, total, problems = Labelling(arguments), Estimate(), []
    photos = [cast(Copy, entry) for entry in copies if not entry.is_video]
    films = sorted((cast(Copy, entry) for entry in copies if entry.is_video), key=_size)
    for left, several in ((photos, PROBED), (films, 1)):
        while left:
            tried, found = left[:several], Estimate()
            with temporary_folder():
                for number, entry in enumerate(tried):
                    tried[number] = replace(entry, path=Path(f"{number}{entry.path.suffix}"))
                try:
                    for entry in tried:
                        entry.fetch()
                    found, why = estimate(arguments, tried, labelling)
                    for entry in tried:
                        why = [_told(entry, text) for text in why]
                    problems += why
                except (AddressError, OSError) as error:
                    problems.append(cause_of(error))
            if found.sources:
                factor = len(left) / found.sources if several > 1 else \
                    sum(map(_size, left)) / max(1, _size(tried[0]))
                found.scale(len(left), factor)
                total.join(found)
                break
            left = left[several:]
    return total, problems


def _told(entry: Input, text: str) -> str:
    """Have a sentence name a copy as users do."""
    return text.replace(f"'{entry.path}", f"'{entry.name}")


def _size(entry: Copy) -> int:
    return entry.file.size or 0


def _unfinished(source: Source, said: dict[str, Any],
                arguments: argparse.Namespace) -> list[Input]:
    """Return what is not done yet, as far as its results looked whole.

    Raises:
        AddressError: the output cannot be read.
    """
    whole = [entry for entry in source if cast(Copy, entry).whole]
    receipts = Place.of(arguments.output).read_each(
        [below_output(entry.target, ".json") for entry in whole]) if whole else []
    done = [entry for entry, content in zip(whole, receipts, strict=True)
            if content and tells_of(content, entry, depends_on(said, entry))]
    return [entry for entry in source if entry not in done]
