"""What this process is loading at the moment: for logs, diagnostics and progress bars."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

SMALL_BYTES = 1_000_000  # a download of less is not worth a line or a bar
LINE_SECONDS, LINE_SHARE = 10.0, 0.1  # between two lines in the log: whichever comes first

_log = logging.getLogger(__name__)
_current: list[_Load] = []


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Have :func:`now_loading` name something for as long as the body of the ``with`` runs."""
    load = _Load(what)
    _current.append(load)
    try:
        yield
    finally:
        _current.remove(load)


@contextmanager
def transferring(what: str, place: str, done: int, total: int | None) -> Iterator[Transfer]:
    """Show a download: in the log if it takes lines of INFO, else as a bar on a terminal.

    Args:
        what: is loaded.
        place: folder that it goes to.
        done: bytes that are there already.
        total: bytes, None if unknown.
    """
    transfer = Transfer(what, place, done, total)
    _current.append(transfer)
    try:
        yield transfer
    finally:
        transfer.close()
        _current.remove(transfer)


def now_loading() -> str:
    """Say what is being loaded, e.g. "loading ViT-B/16: 120 of 599 MB"; empty for nothing."""
    newest = list(_current)[-1:]
    return f"loading {newest[0]}" if newest else ""


@dataclass(eq=False)
class _Load:
    what: str

    def __str__(self) -> str:
        return self.what


class Transfer(_Load):
    """A download under way.

    Attributes:
        done: bytes that are there.
        total: bytes, None if unknown.
    """

    def __init__(self, what: str, place: str, done: int, total: int | None) -> None:
        """Announce it; see :func:`transferring`."""
        super().__init__(what)
        self.done, self.total = done, total
        self._begun = self._told = time.monotonic()
        self._at_first = self._at_told = done
        small = total is not None and total < SMALL_BYTES
        self._lines = _log.isEnabledFor(logging.INFO) and not small
        # No bar beside the lines, nor where standard error is not a terminal.
        self._bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=what,
                         leave=False, disable=True if self._lines or small else None)
        if self._lines:
            kept = f" ({megabytes(done)} of it from an earlier start)" if done else ""
            _log.info("downloading %s, %s%s, into %s", what, megabytes(total), kept, place)

    def __str__(self) -> str:
        size = f" of {megabytes(self.total)}" if self.total else ""
        done = f"{self.done / 1e6:.0f}" if self.total else megabytes(self.done)
        return f"{self.what}: {done}{size}"

    def at(self, done: int) -> None:
        """Tell how many bytes are there; fewer than before after a new beginning."""
        self._bar.update(done - self.done)
        self.done = done
        if not self._lines:
            return
        step = done - self._at_told
        if time.monotonic() - self._told > LINE_SECONDS \
                or self.total and step > self.total * LINE_SHARE \
                and time.monotonic() - self._told > 1.0:
            self._told, self._at_told = time.monotonic(), done
            share = f" ({done / self.total:.0%})" if self.total else ""
            _log.info("downloading %s%s, %s a second", self, share, megabytes(self._rate()))

    def _rate(self) -> float:
        return (self.done - self._at_first) / max(1e-3, time.monotonic() - self._begun)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def megabytes(size: float | None) -> str:
    """Return a number of bytes in words, e.g. "599 MB"."""
    if size is None:
        return "of unknown size"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB" if size >= 1e5 \
        else f"{size / 1e3:.1f} kB"
