"""Keep a latency budget while other processes take the cores, on and off.

Frames come at a camera's rate; each is labelled at the level the governor chooses, as in the node.
In every other phase one process a core multiplies matrices. Prints, by phase, frames, levels and
the share of frames over the budget.

    .venv/bin/python -m benchmarks.load --budget 150 --rate 5 --phase 20
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.load", "load"))

import argparse
import json
import multiprocessing
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the node does

import torch

from sclip_seg_ros.io.ladders import read_ladder
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.program import Program, UsageError, documented, positive

CLASSES = ("floor", "wall", "door", "rug", "table", "chair", "lamp", "box", "ball", "cup", "bowl",
           "cone", "bottle", "pyramid", "cylinder")
SETTLING_SECONDS = 1.0  # at the beginning; frames of it are not judged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--budget", type=float, default=200.0, help="milliseconds")
    parser.add_argument("--rate", type=float, default=4.0, help="frames a second")
    parser.add_argument("--phase", type=float, default=30.0, help="seconds of a phase")
    parser.add_argument("--phases", type=positive, default=6, help="idle and loaded in turn")
    parser.add_argument("--burners", type=int, default=len(os.sched_getaffinity(0)),
                        help="processes that take the cores")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)),
                        help="that torch computes with")
    parser.add_argument("--output", type=Path, help="JSON file")


def check(options: argparse.Namespace) -> None:
    """Refuse phases of which nothing would be judged.

    Raises:
        UsageError: they are too short.
    """
    if options.rate <= 0:
        raise UsageError(f"--rate {options.rate:g} asks for no frames; give more than 0")
    least = SETTLING_SECONDS + 1 / options.rate
    if options.phase <= least:
        raise UsageError(f"--phase {options.phase:g} is too short at {options.rate:g} frames a "
                         f"second; give more than {least:g}")


def measure(options: argparse.Namespace) -> None:
    """Run all phases and print what happened."""
    frames = run(options)
    summary = summarise(frames, options)
    for row in summary["phases"]:
        levels = ", ".join(f"{name} {count}" for name, count in row["levels"].items())
        print(f"{row['load']:<7} {row['frames']:4d} frames, {row['over']:3d} over the budget, "
              f"median {row['median_ms']:5.0f} ms, most {row['most_ms']:5.0f} ms; {levels}")
    print(f"{summary['kept']:.2%} of {summary['frames']} frames within {options.budget:g} ms after "
          f"the first second, {summary['down']} steps down, {summary['up']} steps up")
    if options.output:
        options.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def run(options: argparse.Namespace) -> list[dict]:
    """Label frames through all phases; return what became of each."""
    torch.set_num_threads(options.threads)
    segmentor = SCLIPSegmentor("embedded")
    vocabulary = segmentor.vocabulary(CLASSES)
    quality = QualityControl(segmentor, read_ladder("cpu.yaml", segmentor.device))
    quality.configure(segmentor.settings, options.budget)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    quality.warm_up(image, vocabulary)
    frames: list[dict] = []
    begin = due = time.monotonic()
    for phase in range(options.phases):
        burners = start_burners(options.burners) if phase % 2 else []
        while time.monotonic() < begin + (phase + 1) * options.phase:
            time.sleep(max(0.0, due - time.monotonic()))
            arrived = time.monotonic()
            due = max(due + 1.0 / options.rate, arrived)
            quality.begin([image.shape[:2]], vocabulary)
            deadline = quality.deadline(arrived)
            results = quality.pipeline.predict([image], vocabulary, deadline)
            milliseconds = (time.monotonic() - arrived) * 1e3
            frames.append({"phase": phase, "at": arrived - begin, "ms": milliseconds,
                           "level": quality.state.level, "name": quality.state.name,
                           "over": milliseconds > options.budget})
            quality.end(milliseconds, results, results[0].stage_ms["decode"])
        for burner in burners:
            burner.terminate()
            burner.join()
    return frames


def start_burners(count: int) -> list[multiprocessing.Process]:
    """Start processes that take a core each."""
    context = multiprocessing.get_context("spawn")
    burners = [context.Process(target=burn, daemon=True) for _ in range(count)]
    for burner in burners:
        burner.start()
    return burners


def burn() -> None:
    """Multiply matrices until the process is ended."""
    torch.set_num_threads(1)
    matrix = torch.rand(300, 300)
    while True:
        torch.mm(matrix, matrix)


def summarise(frames: list[dict], options: argparse.Namespace) -> dict:
    """Return counts by phase, and over all."""
    judged = [frame for frame in frames if frame["at"] > SETTLING_SECONDS]
    moves = [later["level"] - earlier["level"]
             for earlier, later in zip(frames, frames[1:], strict=False)]
    phases = []
    for phase in range(options.phases):
        own = [frame for frame in judged if frame["phase"] == phase]
        times = [frame["ms"] for frame in own]
        phases.append({"load": "loaded" if phase % 2 else "idle", "frames": len(own),
                       "over": sum(frame["over"] for frame in own),
                       "median_ms": float(np.median(times)), "most_ms": max(times),
                       "levels": dict(Counter(frame["name"] for frame in own))})
    return {"budget_ms": options.budget, "rate": options.rate, "burners": options.burners,
            "threads": options.threads,
            "cores": len(os.sched_getaffinity(0)), "frames": len(judged),
            "kept": 1 - sum(frame["over"] for frame in judged) / len(judged),
            "down": sum(move > 0 for move in moves), "up": sum(move < 0 for move in moves),
            "phases": phases}


main = Program(*documented(__doc__), add_arguments, measure, check)
