"""What is run on a GPU, one program after the other, each with its share of the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 12 * 60.0  # all together
_TAIL = 12           # lines of what a program that failed has said


@dataclass(frozen=True)
class Step:
    """A program to run.

    Attributes:
        name: in a word.
        command: of Python, behind the interpreter.
        seconds: that it may take at most.
        read: returns its figures from what it printed, and what of them is wrong, if anything.
    """

    name: str
    command: Sequence[str]
    seconds: float
    read: Callable[[str], tuple[dict[str, Any], str]]


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        name: of the step.
        command: as a user would type it.
        seconds: that it took.
        problem: in one line; empty where all went well.
        figures: that it found.
        said: its last lines, where something went wrong.
    """

    name: str
    command: str
    seconds: float
    problem: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    said: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return asdict(self)


def steps(device: str, output: Path, quick: bool = False) -> list[Step]:
    """Return the table of what is run.

    Args:
        device: to run on, e.g. "cuda".
        output: folder that programs leave their files in.
        quick: whether a little of each will do, to try the command itself.
    """
    tests, bench, demo = output / "tests.xml", output / "bench", output / "demo"
    large = output / "demo-vit-b-16"
    size = ["--height", "48", "--width", "64"] if quick else []
    rounds = "1" if quick else "3"
    node = ["-m", "examples.demo", "--device", device,
            *(["--frames", "6", "--rate", "0.3"] if quick else ["--frames", "60"])]
    return [
        Step("doctor", ["-m", "sclip_seg_ros.tools.doctor", "--json", "--device", device], 60,
             _doctor),
        Step("tests", ["-m", "pytest", "-q", "-m", "gpu", "--timeout", "120",
                       f"--junitxml={tests}"], 180, lambda said: _tests(tests)),
        Step("node", [*node, "--output", str(demo)], 90, lambda said: _node(demo, device)),
        Step("node, ViT-B/16", [*node, "--output", str(large), "--model", "ViT-B/16",
                                "--pretrained", "random"], 120,
             lambda said: _node(large, device)),
        Step("crf", ["-m", "benchmarks.crf", "--device", device, "--classes", "21", "--scenes",
                     "1" if quick else "5", "--repeats", "2", *size], 90, _crf),
        Step("bench", ["-m", "benchmarks", "--device", device, "--rounds", rounds, "--keep",
                       "--output", str(bench)], 300, lambda said: _bench(bench)),
    ]


def run(table: Iterable[Step], seconds: float = SECONDS) -> Iterator[Outcome]:
    """Run steps one after the other; one that fails or takes too long ends no other.

    Args:
        table: of the steps.
        seconds: for all of them; what is left over when they are spent is not begun.
    """
    deadline = time.monotonic() + seconds
    for step in table:
        left = deadline - time.monotonic()
        command = " ".join(["python", *step.command])
        if left <= 0:
            yield Outcome(step.name, command, 0.0, f"not begun: the {seconds:g} s are over")
            continue
        begin = time.monotonic()
        problem, figures, said = _run(step, min(left, step.seconds))
        yield Outcome(step.name, command, round(time.monotonic() - begin, 1), problem, figures,
                      said if problem else "")


def _run(step: Step, seconds: float) -> tuple[str, dict[str, Any], str]:
    """Return what is wrong, the figures, and the last lines that were said."""
    process = subprocess.Popen([sys.executable, *step.command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end_group(process)
        said, complaints = process.communicate()
        return f"ended after {seconds:.0f} s", {}, _last(said + complaints)
    try:
        figures, problem = step.read(said)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        figures, problem = {}, f"no figures: {type(error).__name__}: {error}"
    if process.returncode:
        problem = f"exit code {process.returncode}" + (f"; {problem}" if problem else "")
    return problem, figures, _last(said + complaints)


def _end_group(process: subprocess.Popen) -> None:
    """End a program with all that it has started, as a node is."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue


def _last(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-_TAIL:])


def _doctor(said: str) -> tuple[dict[str, Any], str]:
    report = json.loads(said)
    faults = [check["name"] for check in report["checks"] if check["state"] == "fault"]
    return report, f"faulty: {', '.join(faults)}" if faults else ""


def _tests(path: Path) -> tuple[dict[str, Any], str]:
    """Count the tests of a JUnit file; where every one was skipped, none has shown anything."""
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    failed = [f"{case.get('classname')}::{case.get('name')}" for case in cases
              if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - skipped - len(failed)
    figures = {"passed": passed, "failed": failed, "skipped": skipped}
    return figures, f"{len(failed)} failed" if failed else "" if passed else "no test was run"


def _node(folder: Path, device: str) -> tuple[dict[str, Any], str]:
    summary = json.loads((folder / "summary.json").read_text())
    figures = {name: summary.get(name) for name in (
        "model", "device", "frames_published", "frames_labelled", "frames_dropped", "latency_ms",
        "capture_to_label_ms", "stage_ms", "miou")}
    if not str(summary["device"]).startswith(device.partition(":")[0]):
        return figures, f"the node ran on {summary['device']}"
    return figures, "" if summary["frames_labelled"] else "no frame was labelled"


def _crf(said: str) -> tuple[dict[str, Any], str]:
    return json.loads(said), ""


def _bench(folder: Path) -> tuple[dict[str, Any], str]:
    return json.loads((folder / "summary.json").read_text()), ""
