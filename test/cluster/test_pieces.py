"""Cutting into pieces, and working through them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg_ros.cluster.pieces import Piece, cut
from sclip_seg_ros.cluster.work import Job, OneProcess, Tally, Task, work_through


@given(st.integers(-100, 100), st.integers(0, 10_000), st.integers(1, 500), st.integers(0, 200))
def test_pieces_cover_everything_once(begin, span, length, run_in):
    pieces = cut(begin, begin + span, length, run_in)
    assert pieces[0].begin == pieces[0].run_in == begin and pieces[-1].end is None
    for number, piece in enumerate(pieces):
        assert piece.number == number
        assert max(begin, piece.begin - run_in) == piece.run_in
    for piece, after in zip(pieces, pieces[1:], strict=False):
        assert piece.end == after.begin == piece.begin + length
    assert span - (pieces[-1].begin - begin) <= 1.5 * length


@pytest.mark.parametrize("length, run_in", [(0, 0), (5, -1)])
def test_pieces_that_are_none_are_refused(length, run_in):
    with pytest.raises(ValueError, match="a length of 1 or more and a run-in of 0 or more"):
        cut(0, 10, length, run_in)


class Recorder:
    """Note the tasks, and fail at one piece."""

    def __init__(self, bad: Task | None = None) -> None:
        self.tasks: list[Task] = []
        self._bad = bad

    def describe(self) -> str:
        return "a recorder"

    def do(self, task: Task) -> tuple[int, str, object]:
        self.tasks.append(task)
        return 1, "too bad" if task == self._bad else "", None


def test_a_source_is_put_together_as_soon_as_it_has_its_pieces():
    jobs = [Job(source, cut(0, 20, 10, 0)) for source in (0, 1)] + [Job(2)]
    worker = Recorder()
    list(work_through(OneProcess(worker), jobs, Tally()))
    assert [(task.source, task.piece and task.piece.number) for task in worker.tasks] == [
        (0, 0), (0, 1), (0, None), (1, 0), (1, 1), (1, None), (2, None)]


def test_a_source_without_one_of_its_pieces_is_not_put_together():
    pieces = cut(0, 20, 10, 0)
    worker, tally = Recorder(Task(0, pieces[0])), Tally()
    answers = list(work_through(OneProcess(worker), [Job(0, pieces), Job(1, pieces)], tally))
    assert Task(0) not in worker.tasks and Task(1) in worker.tasks and Task(0, pieces[1]) in \
        worker.tasks
    assert [done.error for done in answers if done.error] == ["too bad"]
    assert tally.frames == {"this process": 5} and not tally.unanswered
    assert isinstance(pieces[0], Piece)
