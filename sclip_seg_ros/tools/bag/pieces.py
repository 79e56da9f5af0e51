"""Recordings in pieces: which there are, how one is done, how they become a recording again."""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import WriterError

from sclip_seg_ros.cluster.pieces import Piece, cut
from sclip_seg_ros.cluster.work import Engine, Job, Lost, Tally, Task, work_through
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools.arguments import chosen_classes, chosen_profile, chosen_temporal
from sclip_seg_ros.tools.bag.processing import (
    Outcome,
    chosen_ids,
    describe,
    load,
    take_over,
    write,
)
from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError
from sclip_seg_ros.tools.bag.results.earlier import FRAMES, check_partial, partial_of, remove
from sclip_seg_ros.tools.bag.results.topics import Plan, make_plan
from sclip_seg_ros.tools.bag.segmenting import segment_piece
from sclip_seg_ros.tools.failures import unexpected
from sclip_seg_ros.tools.figures import provenance
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames, ForeignRunError
from sclip_seg_ros.tools.pieces.pieces import (
    frames_in,
    new_store,
    open_engine,
    piece_path,
    shown,
    why_missing,
)
from sclip_seg_ros.tools.pieces.seams import seams_of, sentence

MOST_PIECES = 100_000  # of one recording; more come of a stamp that is wrong


