"""What work in pieces costs, with Ray and without it, what a run-in brings, and a thousand hours.

    scripts/run_in_overlay python -m benchmarks.fleet --rounds 3

It prints the page of benchmarks/results/fleet.md. Recordings and films are made of rendered ones,
played to and fro. Times are those of whole commands on the computer as it is, beside what else it
does (its load is told); the ways take turns, and of each the fastest of some rounds counts. The
work itself is counted in the workers' own seconds. One thread a process, so that two workers are
two cores, but where another number is told.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.fleet", "fleet"))

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.matrix_rate import matrix_rate
from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.cluster.ray_pool import LOCAL, RayPool, Share
from sclip_seg_ros.cluster.work import Job, Tally, Task, work_through
from sclip_seg_ros.common.cores import usable_cores
from sclip_seg_ros.common.text import in_number, markdown_table
from sclip_seg_ros.tools.benchmark.datasets import open_dataset
from sclip_seg_ros.tools.pieces.pieces import PIECE_SECONDS, RUN_IN
from sclip_seg_ros.tools.program import Program, documented, positive
from sclip_seg_ros.tools.scenes import FRAMES
from sclip_seg_ros.tools.segment.video import VideoSource

RATE = 15
WORDS = ("--vocabulary", "floor", "wall", "table", "chair", "ball")
SMALL = ("--set", "short_side=112", "--device", "cpu")
RECORDINGS, LENGTH = 4, 120    # frames; enough that a start of seconds does not decide
CUT = 4.0                      # seconds of a piece of those: eight pieces
RUN_INS = (0.0, 0.5, 1.0, 2.0)
FILM = 6 * RATE                # frames
TASKS = 200
HOURS = 1000
FLEETS = (1, 2, 10, 100)       # workers
VIT, SOURCE = 0.7, "cpu-amd-epyc-full-2026-11-21.md"  # images a second on one core, windows
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


def run(verb: str, *flags: object, threads: int = 1) -> tuple[float, str]:
    """Run a program with so many threads; return its seconds and what it printed.

    Raises:
        CalledProcessError: it failed.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "sclip_seg_ros.tools.sclip", verb,
                           *map(str, flags)], text=True, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL,
                          env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    return time.monotonic() - start, done.stdout


def ways(folder: Path, rounds: int) -> tuple[list[list[object]], float, float]:
    """Label recordings in every way there is.

    Returns:
        The rows of a table; images a second of one of two workers while it works; bytes of the
        results of an image.
    """
    bags = []
    for number in range(RECORDINGS):
        bags.append(folder / f"drive_{number}")
        record(bags[-1], footage(number, LENGTH))
    pieces = ("--piece-seconds", CUT, "--run-in", 0)
    cores = usable_cores()
    rows = {title: (flags, threads, []) for title, flags, threads in (
        ("one process, in one go", (), 1),
        (f"one process of {cores} threads, in one go", (), cores),
        ("`--jobs 2`", ("--jobs", 2), 1),
        ("one process, in pieces", pieces, 1),
        ("`--ray`, one worker", (*pieces, "--ray", "--ray-workers", 1), 1),
        ("`--ray`, two workers", (*pieces, "--ray", "--ray-workers", 2), 1))}
    size = 0.0
    for _ in range(rounds):
        for flags, threads, times in rows.values():
            seconds, said = run("bag", "--bag", *bags, "--output", folder / "out", *WORDS,
                                *SMALL, *flags, threads=threads)
            rates = re.findall(r", process \d+: .*, ([\d.]+) a second", said)
            times.append((seconds, rates, os.getloadavg()[0]))
            size = sum(path.stat().st_size for path in (folder / "out").rglob("*"))
            shutil.rmtree(folder / "out")
    images = RECORDINGS * LENGTH
    best = {title: min(times) for title, (_, _, times) in rows.items()}
    slowest = min(map(float, best["`--ray`, two workers"][1]))
    return [[title, f"{seconds:.0f}", f"{images / seconds:.2f}", ", ".join(rates) or "-",
             ", ".join(f"{time:.0f} ({load:.1f})" for time, _, load in rows[title][2])]
            for title, (seconds, rates, _) in best.items()], slowest, size / images


