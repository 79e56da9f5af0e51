"""Start camera, node and consumer as separate processes and see them through."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from sclip_seg_ros.tools.demo.footage import Footage

TOPIC = "/camera/image_raw"
START_SECONDS = 60      # loading the model and discovery, at most
DRAIN_SECONDS = 2.0     # for the last frames to come out
STOP_SECONDS = 5


class DemoError(RuntimeError):
    """A process of the demo did not do its part; the message says which and where its log is."""


def run_processes(footage: Footage, before: list[str], after: list[str],
                  arguments: argparse.Namespace) -> None:
    """Let the camera play the footage to the node while the recorder listens.

    Everything they leave behind lies under ``<output>/work``.

    Raises:
        DemoError: the node or another process failed or did not start in time.
    """
    work = arguments.output / "work"
    work.mkdir(parents=True, exist_ok=True)
    for stale in (*work.glob("*.*"), *arguments.output.glob("*.png")):
        stale.unlink()
    np.save(work / "frames.npy", footage.frames)
    with _Processes(work) as processes:
        parameters = json.dumps(before)
        processes.start("node", "sclip_seg_ros.ros.node", "--ros-args",
                        "-r", f"image_raw:={TOPIC}", "-p", f"classes:={parameters}",
                        "-p", f"model:={arguments.model}", "-p", "image_reliability:=reliable",
                        *(["-p", f"pretrained:={arguments.pretrained}"]
                          if arguments.pretrained else []))
        processes.start("recorder", "sclip_seg_ros.ros.demo_recorder", "--output", str(work),
                        "--change-after", str(0.45 * arguments.frames / arguments.rate),
                        "--classes", *after)
        print("demo: starting node and recorder ...", flush=True)
        processes.wait_for("node", "ready", START_SECONDS)
        processes.wait_for("recorder", "connected", START_SECONDS)
        print(f"demo: publishing {arguments.frames} frames at {arguments.rate:g} Hz on {TOPIC}; "
              "the vocabulary changes on the way ...", flush=True)
        processes.start("camera", "sclip_seg_ros.ros.demo_camera", "--frames",
                        str(work / "frames.npy"), "--stamps", str(work / "stamps.json"),
                        "--topic", TOPIC, "--rate", str(arguments.rate))
        processes.finish("camera", 60 + arguments.frames / arguments.rate)
        time.sleep(DRAIN_SECONDS)
        processes.stop("recorder")
        processes.stop("node")


class _Processes:
    """Child processes by name, each with its log; none outlives the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start(self, name: str, module: str, *arguments: str) -> None:
        with open(self._log(name), "w") as log:
            self._running[name] = subprocess.Popen([sys.executable, "-m", module, *arguments],
                                                   stdout=log, stderr=subprocess.STDOUT)

    def wait_for(self, name: str, text: str, seconds: float) -> None:
        """Wait until a text appears in a process's log."""
        deadline = time.monotonic() + seconds
        while text not in self._log(name).read_text():
            if self._running[name].poll() is not None:
                raise DemoError(self._failure(name, "ended early"))
            if time.monotonic() > deadline:
                raise DemoError(self._failure(name, f"was not ready after {seconds:g} s"))
            time.sleep(0.1)

    def finish(self, name: str, seconds: float) -> None:
        """Wait for a process to end by itself, while the others must live."""
        deadline = time.monotonic() + seconds
        while self._running[name].poll() is None:
            for other, process in self._running.items():
                if other != name and process.poll() is not None:
                    raise DemoError(self._failure(other, "ended early"))
            if time.monotonic() > deadline:
                raise DemoError(self._failure(name, f"did not end within {seconds:g} s"))
            time.sleep(0.1)
        if self._running[name].returncode:
            raise DemoError(self._failure(name, "failed"))

    def stop(self, name: str) -> None:
        """Ask a process to end, as Ctrl-C does, and require exit code 0."""
        process = self._running[name]
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DemoError(self._failure(name, "did not stop")) from error
        if code:
            raise DemoError(self._failure(name, f"ended with code {code}"))

    def _failure(self, name: str, what: str) -> str:
        log = self._log(name)
        tail = "\n  ".join(log.read_text().splitlines()[-12:])
        return f"the {name} {what}; its log is {log}:\n  {tail}"

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
