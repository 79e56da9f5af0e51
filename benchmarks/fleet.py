"""What work in pieces costs, with Ray and without it, and what a run-in brings.

    scripts/run_in_overlay python -m benchmarks.fleet > benchmarks/results/fleet.md

Recordings and films are made of rendered ones, played to and fro. Times are those of whole commands
on the computer as it is, beside what else it does (its load is told); the work itself is counted in
the workers' own seconds. One thread a process, so that two workers are two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.cluster.ray_pool import LOCAL, RayPool, Share
from sclip_seg_ros.cluster.work import Job, Tally, Task, work_through
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.tools.benchmark.datasets import open_dataset
from sclip_seg_ros.tools.scenes import FRAMES
from sclip_seg_ros.tools.segment.video import VideoSource

RATE = 15
WORDS = ("--vocabulary", "floor", "wall", "table", "chair", "ball")
SMALL = ("--set", "short_side=112", "--device", "cpu")
RECORDINGS, LENGTH = 4, 15     # frames
RUN_INS = (0.0, 0.5, 1.0, 2.0)
FILM = 6 * RATE                # frames
TASKS = 200
_KIND = "sensor_msgs/msg/Image"


class Idle:
    """A worker that has nothing to do."""

    def describe(self) -> dict[str, str]:
        """Say nothing."""
        return {}

    def do(self, task: Task) -> tuple[int, str, None]:
        """Do nothing."""
        return 1, "", None


def footage(film: int, frames: int) -> list[np.ndarray]:
    """Return so many frames of a rendered film that is played to and fro."""
    data = open_dataset("demo-videos", None)
    way = [*range(FRAMES), *range(FRAMES - 2, 0, -1)]
    return [data.load(film * FRAMES + index).image
            for index in itertools.islice(itertools.cycle(way), frames)]


def record(path: Path, frames: list[np.ndarray]) -> None:
    """Record a camera."""
    types = get_typestore(Stores.ROS2_JAZZY)
    stamp, header = (types.types[name] for name in ("builtin_interfaces/msg/Time",
                                                    "std_msgs/msg/Header"))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/camera/image_raw", _KIND, typestore=types)
        for index, frame in enumerate(frames):
            now = index * 10**9 // RATE
            message = types.types[_KIND](header(stamp(now // 10**9, now % 10**9), "camera"),
                                         *frame.shape[:2], "rgb8", 0, 3 * frame.shape[1],
                                         frame.reshape(-1))
            writer.write(topic, 10**18 + now, types.serialize_cdr(message, _KIND))


def film(path: Path, frames: list[np.ndarray]) -> None:
    """Write a lossless film."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"FFV1"), RATE,
                             (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def run(verb: str, *flags: object) -> tuple[float, str]:
    """Run a program; return its seconds and what it printed.

    Raises:
        CalledProcessError: it failed.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "sclip_seg_ros.tools.sclip", verb,
                           *map(str, flags)], text=True, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.monotonic() - start, done.stdout


def ways(folder: Path) -> list[list[object]]:
    """Label recordings in every way there is."""
    bags = []
    for number in range(RECORDINGS):
        bags.append(folder / f"drive_{number}")
        record(bags[-1], footage(number, LENGTH))
    pieces = ("--piece-seconds", 0.5, "--run-in", 0)
    rows = []
    for title, flags in (("one process, in one go", ()), ("`--jobs 2`", ("--jobs", 2)),
                         ("one process, in pieces", pieces),
                         ("`--ray`, one worker", (*pieces, "--ray", "--ray-workers", 1)),
                         ("`--ray`, two workers", (*pieces, "--ray", "--ray-workers", 2))):
        seconds, said = run("bag", "--bag", *bags, "--output", folder / re.sub(r"\W", "", title),
                            *WORDS, *SMALL, *flags)
        rates = re.findall(r", process \d+: .*, ([\d.]+) a second", said)
        rows.append([title, f"{seconds:.0f}", f"{RECORDINGS * LENGTH / seconds:.2f}",
                     ", ".join(rates) or "-"])
    return rows


def overhead() -> tuple[float, float]:
    """Return the seconds until two workers are there, and milliseconds a task that is none."""
    start = time.monotonic()
    with RayPool(LOCAL, Share(2), Idle) as pool:
        pool.describe()
        ready = time.monotonic()
        jobs = [Job(0, [Piece(number, number, number + 1, number) for number in range(TASKS)])]
        list(work_through(pool, jobs, Tally()))
        return ready - start, 1000 * (time.monotonic() - ready) / (TASKS + 1)


def run_ins(folder: Path) -> list[list[object]]:
    """Cut a film into pieces of two seconds, with run-ins of several lengths."""
    film(folder / "film.mkv", footage(0, FILM))

    def labels(way: str, *flags: object) -> list[np.ndarray]:
        run("segment", folder / "film.mkv", "--output", folder / way, *WORDS, *SMALL, *flags)
        return [frame[..., 0] for frame in VideoSource(folder / way / "film.label.mkv").frames()]

    go = labels("go")
    rows = []
    for seconds in RUN_INS:
        way = f"run_in_{seconds:g}"
        there = labels(way, "--piece-seconds", 2, "--run-in", seconds)
        seams = [share for _, share in
                 json.loads((folder / way / "film.json").read_text())["seams"]]
        differing = [float((a != b).mean()) for a, b in zip(go, there, strict=True)]
        at = [differing[2 * RATE * number] for number in range(1, FILM // (2 * RATE))]
        told = [share for share in seams if share is not None]
        rows.append([f"{seconds:g}", f"{100 * seconds / 2:.0f} %",
                     f"{100 * max(told):.2f} %" if told else "-", f"{100 * max(at):.2f} %",
                     f"{100 * float(np.mean(differing)):.3f} %"])
    return rows


def main() -> None:
    """Measure, and print a page."""
    argparse.ArgumentParser(prog="python -m benchmarks.fleet",
                            description=__doc__.splitlines()[0]).parse_args()
    print(f"# Work in pieces\n\nBy `python -m benchmarks.fleet`: the embedded model on pictures of "
          f"640x480, short side 112,\none thread a process, {os.cpu_count()} cores.\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"A film of {FILM // RATE} s in pieces of 2 s, against the labels of one go:\n")
        print(*markdown_table(["run-in [s]", "more work", "told at the worst seam",
                               "pixels that differ in the worst first frame", "in all frames"],
                              run_ins(folder)), sep="\n", flush=True)
        print(f"\nWhole commands, beside a load of {os.getloadavg()[2]:.1f} (of 15 minutes):\n")
        print(*markdown_table([f"{RECORDINGS} recordings of {LENGTH} images", "seconds",
                               "images/s", "of each worker, while it works"], ways(folder)),
              sep="\n", flush=True)
        begin, task = overhead()
        print(f"\nRay's start with two workers: {begin:.1f} s. A task without work: {task:.1f} ms.")


if __name__ == "__main__":
    main()
