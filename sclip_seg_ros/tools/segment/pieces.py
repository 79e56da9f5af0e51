"""Photos in batches and films in pieces, by whatever engine."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from sclip_seg_ros.cluster.pieces import Piece, cut
from sclip_seg_ros.cluster.work import Engine, Job, Lost, Tally, Task, work_through
from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of, unexpected
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames, ForeignRunError, Frame
from sclip_seg_ros.tools.pieces.pieces import (
    frames_in,
    new_store,
    open_engine,
    piece_path,
    shown,
    why_missing,
)
from sclip_seg_ros.tools.pieces.seams import Entrance, seams_of, sentence
from sclip_seg_ros.tools.segment.finished import is_finished, made_of
from sclip_seg_ros.tools.segment.inputs import Input
from sclip_seg_ros.tools.segment.labelling import Labelling, depends_on, notices_of
from sclip_seg_ros.tools.segment.outputs import beside
from sclip_seg_ros.tools.segment.run import Run
from sclip_seg_ros.tools.segment.video import VideoError, VideoResults, VideoSource

BATCH = 16  # photos that are one task
_TOPIC = ""  # of a film's frames
Source = Sequence[Input]  # some photos, or one film
_Input = TypeVar("_Input", bound=Input)


def segment_in_pieces(run: Run) -> None:
    """Segment all files, photos some at a time, films in pieces that are put together.

    What an earlier run of the same flags has finished, files and pieces, is left as it is.
    """
    sources = sources_of(run.inputs)
    with open_engine(run.arguments, partial(SegmentWorker, run.arguments, sources)) as engine:
        run.said = engine.describe()
        Desk(run, sources).work(engine)


def sources_of(inputs: Sequence[_Input]) -> list[Sequence[_Input]]:
    """Return photos, some at a time, and films one by one."""
    photos = [entry for entry in inputs if not entry.is_video]
    return [*(photos[begin:begin + BATCH] for begin in range(0, len(photos), BATCH)),
            *([entry] for entry in inputs if entry.is_video)]


@dataclass
class Batch:
    """What came of some photos: how many, why others were not by their name, and notices."""

    done: int
    failures: dict[str, str]
    notices: list[str]


class Desk:
    """Hand out the work of a run, and note what comes of it."""

    def __init__(self, run: Run, sources: Sequence[Source]) -> None:
        self._run = run
        self._sources = list(sources)
        self._counts: dict[int, int] = {}  # pieces of the films
        self._errors: dict[int, dict[int, str]] = defaultdict(dict)

    def work(self, engine: Engine) -> None:
        """Do all there is to do."""
        jobs, tally = self._jobs(), Tally()
        todo = list(jobs.values())
        for done in shown(work_through(engine, todo, tally), tally, todo,
                          self._run.arguments.ray is not None):
            if isinstance(done, Lost):
                continue
            source = self._sources[done.task.source]
            if done.task.piece is not None:
                self._run.frames += done.frames
                if done.error:
                    self._errors[done.task.source][done.task.piece.number] = done.error
                continue
            del jobs[done.task.source]
            if not source[0].is_video:
                self._run.images += done.result.done
                self._run.failures.update(done.result.failures)
                self._run.notices += done.result.notices
            elif done.error:
                self._run.failures[source[0].name] = done.error
            else:
                self._run.frames += done.frames  # of a film that was not cut
                self._run.videos += 1
                self._run.notices += done.result
        for index in jobs:
            self._note_missing(index, tally)

    def _jobs(self) -> dict[int, Job]:
        run, jobs = self._run, {}
        for index, source in enumerate(self._sources):
            waiting = source if run.arguments.restart else self._left(source)
            run.before += len(source) - len(waiting)
            if not waiting:
                continue
            if not source[0].is_video or run.arguments.piece_seconds is None:
                jobs[index] = Job(index)
                continue
            try:
                pieces = film_pieces(run.arguments, source[0])
            except (VideoError, OSError) as error:
                run.failures[source[0].name] = cause_of(error)
                continue
            self._counts[index] = len(pieces)
            jobs[index] = Job(index, [piece for piece in pieces
                                      if not self._is_there(source[0], piece)])
        return jobs

    def _left(self, source: Source) -> Source:
        """Return what is not done yet, by this run or an earlier one."""
        return [entry for entry in source
                if not is_finished(entry, depends_on(self._run.said, entry))]

    def _is_there(self, entry: Input, piece: Piece) -> bool:
        if self._run.arguments.restart:
            return False
        try:
            return frames_in(*_place(entry, piece, self._run.said)) is not None
        except ForeignRunError:  # of other settings; it will be replaced
            return False

    def _note_missing(self, index: int, tally: Tally) -> None:
        source = self._sources[index]
        unanswered = [task for task in tally.unanswered if task.source == index]
        name = source[0].name
        if source[0].is_video:
            self._run.failures[name] = why_missing(
                name, self._counts.get(index, 0), self._errors[index], unanswered, tally)
            return
        left = self._left(source)
        for entry in source:
            if entry in left:
                self._run.failures[entry.name] = (
                    f"it is not done: {tally.gone}; the same command does it" if tally.gone else
                    f"it is one of {in_number(len(source), 'photo')} set aside, because two "
                    f"workers died of them ({'; '.join(tally.causes)}); the same command tries "
                    "again")
            else:
                self._run.images += 1


class SegmentWorker:
    """Labels photos and pieces of films, and puts films together."""

    def __init__(self, arguments: argparse.Namespace, sources: Sequence[Source]) -> None:
        """Take the command line and its files; the model is loaded when it is wanted."""
        self._arguments = arguments
        self._sources = sources

    def describe(self) -> dict[str, Any]:
        """Load the model, and say what results depend on."""
        return self._labelling.said

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Do some photos, a piece of a film, or put a film together."""
        source = self._sources[task.source]
        if not source[0].is_video:
            batch = self._photos(source)
            return batch.done, "", batch
        try:
            if task.piece is not None:
                return self._segment(source[0], task.piece), "", None
            return 0, "", self._join(source[0])
        except (*IMAGE_ERRORS, OSError) as error:
            return 0, cause_of(error), None
        except Exception as error:  # the others shall be done
            return 0, unexpected(error), None

    @cached_property
    def _labelling(self) -> Labelling:
        return Labelling(self._arguments)

    def _photos(self, source: Source) -> Batch:
        batch = Batch(0, {}, [])
        for entry in source:
            if not self._arguments.restart and is_finished(
                    entry, depends_on(self._labelling.said, entry)):
                continue
            try:
                batch.notices += self._labelling.photo(entry)
                batch.done += 1
            except (*IMAGE_ERRORS, OSError) as error:
                batch.failures[entry.name] = cause_of(error)
            except Exception as error:  # the others shall be done
                batch.failures[entry.name] = unexpected(error)
        return batch

    def _segment(self, entry: Input, piece: Piece) -> int:
        work = self._labelling
        film = FilmSegmentor(work.segmentor, work.vocabulary, work.temporal)
        source, entrance = VideoSource(entry.path), Entrance()
        with new_store(*_place(entry, piece, work.said)) as store, \
                closing(source.frames(piece.run_in)) as frames:
            for index, pixels in enumerate(frames, piece.run_in):
                if piece.end is not None and index >= piece.end:
                    break
                if index >= piece.begin:
                    entrance.enter(_TOPIC, film)
                try:
                    result = film(pixels, source.seconds)
                except IMAGE_ERRORS as error:
                    raise VideoError(f"frame {index}: {cause_of(error)}") from error
                if index < piece.begin:
                    entrance.saw(_TOPIC, result.labels)
                    continue
                store.append(Frame(_TOPIC, round(source.seconds * 1e9), "", result.labels,
                                   result.coverage, result.mean_confidence, result.confidence))
            store.keep(entrance.leave({_TOPIC: film}))
            return store.count

    def _join(self, entry: Input) -> list[str]:
        """Put a film's pieces together; return what there is to say about it."""
        work, arguments = self._labelling, self._arguments
        pieces = film_pieces(arguments, entry)
        places = [_place(entry, piece, work.said) for piece in pieces]
        with ExitStack() as stack:
            stores = [stack.enter_context(closing(FinishedFrames(*place))) for place in places]
            seams = seams_of(stores, [_TOPIC])
            source, results = VideoSource(entry.path), None
            for pixels, frame in zip(source.frames(), chain.from_iterable(stores), strict=True):
                if results is None:
                    results = stack.enter_context(VideoResults(entry.target, source.rate,
                                                               pixels.shape[:2]))
                picture = overlay_of(pixels, frame.labels, work.vocabulary, frame.coverage,
                                     arguments.overlay_alpha, arguments.legend)
                results.append(picture, frame, source.seconds)
        assert results is not None  # or the film's first piece had failed
        work.conclude(entry, results, {
            "seams": [[seam.stamp / 1e9, seam.share] for seam in seams]})
        for path, _ in places:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another run's pieces, or a worker's unfinished ones
            places[0][0].parent.rmdir()
        told = sentence(entry.name, len(pieces), seams)
        return notices_of(entry, source, results.count) + ([told] if told else [])


def film_pieces(arguments: argparse.Namespace, entry: Input) -> list[Piece]:
    """Return the pieces of a film, whose unit is the frame; one where it tells no length.

    Without ``--piece-seconds`` it is one, too.

    Raises:
        VideoError: it cannot be opened.
    """
    source = VideoSource(entry.path)
    if source.announced is None or arguments.piece_seconds is None:
        return [Piece(0, 0, None, 0)]
    return cut(0, source.announced, max(1, round(arguments.piece_seconds * source.rate)),
               round(arguments.run_in * source.rate))


def _place(entry: Input, piece: Piece, said: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return where a piece of a film lies, and all that it depends on."""
    return piece_path(beside(entry.target, ".pieces") / "frames", piece), {
        **made_of(entry, said["films"]), "piece": [piece.begin, piece.end, piece.run_in]}
