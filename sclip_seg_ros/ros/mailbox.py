"""One slot for the newest item: what a slow reader needs of a fast writer."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Hold the newest item until it is taken; a newer one replaces it, and is counted.

    A queue would hand a slow reader ever older items, and dropping new ones when it is full would
    hand it an item as old as its own last run. Safe between threads.
    """

    def __init__(self) -> None:
        """Start empty and open."""
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._overwritten = 0

    def put(self, item: Item) -> bool:
        """Store an item; return whether it replaced one that nobody took.

        A closed mailbox takes nothing.
        """
        with self._condition:
            if self._closed:
                return False
            replaced = self._item is not None
            self._overwritten += replaced
            self._item = item
            self._condition.notify()
            return replaced

    def take(self, timeout: float | None = None) -> Item | None:
        """Remove and return the item, waiting for one; None after the time or once closed.

        Args:
            timeout: seconds; None waits without end.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drop what is inside, take nothing more, and wake every reader."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        """Tell whether :meth:`close` was called."""
        with self._condition:
            return self._closed

    @property
    def overwritten(self) -> int:
        """Items replaced before anybody took them."""
        with self._condition:
            return self._overwritten