def segment_in_pieces(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each recording as soon as all of its pieces are put together.

    Pieces that an earlier run of the same flags has finished are left as they are.
    """
    with open_engine(arguments, partial(BagWorker, arguments)) as engine:
        yield from work(engine, arguments, *_jobs(arguments, engine.describe()))


def work(engine: Engine, arguments: argparse.Namespace, sources: Sequence[Source],
         jobs: dict[int, Job]) -> Iterator[Outcome]:
    """Have jobs done, and yield the outcome of each source as soon as it is known.

    Args:
        engine: does them.
        arguments: of the command line.
        sources: all of them; one without a job has its outcome already.
        jobs: by the index of their source.
    """
    yield from (source.outcome for source in sources if source.index not in jobs)
    tally = Tally()
    errors: dict[int, dict[int, str]] = defaultdict(dict)
    todo = list(jobs.values())
    for done in shown(work_through(engine, todo, tally), tally, todo, arguments.ray is not None):
        if isinstance(done, Lost):
            continue
        source = sources[done.task.source]
        if done.task.piece is not None:
            source.outcome.kept += done.frames
            if done.error:
                errors[source.index][done.task.piece.number] = done.error
        else:
            done.result.before = source.outcome.before
            del jobs[source.index]
            yield done.result
    for index in jobs:
        unanswered = [task for task in tally.unanswered if task.source == index]
        source = sources[index]
        source.outcome.kept += source.outcome.before
        source.outcome.error = why_missing(source.outcome.name, source.pieces, errors[index],
                                           unanswered, tally)
        yield source.outcome


@dataclass
class Source:
    """A recording of the command line: its number, pieces, and what is known of it so far."""

    index: int
    outcome: Outcome
    pieces: int = 0


def _jobs(arguments: argparse.Namespace,
          segmentation: dict[str, Any]) -> tuple[list[Source], dict[int, Job]]:
    """Find out what there is to do; a source without a job has its outcome already."""
    sources, jobs = [], {}
    for index, target in enumerate(arguments.targets):
        source = Source(index, Outcome(target))
        sources.append(source)
        try:
            opened = Opened(arguments, index)
            source.outcome.notices, source.outcome.lost = opened.plan.left_out, opened.plan.lost
            source.outcome.cuts = tuple(opened.recording.cuts)
            if arguments.restart:
                remove(target)
            run = opened.run(segmentation)
            if target.exists():
                take_over(target, run, source.outcome)
                continue
            check_partial(target)
            pieces = opened.pieces
            there = {piece: frames_in(opened.path(piece), _of(run, piece)) for piece in pieces}
            source.pieces = len(pieces)
            source.outcome.before = sum(filter(None, there.values()))
            jobs[index] = Job(index, [piece for piece in pieces if there[piece] is None])
        except (RecordingError, ForeignRunError, OSError) as error:
            source.outcome.error = str(error)
        except Exception as error:  # the others of the command shall be done
            source.outcome.error = f"'{arguments.bags[index]}' cannot be segmented: " \
                                   f"{unexpected(error)}"
    return sources, jobs


class Opened:
    """A recording of the command line, as far as it is known without a model."""

    def __init__(self, arguments: argparse.Namespace, index: int) -> None:
        """Open it.

        Raises:
            RecordingError: it cannot be read.
        """
        self._arguments = arguments
        self.bag, self.target = arguments.bags[index], arguments.targets[index]
        self.codec = Codec()
        self.recording = Recording(self.bag)
        self.plan: Plan = make_plan(self.recording, arguments.topics, arguments.prefix, self.codec,
                                    arguments.points)

    @property
    def pieces(self) -> list[Piece]:
        """All pieces; one where the recording cannot be read from the middle.

        Raises:
            RecordingError: there are too many, which a wrong stamp makes.
        """
        times = self.recording.times
        if times is None:
            return [Piece(0, 0, None, 0)]
        length, run_in = (max(1, round(seconds * 1e9)) if seconds else 0 for seconds in
                          (self._arguments.piece_seconds, self._arguments.run_in))
        if (count := (times[1] - times[0]) // length) > MOST_PIECES:
            raise RecordingError(
                f"'{self.bag}' would be {count} pieces, for its first and its last message were "
                f"recorded {(times[1] - times[0]) / 86400e9:.0f} days apart: one of these stamps "
                "is likely wrong; segment it without --piece-seconds and --ray, or leave that "
                "message out with `ros2 bag convert`")
        return cut(*times, length, run_in)

    def path(self, piece: Piece) -> Path:
        """Return where the frames of a piece lie."""
        return piece_path(partial_of(self.target) / FRAMES, piece)

    def run(self, segmentation: dict[str, Any]) -> dict[str, Any]:
        """Name all that the new recording depends on."""
        classes, _ = chosen_classes(self._arguments, chosen_profile(self._arguments))
        return describe(self.recording, self.plan, self._arguments, segmentation,
                        chosen_ids(self._arguments, len(classes)))


class ModelWorker:
    """What workers on recordings share: the command line, and its model."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Take the command line; the model is loaded when it is wanted."""
        self._arguments = arguments

    def describe(self) -> dict[str, Any]:
        """Load the model, and say what labels depend on."""
        return self._segmentation

    @cached_property
    def _model(self) -> tuple[SCLIPSegmentor, Vocabulary]:
        return load(self._arguments)

    @cached_property
    def _segmentation(self) -> dict[str, Any]:
        return provenance.describe_segmentation(*self._model)


class BagWorker(ModelWorker):
    """Does pieces of recordings, and puts them together."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Take the command line; the model is loaded when it is wanted."""
        super().__init__(arguments)
        self._opened: dict[int, Opened] = {}  # the newest one; opening takes a while

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Do one piece of a recording, or put its pieces together."""
        outcome = Outcome(self._arguments.targets[task.source])
        try:
            opened = self._open(task.source)
            if task.piece is not None:
                return self._segment(opened, task.piece), "", None
            self._join(opened, outcome)
        except (RecordingError, ForeignRunError) as error:
            outcome.error = str(error)
        except (WriterError, OSError, sqlite3.Error) as error:
            outcome.error = (f"'{outcome.target}' cannot be written ({error}); make room or choose "
                             "another --output; the same command goes on")
        except Exception as error:  # the others shall be done
            outcome.error = f"'{self._arguments.bags[task.source]}' cannot be segmented: " \
                            f"{unexpected(error)}"
        return 0, outcome.error, outcome

    def _open(self, source: int) -> Opened:
        if source not in self._opened:
            self._opened = {source: Opened(self._arguments, source)}
        return self._opened[source]

    def _segment(self, opened: Opened, piece: Piece) -> int:
        run = _of(opened.run(self._segmentation), piece)
        with new_store(opened.path(piece), run) as store:
            segment_piece(opened.recording, opened.plan, piece, store, opened.codec, *self._model,
                          chosen_temporal(self._arguments), self._arguments.label_size)
            return store.count

    def _join(self, opened: Opened, outcome: Outcome) -> None:
        plan, (_, vocabulary) = opened.plan, self._model
        run, pieces = opened.run(self._segmentation), opened.pieces
        outcome.notices, outcome.lost = plan.left_out, plan.lost
        with ExitStack() as stack:
            stores = [stack.enter_context(closing(
                FinishedFrames(opened.path(piece), _of(run, piece)))) for piece in pieces]
            seams = seams_of(stores, [channel.topic for channel in plan.outputs])
            # Whoever puts the same pieces together at the same time does so elsewhere.
            place = partial_of(outcome.target) / f"{FRAMES}.{uuid.uuid4().hex}"
            place.mkdir()
            write(place / outcome.target.name, outcome, opened.recording, plan, stores,
                  opened.codec, vocabulary, self._arguments, run, position=1,
                  seams=[[seam.topic, seam.stamp, seam.share] for seam in seams])
        if told := sentence(outcome.target, len(pieces), seams):
            outcome.notices += (told,)
        (place / outcome.target.name).rename(outcome.target)
        shutil.rmtree(partial_of(outcome.target))


def _of(run: dict[str, Any], piece: Piece) -> dict[str, Any]:
    """Name all that a piece depends on."""
    return {**run, "piece": [piece.begin, piece.end, piece.run_in]}
