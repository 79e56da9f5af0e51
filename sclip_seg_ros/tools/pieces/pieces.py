"""What programs that work in pieces share: flags, an engine, finished pieces on disk, the bar."""

from __future__ import annotations

import argparse
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.cluster.work import Done, Engine, Job, Lost, OneProcess, Tally, Task, Worker
from sclip_seg_ros.common.libraries import remedy_for
from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames
from sclip_seg_ros.tools.program import positive

PIECE_SECONDS = 60.0
LOCAL = "local"  # Ray's name for a cluster that it starts here
RUN_IN = 2.0  # seconds; docs/fleet.md has what other values cost and bring


def add_piece_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for work in pieces; :func:`check_piece_flags` looks at them."""
    pieces = parser.add_argument_group("pieces")
    pieces.add_argument("--piece-seconds", type=float, metavar="S",
                        help="cut films and recordings into pieces of about so many seconds, that "
                             f"are done apart and put together ({PIECE_SECONDS:g} with --ray or "
                             "--dry-run; else nothing is cut)")
    pieces.add_argument("--run-in", type=float, metavar="S",
                        help="seconds before a piece that are labelled for what they tell of it, "
                             f"and thrown away (default {RUN_IN:g}, or a piece's length)")
    add_ray_flags(pieces)
    pieces.add_argument("--dry-run", action="store_true",
                        help="label a few frames, and tell how many pieces there are, how long "
                             "they take and how much disk; no result is written")


def check_piece_flags(parsed: argparse.Namespace) -> None:
    """Refuse unusable values, and fill in the defaults; ``piece_seconds`` is None for no pieces.

    Raises:
        UsageError: in one sentence.
    """
    check_ray_flags(parsed)
    if parsed.piece_seconds is None and (parsed.dry_run or parsed.ray is not None):
        parsed.piece_seconds = PIECE_SECONDS
    if parsed.piece_seconds is None:
        if parsed.run_in is not None:
            raise UsageError("--run-in has no effect without pieces; add --piece-seconds")
        return
    if not 0.1 <= parsed.piece_seconds <= 86400:
        raise UsageError(f"--piece-seconds {parsed.piece_seconds:g} is out of range; give 0.1 to "
                         "86400")
    if parsed.run_in is not None and not parsed.temporal:
        raise UsageError("--run-in has no effect beside --no-temporal; leave one of them out")
    if parsed.run_in is None:
        parsed.run_in = min(RUN_IN, parsed.piece_seconds) if parsed.temporal else 0.0
    if not 0 <= parsed.run_in <= parsed.piece_seconds:
        raise UsageError(f"--run-in {parsed.run_in:g} must be 0 to the length of a piece, "
                         f"{parsed.piece_seconds:g}")


def add_ray_flags(group: argparse._ArgumentGroup) -> None:
    """Add the flags for Ray's workers; :func:`check_ray_flags` looks at them."""
    group.add_argument("--ray", nargs="?", const=LOCAL, metavar="ADDRESS",
                        help="have Ray's workers do the work: on this computer, or on the "
                             "cluster at an address, all of whose machines see the same folders")
    group.add_argument("--ray-workers", type=positive, metavar="N",
                        help="with --ray: how many workers (default: as many as there is room for)")
    group.add_argument("--ray-cpus", type=float, metavar="N",
                        help="with --ray: cores of a worker (default 1)")
    group.add_argument("--ray-gpus", type=float, metavar="N",
                        help="with --ray: GPUs of a worker, or the fraction of one (default: one, "
                             "where there are any)")


def check_ray_flags(parsed: argparse.Namespace) -> None:
    """Refuse values that are unusable, or have no effect.

    Raises:
        UsageError: in one sentence.
    """
    for flag, value in (("workers", parsed.ray_workers), ("cpus", parsed.ray_cpus),
                        ("gpus", parsed.ray_gpus)):
        if value is not None and parsed.ray is None:
            raise UsageError(f"--ray-{flag} has no effect without --ray; add that")
        if value is not None and not 0 <= value <= 1024 or flag == "cpus" and value == 0:
            raise UsageError(f"--ray-{flag} {value:g} is out of range; give more than 0, at most "
                             "1024")


