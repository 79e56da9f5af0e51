"""The worker takes the newest item, survives exceptions, and stops within bounded time."""

from __future__ import annotations

import threading

import pytest

from sclip_seg_ros.ros.threads.worker import Worker

PATIENCE = 20.0


def test_works_on_the_newest_item_when_it_comes_free():
    started, release, done = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def work(items: list[int]) -> None:
        seen.extend(items)
        if items == [1]:
            started.set()
            release.wait(PATIENCE)
        else:
            done.set()

    worker = Worker("test", work, on_error=lambda error: None)
    worker.start()
    worker.mailbox.put(1)
    assert started.wait(PATIENCE)
    for item in (2, 3, 4):
        worker.mailbox.put(item)
    release.set()
    assert done.wait(PATIENCE)
    assert worker.stop(PATIENCE)
    assert seen == [1, 4]


def test_survives_exceptions_and_reports_each():
    errors, good = [], threading.Event()

    def work(items: list[str]) -> None:
        if items == ["bad"]:
            raise RuntimeError("out of order")
        good.set()

    reported = threading.Event()

    def on_error(error: Exception) -> None:
        errors.append(str(error))
        reported.set()

    worker = Worker("test", work, on_error)
    worker.start()
    for _ in range(2):
        reported.clear()
        worker.mailbox.put("bad")
        assert reported.wait(PATIENCE)
    worker.mailbox.put("good")
    assert good.wait(PATIENCE)
    assert errors == ["out of order"] * 2
    assert worker.alive
    assert worker.stop(PATIENCE)


def test_survives_a_report_that_fails_and_logs_it(caplog):
    done = threading.Event()

    def work(items: list[str]) -> None:
        if items == ["bad"]:
            raise RuntimeError("out of order")
        done.set()

    def on_error(error: Exception) -> None:
        failed.set()
        raise OSError("no log to write to")

    failed = threading.Event()
    worker = Worker("test", work, on_error)
    worker.start()
    worker.mailbox.put("bad")
    assert failed.wait(PATIENCE)
    worker.mailbox.put("good")
    assert done.wait(PATIENCE)
    assert worker.stop(PATIENCE)
    assert "out of order" in caplog.text and "no log to write to" in caplog.text


def test_idle_calls_come_while_no_item_does_and_survive_exceptions():
    calls, reported = threading.Semaphore(0), threading.Semaphore(0)

    def idle() -> None:
        calls.release()
        raise ValueError("nothing to do")

    worker = Worker("test", lambda items: None, lambda error: reported.release(), idle,
                    idle_seconds=0.01)
    worker.start()
    assert all(calls.acquire(timeout=PATIENCE) for _ in range(3))
    assert all(reported.acquire(timeout=PATIENCE) for _ in range(3))
    assert worker.stop(PATIENCE)


def test_stop_does_not_wait_for_endless_work():
    started, release = threading.Event(), threading.Event()

    def work(items: list[int]) -> None:
        started.set()
        release.wait(PATIENCE)

    worker = Worker("test", work, on_error=lambda error: None)
    worker.start()
    worker.mailbox.put(1)
    assert started.wait(PATIENCE)
    assert worker.busy_seconds > 0
    assert worker.stop(timeout=0.05) is False
    release.set()
    assert worker.stop(PATIENCE) is True
    assert worker.busy_seconds == 0


def test_a_stop_can_be_taken_back_and_calls_still_come_one_at_a_time():
    started, release, done = threading.Event(), threading.Event(), threading.Event()
    running, most, seen = [], [], []

    def work(items: list[int]) -> None:
        running.append(items)
        most.append(len(running))
        seen.extend(items)
        started.set()
        if items == [1]:
            release.wait(PATIENCE)
        running.pop()
        if items == [2]:
            done.set()

    worker = Worker("test", work, on_error=lambda error: None)
    worker.start()
    worker.mailbox.put(1)
    assert started.wait(PATIENCE)
    assert not worker.stop(0.05)
    worker.resume()
    worker.mailbox.put(2)
    assert worker.alive and worker.busy_seconds > 0
    assert not done.wait(0.1)
    release.set()
    assert done.wait(PATIENCE)
    assert worker.stop(PATIENCE)
    assert (seen, max(most)) == ([1, 2], 1)


def test_stop_before_start_is_harmless():
    assert Worker("test", lambda items: None, lambda error: None).stop(0.1)


@pytest.mark.parametrize("before", [True, False])
def test_a_worker_that_was_stopped_starts_anew(before):
    seen, done = [], threading.Event()

    def work(items: list[int]) -> None:
        seen.extend(items)
        done.set()

    worker = Worker("test", work, on_error=lambda error: None)
    if before:
        worker.start()
    assert worker.stop(PATIENCE)
    worker.start()
    worker.mailbox.put(7)
    assert done.wait(PATIENCE), "the worker took nothing after it was started anew"
    assert worker.stop(PATIENCE)
    assert seen == [7]
