"""How programs begin: what Ctrl-C does holds from the first moment, also while libraries load.

Python raises an interrupt from wherever the program is. Amid an import that is not safe: callbacks
of the import system and initialisers of native modules lose it, so that the program goes on, and
others make an ImportError or RuntimeError of it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from sclip_seg_ros.common.streams import listeners_may_leave

INTERRUPTED = 130  # exit code, as shells report Ctrl-C
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_AGAIN_SECONDS = 0.1
_at_once = threading.Event()
_postponed: list[threading.Timer] = []  # interrupts that came amid an import


def end_at_once() -> None:
    """Have the program end without taking its libraries down, because one of them cannot be."""
    _at_once.set()


def forget_interrupt() -> None:
    """Drop an interrupt that waits for an import to end: the program ends already, and says why."""
    while _postponed:
        _postponed.pop().cancel()


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Look for no garbage while libraries are imported: what they make lasts as long as they do.

    Python would go through all of it time and again, in a fifth of the time that torch and its kin
    take to load, and once more whenever memory is to be given back.
    """
    usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if usual:
            gc.enable()


def run_program(module: str, name: str, arguments: Sequence[str] | None = None) -> int:
    """Import a module and run its ``main``; Ctrl-C is answered in one line with code 130.

    Args:
        module: that has ``main``, which returns the exit code or None.
        name: of the program, for that line.
        arguments: of ``main``; by default it takes the process's own.

    Returns:
        The exit code.
    """
    with listeners_may_leave(), _Interrupts(name).answered() as interrupts:
        try:
            with loading_libraries():
                main = import_module(module).main
            interrupts.begun = True
            code = (main() if arguments is None else main(arguments)) or 0
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            code = INTERRUPTED
        finally:
            forget_interrupt()
        if _at_once.is_set():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    # Python keeps in mind that an interrupt ended some exec(), as libraries call it when they are
    # imported, and would then end the process by the signal in place of the code; this forgets it.
    exec("")
    return code


class _Interrupts:
    """Ctrl-C of a program: at once before it has begun, and never amid a later import.

    Attributes:
        begun: whether the program does something that it may want to end in order.
    """

    def __init__(self, name: str) -> None:
        """Take the program's name."""
        self._name = name
        self.begun = False

    @contextmanager
    def answered(self) -> Iterator[_Interrupts]:
        """Answer interrupts in Python's place, where it would have answered them."""
        if threading.current_thread() is not threading.main_thread() \
                or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield self
            return
        signal.signal(signal.SIGINT, self._answer)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:  # nothing but imports has happened: there is nothing to end in order
            print(f"{self._name}: interrupted", file=sys.stderr, flush=True)
            os._exit(INTERRUPTED)
        if _importing(frame):
            # A signal, for it ends what the main thread waits in; `interrupt_main` does not.
            later = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill,
                                    (threading.main_thread().ident, number))
            later.daemon = True
            _postponed.append(later)
            later.start()
            return
        raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
