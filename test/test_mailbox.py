"""The newest item wins; overwritten ones are counted; closing wakes the reader."""

from __future__ import annotations

import threading

from sclip_seg_ros.ros.mailbox import Mailbox


def test_newest_item_replaces_an_older_one_and_is_counted():
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(item) for item in (1, 2, 3)] == [False, True, True]
    assert mailbox.take() == 3
    assert mailbox.overwritten == 2
    assert mailbox.take(timeout=0.0) is None


def test_a_taken_item_is_not_counted_as_overwritten():
    mailbox: Mailbox[int] = Mailbox()
    for item in range(5):
        mailbox.put(item)
        assert mailbox.take() == item
    assert mailbox.overwritten == 0


def test_items_that_are_false_are_items_too():
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    assert mailbox.take() == 0


def test_a_waiting_reader_gets_the_item():
    mailbox: Mailbox[str] = Mailbox()
    found = []
    reader = threading.Thread(target=lambda: found.append(mailbox.take()))
    reader.start()
    mailbox.put("frame")
    reader.join(10)
    assert found == ["frame"]


def test_close_wakes_every_reader_and_takes_nothing_more():
    mailbox: Mailbox[str] = Mailbox()
    found = []
    readers = [threading.Thread(target=lambda: found.append(mailbox.take())) for _ in range(3)]
    for reader in readers:
        reader.start()
    mailbox.close()
    for reader in readers:
        reader.join(10)
    assert found == [None] * 3
    assert not mailbox.put("late")
    assert mailbox.take() is None


def test_no_item_is_lost_or_seen_twice_between_threads():
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def read() -> None:
        while (item := mailbox.take()) is not None:
            taken.append(item)

    reader = threading.Thread(target=read)
    reader.start()
    for item in range(20000):
        mailbox.put(item)
    while mailbox.take(timeout=0.0) is not None:  # the last one goes to either reader
        taken.append(19999)
    mailbox.close()
    reader.join(10)
    assert taken == sorted(set(taken))
    assert len(taken) + mailbox.overwritten == 20000