def on_paper(rate: float, begin: float, task: float) -> list[list[object]]:
    """Plan for a thousand hours of one camera.

    Args:
        rate: images a second of a worker.
        begin: seconds until the workers are there.
        task: seconds that the engine takes for a piece.

    Returns:
        For every number of workers: days for all, share of it that is the engine's, and what a
        worker that dies in every hundredth piece costs.
    """
    pieces = HOURS * 3600 / PIECE_SECONDS
    images = HOURS * 3600 * RATE * (1 + RUN_IN / PIECE_SECONDS)
    rows = []
    for workers in FLEETS:
        work = images / rate / workers
        engine = begin + task * pieces / workers
        again = 0.01 * pieces * (images / pieces / rate + begin) / workers
        rows.append([workers, f"{(work + engine) / 86400:.1f}",
                     f"{100 * engine / (work + engine):.4f} %", f"{again / 86400:.2f}"])
    return rows


def matrix_rates() -> list[float]:
    """Return GFLOP/s of products of matrices, with one thread and with all.

    What all threads gain on products of matrices is about what that many workers can gain: cores
    may be threads of one physical core.
    """
    before, rates = torch.get_num_threads(), []
    try:
        for threads in (1, usable_cores()):
            torch.set_num_threads(threads)
            rates.append(matrix_rate(torch.device("cpu"), "fp32") / 1e9)
    finally:
        torch.set_num_threads(before)
    return rates


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--rounds", type=positive, default=1, metavar="N",
                        help="in which the ways of working take turns (default 1)")
    parser.add_argument("--no-run-ins", action="store_true",
                        help="leave the run-ins out, which do not depend on the computer")


def measure(parsed: argparse.Namespace) -> None:
    """Measure, and print a page."""
    rounds = parsed.rounds
    print(f"# Work in pieces\n\nBy `python -m benchmarks.fleet`: the embedded model on pictures of "
          f"640x480, short side 112,\none thread a process where no other number stands, "
          f"{os.cpu_count()} cores.\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not parsed.no_run_ins:
            print(f"A film of {FILM // RATE} s in pieces of 2 s, against the labels of one go:\n")
            print(*markdown_table(["run-in [s]", "more work", "told at the worst seam",
                                   "pixels that differ in the worst first frame",
                                   "in all frames"], run_ins(folder)), sep="\n", flush=True)
        one, all_of_them = matrix_rates()
        rows, rate, size = ways(folder, rounds)
        print(f"\nWhole commands, of {in_number(rounds, 'round')} the fastest; {RECORDINGS} "
              f"recordings of {LENGTH} images,\npieces of {CUT:g} s:\n")
        print(*markdown_table(["way", "seconds", "images/s", "of each worker, while it works",
                               "all rounds (load of the minute behind it)"], rows), sep="\n",
              flush=True)
        print(f"\nBefore that, products of matrices took place at {one:.0f} GFLOP/s with one "
              f"thread and {all_of_them:.0f} with\n{usable_cores()}: {all_of_them / one:.2f} times "
              "as much, which is about what so many workers can gain here.")
        begin, task = overhead()
        print(f"\nRay's start with two workers: {begin:.1f} s. A task without work: {task:.1f} ms. "
              f"Results take {size / 1e6:.2f} MB an image.")
    print(f"\n## A thousand hours on paper\n\nOne camera, {RATE} images a second, pieces of "
          f"{PIECE_SECONDS:g} s with a run-in of {RUN_IN:g} s:\n"
          f"{HOURS * 3600 * RATE / 1e6:.0f} million images, "
          f"{HOURS * 3600 / PIECE_SECONDS:,.0f} pieces, "
          f"{HOURS * 3600 * RATE * size / 1e12:.0f} TB of results.")
    for name, each in (("the embedded model as above", rate),
                       (f"ViT-B/16 on one core, from `{SOURCE}`", VIT)):
        print(f"\nWith {each:g} images a second of a worker ({name}):\n")
        print(*markdown_table(["workers", "days", "of them Ray's", "days more where a worker dies "
                               "in every 100th piece"],
                              on_paper(each, begin, task / 1000)), sep="\n")


main = Program(*documented(__doc__), add_arguments, measure)
