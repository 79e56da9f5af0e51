"""Work through many pieces and put them together, whoever does the work."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sclip_seg_ros.cluster.pieces import Piece


@dataclass(frozen=True)
class Task:
    """What a worker is asked for.

    Attributes:
        source: index of the recording, film or batch of photos.
        piece: of it; None to put its pieces together, or to do what has none.
    """

    source: int
    piece: Piece | None = None


@dataclass(frozen=True)
class Done:
    """What a worker answers.

    Attributes:
        task: that it was asked for.
        frames: that were labelled and kept.
        seconds: that it took.
        worker: who did it, for people.
        error: why it could not be done; empty if it was.
        result: whatever else the worker says.
    """

    task: Task
    frames: int = 0
    seconds: float = 0.0
    worker: str = ""
    error: str = ""
    result: Any = None


@dataclass(frozen=True)
class Job:
    """A source that waits to be done.

    Attributes:
        source: its index.
        pieces: those that are not done yet; once all are, they are put together.
    """

    source: int
    pieces: Sequence[Piece] = ()

    @property
    def tasks(self) -> list[Task]:
        """What can be done at once."""
        return [Task(self.source, piece) for piece in self.pieces] or [Task(self.source)]


class Worker(Protocol):
    """Knows how to do a task; it stays in one process, and keeps its model there."""

    def describe(self) -> Any:
        """Load all there is to load, and say what results depend on; equal for all workers."""

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Do a task: frames, error and result of :class:`Done`. Doing it twice does no harm."""


@dataclass(frozen=True)
class Lost:
    """A task whose worker died at every try; which one, only its missing answer tells."""

    cause: str


class EngineGone(RuntimeError):
    """No worker can be reached any more; the message says why."""


class Engine(Protocol):
    """Has workers do tasks."""

    @property
    def free(self) -> bool:
        """Tell whether a worker waits for a task."""

    @property
    def busy(self) -> bool:
        """Tell whether an answer is to come."""

    def describe(self) -> Any:
        """Return what all workers say results depend on."""

    def submit(self, task: Task) -> None:
        """Give a task to a worker that is free."""

    def next(self, idle: bool) -> Done | Lost:
        """Wait for an answer. ``idle``: nothing else is left to submit.

        Raises:
            EngineGone: there will be none.
        """


class OneProcess:
    """The engine for one process: its own."""

    def __init__(self, worker: Worker) -> None:
        """Take the worker."""
        self._worker = worker
        self._waiting: deque[Task] = deque()

    @property
    def free(self) -> bool:
        """Tell whether the worker waits."""
        return not self._waiting

    @property
    def busy(self) -> bool:
        """Tell whether it does not."""
        return bool(self._waiting)

    def describe(self) -> Any:
        """Return what the worker says results depend on."""
        return self._worker.describe()

    def submit(self, task: Task) -> None:
        """Note a task."""
        self._waiting.append(task)

    def next(self, idle: bool) -> Done:
        """Do a task."""
        return answer(self._worker, self._waiting.popleft(), "this process")


def answer(worker: Worker, task: Task, name: str) -> Done:
    """Have a worker do a task, and take its time."""
    start = time.monotonic()
    frames, error, result = worker.do(task)
    return Done(task, frames, time.monotonic() - start, name, error, result)


@dataclass
class Tally:
    """What was done by whom, and what was not.

    Attributes:
        frames, seconds: of each worker, by its name.
        unanswered: tasks whose workers died.
        causes: of those deaths, each once.
        gone: why the work ended before all was done; empty if it did not.
    """

    frames: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unanswered: set[Task] = field(default_factory=set)
    causes: list[str] = field(default_factory=list)
    gone: str = ""

    def lines(self) -> list[str]:
        """Return each worker's rate, as a sentence."""
        return [f"{name}: {frames} frames, {frames / max(self.seconds[name], 1e-9):.2f} a second"
                for name, frames in sorted(self.frames.items())]


def work_through(engine: Engine, jobs: Sequence[Job], tally: Tally) -> Iterator[Done | Lost]:
    """Do all pieces, and put those of each source together as soon as it has all of them.

    Tasks are handed out one by one, so that what is nearly whole comes first, and unfinished pieces
    do not fill the disk.

    Yields:
        Every answer as it comes. A source of which a piece is missing is not put together. Without
        its engine the work ends, and the tally says why.
    """
    waiting = deque(task for job in jobs for task in job.tasks)
    missing = {job.source: len(job.pieces) for job in jobs}
    broken: dict[int, bool] = defaultdict(bool)
    while waiting or engine.busy:
        while waiting and engine.free:
            task = waiting.popleft()
            tally.unanswered.add(task)
            engine.submit(task)
        try:
            done = engine.next(not waiting)
        except EngineGone as error:
            tally.gone = str(error)
            return
        if isinstance(done, Lost):
            if done.cause not in tally.causes:
                tally.causes.append(done.cause)
            yield done
            continue
        task = done.task
        tally.unanswered.discard(task)
        tally.frames[done.worker] += done.frames
        tally.seconds[done.worker] += done.seconds
        if task.piece is not None:
            broken[task.source] |= bool(done.error)
            missing[task.source] -= 1
            if not missing[task.source] and not broken[task.source]:
                waiting.appendleft(Task(task.source))
        yield done
