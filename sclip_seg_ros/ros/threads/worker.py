"""One thread that works on the newest items and survives whatever the work throws at it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sclip_seg_ros.ros.threads.mailbox import Mailbox

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Call a function on the newest items of a mailbox, in a thread of its own.

    The thread is a daemon: a call that cannot be interrupted does not keep the process alive.
    """

    def __init__(self, name: str, work: Callable[[list[Item]], None],
                 on_error: Callable[[Exception], None], on_idle: Callable[[], None] | None = None,
                 idle_seconds: float = 0.25) -> None:
        """Prepare a worker; :meth:`start` starts it.

        Args:
            name: of the thread.
            work: called with the items taken, one of each slot.
            on_error: called in the thread with what ``work`` or ``on_idle`` raised; what it
                raises itself is logged.
            on_idle: called in the thread when no item came for a while.
            idle_seconds: that while.
        """
        self.mailbox: Mailbox[Item] = Mailbox()
        self._work = work
        self._on_error = on_error
        self._on_idle = on_idle
        self._idle_seconds = idle_seconds
        self._busy_since: float | None = None
        self._thread = self._new_thread(name)

    def start(self) -> None:
        """Start the thread, anew after a :meth:`stop`."""
        if self.mailbox.closed:
            self.resume()
        else:
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Take no more items and wait for the current ones; return whether the thread ended.

        Args:
            timeout: seconds to wait at most.
        """
        self.mailbox.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def resume(self) -> None:
        """Take items again after a :meth:`stop`, once a call that it could not wait for is over."""
        former, self.mailbox = self._thread, Mailbox()
        self._thread = self._new_thread(former.name, former if former.ident else None)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    @property
    def busy_seconds(self) -> float:
        """How long the current call has been running, 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _new_thread(self, name: str, former: threading.Thread | None = None) -> threading.Thread:
        return threading.Thread(target=self._run, args=(self.mailbox, former), name=name,
                                daemon=True)

    def _run(self, mailbox: Mailbox[Item], former: threading.Thread | None) -> None:
        if former is not None:  # one call at a time
            former.join()
        while not mailbox.closed:
            items = mailbox.take(self._idle_seconds if self._on_idle else None)
            self._busy_since = time.monotonic()
            try:
                if items:
                    self._work(items)
                elif self._on_idle and not mailbox.closed:
                    self._on_idle()
            except Exception as error:  # the next items may fare better
                self._report(error)
            finally:
                self._busy_since = None

    def _report(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception as second:  # the thread must outlive its own error handling
            _LOG.error("%r could not be reported: %r", error, second)
