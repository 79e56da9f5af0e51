"""Child processes by name, each with its log; none outlives the ``with`` block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sclip_seg_ros.common.errors import Failed

STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1


class ProcessError(Failed):
    """A child process did not do its part; the message says which and where its log is."""


class ChildProcesses:
    """Start programs, watch them, and end them as Ctrl-C does."""

    def __init__(self, folder: Path) -> None:
        """Keep the logs in a folder, ``<name>.log`` each."""
        self._folder = folder
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> ChildProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start(self, name: str, module: str, *arguments: str, prefix: Sequence[str] = (),
              environment: Mapping[str, str] | None = None) -> None:
        """Start a Python module.

        Args:
            name: for the others of these methods, and of the log.
            module: dotted name.
            arguments: of its command line.
            prefix: command that runs it, e.g. ``("ip", "netns", "exec", "camera")``.
            environment: variables besides the present ones.
        """
        with open(self.log(name), "w") as log:
            self._running[name] = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *arguments], stdout=log,
                stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})

    def pid(self, name: str) -> int:
        """Return a process's id."""
        return self._running[name].pid

    def log(self, name: str) -> Path:
        """Return the file that holds what a process says."""
        return self._folder / f"{name}.log"

    def ended(self, name: str) -> bool:
        """Tell whether a process has ended."""
        return self._running[name].poll() is not None

    def wait_for(self, name: str, text: str, seconds: float) -> None:
        """Wait until a text appears in a process's log.

        Raises:
            ProcessError: it ended, or did not say so in time.
        """
        deadline = time.monotonic() + seconds
        while text not in self.log(name).read_text():
            if self.ended(name):
                raise self._failure(name, "ended early")
            if time.monotonic() > deadline:
                raise self._failure(name, f"was not ready after {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def check_alive(self, but: str = "") -> None:
        """Require that every process still runs, except one.

        Raises:
            ProcessError: one has ended.
        """
        for name in self._running:
            if name != but and self.ended(name):
                raise self._failure(name, "ended early")

    def finish(self, name: str, seconds: float) -> None:
        """Wait for a process to end by itself, while the others must live.

        Raises:
            ProcessError: it failed or did not end in time, or another has ended.
        """
        deadline = time.monotonic() + seconds
        while not self.ended(name):
            self.check_alive(but=name)
            if time.monotonic() > deadline:
                raise self._failure(name, f"did not end within {seconds:g} s")
            time.sleep(_POLL_SECONDS)
        if self._running[name].returncode:
            raise self._failure(name, "failed")

    def stop(self, name: str, seconds: float = STOP_SECONDS) -> None:
        """Ask a process to end, as Ctrl-C does, and require exit code 0.

        Raises:
            ProcessError: it did not end in time, or with another code.
        """
        process: subprocess.Popen[Any] = self._running[name]
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failure(name, "did not stop") from error
        if code:
            raise self._failure(name, f"ended with code {code}")

    def _failure(self, name: str, what: str) -> ProcessError:
        """Show the last lines that a process said; return what is wrong with it."""
        print(*self.log(name).read_text().splitlines()[-12:], sep="\n", file=sys.stderr)
        return ProcessError(f"the {name} {what}; its log is {self.log(name)}")
