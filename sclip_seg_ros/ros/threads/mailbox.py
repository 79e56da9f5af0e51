"""Slots for the newest items: what a slow reader needs of fast writers."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Hold the newest item of each slot until all are taken together.

    A newer item replaces the one in its slot. A queue would hand a slow reader
    ever older items, and dropping new ones when it is full would hand it an item as old as its own
    last run. Since all slots are emptied at once, none waits longer than another. Safe between
    threads.
    """

    def __init__(self) -> None:
        """Start empty and open."""
        self._condition = threading.Condition()
        self._items: dict[str, Item] = {}
        self._closed = False

    def put(self, item: Item, slot: str = "") -> bool:
        """Store an item; return whether it replaced one that nobody took.

        A closed mailbox takes nothing.
        """
        with self._condition:
            if self._closed:
                return False
            replaced = slot in self._items
            self._items[slot] = item  # in the place of the older one: arrival order by slot
            self._condition.notify()
            return replaced

    def take(self, timeout: float | None = None) -> list[Item]:
        """Remove and return the items of all slots, waiting for one; none after the time.

        Args:
            timeout: seconds; None waits without end, or until the mailbox is closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed, timeout)
            items, self._items = list(self._items.values()), {}
            return items

    def close(self) -> None:
        """Drop what is inside, take nothing more, and wake every reader."""
        with self._condition:
            self._closed = True
            self._items = {}
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        """Tell whether :meth:`close` was called."""
        with self._condition:
            return self._closed
