"""Standard streams that are missing or lose their reader: the work goes on, and so does its code.

A daemon may start a program without them, and the reader of a pipe may leave (``| head``). Python
then raises from whatever print comes next, at the latest from its own last flush. So it does where
a stream's encoding lacks a letter, as ASCII does of many files' names.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_NAMES = ("stdin", "stdout", "stderr")
_LEFT = (errno.EPIPE, errno.EIO)  # a pipe without reader, a terminal that was closed


class _Patient:
    """A text stream of which nobody need take notice; everything else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        """Wrap a stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if it can be done."""
        with self._patience():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what is held back, if it can be done."""
        with self._patience():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has."""
        return getattr(self._stream, name)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still held back goes nowhere, also when Python ends, and so does what
            # libraries write past it.
            with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if error.errno not in _LEFT and self._stream is not sys.__stderr__:
                print(f"what is printed is lost from here on ({error.strerror})", file=sys.stderr)


def outlive_listeners() -> None:
    """Give a process streams for those that are missing, and such as outlive their readers."""
    for number, name in enumerate(_NAMES):
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would take its number, and what libraries print.
            os.dup2(nowhere, number)
        if nowhere == number:
            os.set_inheritable(number, True)
        else:
            os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        if getattr(getattr(sys, name), "errors", "") == "strict" and name != "stdin":
            with suppress(AttributeError):  # a stream in memory, which takes any letter
                getattr(sys, name).reconfigure(errors="backslashreplace")
        if name != "stdin" and not isinstance(getattr(sys, name), _Patient):
            setattr(sys, name, _Patient(getattr(sys, name)))


@contextmanager
def listeners_may_leave() -> Iterator[None]:
    """Do so for as long as something is done, and pass on what it printed."""
    before = {name: getattr(sys, name) for name in _NAMES}
    outlive_listeners()
    try:
        yield
    finally:
        for name in _NAMES[1:]:
            getattr(sys, name).flush()
        for name, stream in before.items():
            if stream is not None:
                setattr(sys, name, stream)
