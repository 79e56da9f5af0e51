"""The newest item of a slot wins; all slots are emptied at once; closing wakes the reader."""

from __future__ import annotations

import threading

from sclip_seg_ros.ros.threads.mailbox import Mailbox


def test_the_newest_item_replaces_an_older_one_and_that_is_told():
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(item) for item in (1, 2, 3)] == [False, True, True]
    assert mailbox.take() == [3]
    assert not mailbox.put(4)  # the former one was taken, not replaced
    assert mailbox.take() == [4]
    assert mailbox.take(timeout=0.0) == []


def test_items_that_are_false_are_items_too():
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    assert mailbox.take() == [0]


def test_a_busy_slot_neither_hides_nor_delays_another():
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("rear 1", "rear")
    assert not mailbox.put("front 1", "front")
    for number in range(2, 9):
        assert mailbox.put(f"front {number}", "front")
    assert mailbox.take() == ["rear 1", "front 8"]
    assert mailbox.take(timeout=0.0) == []


def test_a_waiting_reader_gets_the_item():
    mailbox: Mailbox[str] = Mailbox()
    found = []
    reader = threading.Thread(target=lambda: found.append(mailbox.take()))
    reader.start()
    mailbox.put("frame")
    reader.join(10)
    assert found == [["frame"]]


def test_close_wakes_every_reader_and_takes_nothing_more():
    mailbox: Mailbox[str] = Mailbox()
    found = []
    readers = [threading.Thread(target=lambda: found.append(mailbox.take())) for _ in range(3)]
    for reader in readers:
        reader.start()
    mailbox.close()
    for reader in readers:
        reader.join(10)
    assert found == [[]] * 3
    assert not mailbox.put("late")
    assert mailbox.take() == []


def test_no_item_is_lost_or_seen_twice_between_threads():
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def read() -> None:
        while items := mailbox.take():
            taken.extend(items)

    reader = threading.Thread(target=read)
    reader.start()
    replaced = sum(mailbox.put(item) for item in range(20000))
    last = mailbox.take(timeout=0.0)  # goes to either reader
    mailbox.close()
    reader.join(10)
    taken += last
    assert taken == sorted(set(taken))
    assert len(taken) + replaced == 20000
