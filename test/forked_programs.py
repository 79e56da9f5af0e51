"""Programs forked from a process that has imported torch and its kin: seconds sooner than fresh.

What such a process holds is a library's code and nothing of ROS: that is imported by the node. The
import leaves no threads behind but OpenBLAS's, which are made anew after a fork; OpenMP's come with
the first thing that is computed, and there nothing is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import reload
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import huggingface_hub

_CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED = ["warm_libraries"]
# What a node may find changed: pytest's own, what ROS reads when it is initialised, what is read
# with each request, what the hub's library is made to read once more, and what libraries that no
# node has leave behind in a process of tests (Ray, FFmpeg's films).
_OF_THE_HUB = ("HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_LEFT_BEHIND = ("OMP_WAIT_POLICY", "OPENCV_FFMPEG_LOGLEVEL", "PYTHONBREAKPOINT",
                "TORCHINDUCTOR_CACHE_DIR")
_READ_LATE = {"PYTEST_CURRENT_TEST", "ROS_DOMAIN_ID", *_OF_THE_HUB, *_PROXIES,
              *map(str.lower, _PROXIES), *_LEFT_BEHIND}


def _lasting() -> dict[str, str]:
    return {name: value for name, value in os.environ.items()
            if name not in _READ_LATE and not name.startswith("RAY_")}


_AT_FIRST = _lasting()


def can_fork() -> bool:
    """Tell whether a program can be forked: the environment is the one its libraries have seen.

    The first call has them imported, in a process of their own that ends with this one.
    """
    if _lasting() != _AT_FIRST:
        return False
    # As the node does before it imports torch.
    path = os.pathsep.join(filter(None, sys.path))  # Python 3.11 does not give it on by itself
    with mock.patch.dict(os.environ, {"OMP_WAIT_POLICY": "PASSIVE", **os.environ,
                                      "PYTHONPATH": path}):
        _CONTEXT.set_forkserver_preload(_IMPORTED)
        forkserver.ensure_running()
    return True


class ForkedProgram:
    """A program in a process of its own; it answers what tests ask of :class:`subprocess.Popen`."""

    def __init__(self, code: str, arguments: Sequence[str], log: Path,
                 environment: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            code: that is run, as that of ``python -c`` is.
            arguments: its ``sys.argv``.
            log: file for all that it says.
            environment: changes to this process's.
        """
        whole = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._process = _CONTEXT.Process(target=_run, daemon=True, args=(
            code, list(map(str, arguments)), str(log), whole, os.getcwd(), list(sys.path)))
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: it did not come within so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)


def _run(code: str, arguments: Sequence[str], log: str, environment: Mapping[str, str],
         folder: str, places: Sequence[str]) -> None:
    """Be the program."""
    assert "rclpy" not in sys.modules, "a node would not import ROS itself"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(log, "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    reload(huggingface_hub.constants)
    for name, stream in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, os.fdopen(stream, "w", buffering=1, closefd=False))
    sys.path[:], sys.argv = places, list(arguments)
    exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
