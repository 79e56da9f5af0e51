"""The images of a data set over Ray's workers; films stay whole, for their frames need each other.
"""

from __future__ import annotations

import argparse
from functools import cached_property, partial
from itertools import groupby
from typing import Any

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.cluster.work import Job, Lost, Tally, Task, work_through
from sclip_seg_ros.common.text import differing
from sclip_seg_ros.tools.benchmark.ablation import AblationMeter
from sclip_seg_ros.tools.benchmark.bench import Bench, describe, prepare
from sclip_seg_ros.tools.benchmark.datasets import film_of
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.measuring import FilmMeter, Meter, load_ahead
from sclip_seg_ros.tools.console import USER_ERRORS
from sclip_seg_ros.tools.failures import unexpected
from sclip_seg_ros.tools.pieces.pieces import open_engine, shown

BATCH = 8  # images that are one task


class SpreadError(ValueError):
    """Some images could not be measured; the message says which and why."""


def meter_of(bench: Bench) -> Meter | FilmMeter | AblationMeter:
    """Return what measures an image, or the frames of films."""
    if bench.rows:
        return AblationMeter(bench.segmentor, bench.rows, bench.vocabulary)
    if bench.temporal is not None:
        return FilmMeter(bench.segmentor, bench.vocabulary, bench.temporal)
    return Meter(bench.segmentor, bench.vocabulary)


def measure_with_ray(bench: Bench, journal: Journal) -> None:
    """Measure the images that the journal does not hold yet; it gets them in their order.

    Raises:
        SpreadError: some could not be measured, the cluster is gone, or the workers measure
            something else.
    """
    done = len(journal.images)
    pieces = [piece for piece in _pieces(bench) if piece.end is not None and piece.end > done]
    with open_engine(bench.arguments, partial(BenchWorker, bench.arguments)) as engine:
        if different := differing(describe(bench), engine.describe()):
            raise SpreadError(f"the workers differ from this computer in {different}; run the "
                              "command on a machine like theirs")
        tally, ready, errors = Tally(), {}, {}
        waiting = iter(pieces)
        following = next(waiting, None)
        jobs = [Job(0, pieces)] if pieces else []
        for answer in shown(work_through(engine, jobs, tally), tally, jobs, True):
            if isinstance(answer, Lost) or answer.task.piece is None:
                continue
            ready[answer.task.piece] = answer.result
            if answer.error:
                errors[answer.task.piece] = answer.error
            while following in ready and following not in errors:
                for record in ready.pop(following)[max(0, done - following.begin):]:
                    journal.append(record)
                following = next(waiting, None)
    for piece in pieces:
        if piece in errors:
            raise SpreadError(errors[piece])
    if tally.gone:
        raise SpreadError(tally.gone)
    if following is not None:
        last = f"to {following.end - 1}" if following.end is not None else "and those after it"
        raise SpreadError(f"images {following.begin} {last} are set aside, because two workers "
                          f"died of them ({'; '.join(tally.causes)})")


class BenchWorker:
    """Measures batches of images, or films."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Take the command line; the model is loaded when it is wanted."""
        self._arguments = arguments

    def describe(self) -> dict[str, Any]:
        """Load the model, and say what is measured."""
        return describe(self._bench)

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Measure some images, and return their records."""
        if task.piece is None:  # records need not be put together
            return 0, "", None
        indices = self._bench.indices[task.piece.begin:task.piece.end]
        try:
            records = [dict(self._meter(sample)) for sample in
                       load_ahead(self._bench.dataset, indices, self._arguments.workers)]
        except USER_ERRORS as error:
            return 0, str(error), None
        except Exception as error:
            return 0, unexpected(error), None
        return len(records), "", records

    @cached_property
    def _bench(self) -> Bench:
        return prepare(self._arguments)

    @cached_property
    def _meter(self) -> Meter | FilmMeter | AblationMeter:
        return meter_of(self._bench)


def _pieces(bench: Bench) -> list[Piece]:
    """Return batches of positions among the indices: some images, or one film."""
    if bench.temporal is None:
        ends = [*range(BATCH, len(bench.indices), BATCH), len(bench.indices)]
    else:
        films = groupby(bench.indices, lambda index: film_of(bench.dataset.name(index)))
        ends, end = [], 0
        for _, frames in films:
            end += sum(1 for _ in frames)
            ends.append(end)
    return [Piece(number, begin, end, begin)
            for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))]