@contextmanager
def open_engine(arguments: argparse.Namespace,
                worker: Callable[[], Worker]) -> Iterator[Engine]:
    """Yield what has workers do the pieces, and take it down at the end.

    Raises:
        UsageError: Ray is not installed, or there is no cluster; in one sentence.
    """
    if arguments.ray is None:
        yield OneProcess(worker())
        return
    try:
        from sclip_seg_ros.cluster.ray_pool import ClusterError, RayPool, Share
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError("--ray needs the Python module 'ray', which is not installed; "
                         f"{remedy_for('ray', 'cluster')}") from error
    share = Share(arguments.ray_workers, arguments.ray_cpus or 1, arguments.ray_gpus)
    try:
        with RayPool(arguments.ray, share, worker) as pool:
            yield pool
    except ClusterError as error:
        raise UsageError(str(error)) from error


@contextmanager
def new_store(path: Path, run: Mapping[str, Any]) -> Iterator[FinishedFrames]:
    """Yield a file for the frames of a piece, which gets its name once it is whole.

    It is written on the local disk: databases do not like network ones. Whoever makes the same
    piece at the same time makes the same file.
    """
    with TemporaryDirectory(prefix="sclip-piece-") as folder:
        local = Path(folder) / "frames.sqlite"
        store = FinishedFrames(local, run, lasting=False)  # it is copied once it is whole
        try:
            yield store
        finally:
            store.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        shutil.copyfile(local, unfinished)
        os.replace(unfinished, path)


def piece_path(beginning: Path, piece: Piece) -> Path:
    """Return where the frames of a piece lie."""
    return beginning.with_name(f"{beginning.name}.{piece.number:05}")


def frames_in(path: Path, run: Mapping[str, Any]) -> int | None:
    """Return how many frames a finished piece has; None where there is no such piece.

    Raises:
        ForeignRunError: it is one of another run.
    """
    if not path.is_file():
        return None
    store = FinishedFrames(path, run)
    count = store.count
    store.close()
    return count


def shown(answers: Iterator[Done | Lost], tally: Tally, jobs: Collection[Job],
          workers: bool) -> Iterator[Done | Lost]:
    """Pass answers on, and show a bar of pieces with frames a second and each worker's rate.

    Args:
        answers: of the workers.
        tally: of them.
        jobs: whose pieces the bar counts, and those without pieces as one.
        workers: whether to tell at the end what each of them did.
    """
    failed = 0
    whole = {job.source for job in jobs if not job.pieces}
    tasks = sum(len(job.tasks) for job in jobs)
    with tqdm(total=tasks, unit=" piece", bar_format=BAR + "{postfix}", disable=None) as bar:
        for done in answers:
            failed += isinstance(done, Lost) or bool(done.error)
            if isinstance(done, Lost) or done.task.piece or done.task.source in whole:
                bar.update()
            frames = sum(tally.frames.values())
            if frames:
                seconds = bar.format_dict["elapsed"]
                rates = sorted(count / max(tally.seconds[name], 1e-9)
                               for name, count in tally.frames.items())
                each = " to ".join(f"{rate:.1f}" for rate in dict.fromkeys((rates[0], rates[-1])))
                bar.set_postfix_str(
                    f"{frames / max(seconds, 1e-9):.1f} frames/s; "
                    f"{in_number(len(rates), 'worker')}, {each} frames/s each; {failed} failed")
            yield done
    for line in tally.lines() if workers else ():
        print(line, flush=True)


def why_missing(name: object, pieces: int, errors: Mapping[int, str],
                unanswered: Collection[Task], tally: Tally) -> str:
    """Say why a source was not put together.

    Args:
        name: of what is missing.
        pieces: that it has; 0 for what is done whole.
        errors: of pieces, by number.
        unanswered: tasks whose workers died.
        tally: with the causes, or why the work ended.
    """
    reasons = [f"piece {number}: {error}" for number, error in sorted(errors.items())]
    if tally.gone:
        reasons.append(tally.gone)
    elif unanswered:
        numbers = sorted(task.piece.number for task in unanswered if task.piece is not None)
        names = f"piece{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers \
            else "putting it together" if pieces else "it is"
        reasons.append(f"{names} set aside, because two workers died of "
                       f"{'it' if len(unanswered) == 1 else 'them'} ({'; '.join(tally.causes)})")
    rest = f"does what is missing of its {in_number(pieces, 'piece')}" if pieces else "does it"
    return f"'{name}' is not done: {'; '.join(reasons)}; the same command {rest}"
