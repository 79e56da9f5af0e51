"""Run the node for minutes under full load and constant change; fail if anything grows or is lost.

    python -m benchmarks.soak --seconds 600
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.soak.process_sampler import ProcessSampler, Sample
from benchmarks.soak.verdict import summarise, table
from examples.child_processes import ChildProcesses
from sclip_seg_ros.tools.program import Program, UsageError, documented

START_SECONDS = 120  # loading the model and measuring its levels, at most
DRAIN_SECONDS = 120  # for the last frames to be accounted for, at most
LEAST_SECONDS = 10
# So deep that no frame is lost on the way: whatever is missing then was lost by the node.
DEPTH = 64
TOPIC = "/camera/image_raw"
NODE_PARAMETERS = ("image_reliability:=reliable", "latency_budget_ms:=300.0",
                   f"qos_overrides.{TOPIC}.subscription.depth:={DEPTH}",
                   *(f"qos_overrides./sclip_seg/{output}.publisher.depth:={DEPTH}"
                     for output in ("label", "class_confidence", "status")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--seconds", type=float, default=600.0, help="length (%(default)g)")
    parser.add_argument("--rate", type=float, default=15.0, help="frames per second (%(default)g)")
    parser.add_argument("--change-seconds", type=float, default=1.0,
                        help="from one change to the next; what a change leaves behind shows sooner"
                             " with fewer (%(default)g)")
    parser.add_argument("--alone", action="store_true", help="every frame is labelled alone")
    parser.add_argument("--output", type=Path, default=Path("out/soak"))


def check(arguments: argparse.Namespace) -> None:
    """Refuse a soak that tells nothing.

    Raises:
        UsageError: it is too short.
    """
    if arguments.seconds < LEAST_SECONDS:
        raise UsageError(f"--seconds {arguments.seconds:g} is too short for a trend; give at least "
                         f"{LEAST_SECONDS}")


def run(arguments: argparse.Namespace) -> int:
    """Soak the node, print a table, write summary.json; return 1 where there are faults."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    samples, counts = soak(arguments.output, arguments.seconds, arguments.rate,
                           arguments.change_seconds, arguments.alone)
    summary = summarise(samples, counts)
    (arguments.output / "summary.json").write_text(json.dumps(
        {**summary, "samples": [asdict(sample) for sample in samples]}, indent=1) + "\n")
    print(table(summary))
    for fault in summary["faults"]:
        print(f"soak: FAULT: {fault}", file=sys.stderr)
    print(f"soak: {'FAILED' if summary['faults'] else 'passed'}; "
          f"{arguments.output / 'summary.json'}")
    return 1 if summary["faults"] else 0


def soak(folder: Path, seconds: float, rate: float,
         change_seconds: float, alone: bool = False) -> tuple[list[Sample], dict]:
    """Run the node and its driver; return samples of the node and the driver's counts.

    Args:
        folder: for the logs and the driver's books.
        seconds: to soak for.
        rate: frames a second.
        change_seconds: from one change of words, size and budget to the next.
        alone: whether every frame is labelled alone.

    Raises:
        ProcessError: a process failed.
    """
    counts = folder / "counts.json"
    counts.unlink(missing_ok=True)
    with ChildProcesses(folder) as processes:
        parameters = [word for value in NODE_PARAMETERS for word in ("-p", value)]
        processes.start("node", "sclip_seg_ros.ros.node", "--ros-args",
                        "-r", f"image_raw:={TOPIC}", *parameters)
        print("soak: starting the node ...", flush=True)
        processes.wait_for("node", "ready", START_SECONDS)
        processes.start("driver", "benchmarks.soak.driver", "--output", str(counts),
                        "--seconds", str(seconds), "--rate", str(rate),
                        "--change-seconds", str(change_seconds), "--topic", TOPIC,
                        "--depth", str(DEPTH), *(["--alone"] if alone else []))
        processes.wait_for("driver", "begin", START_SECONDS)
        print(f"soak: {seconds:g} s at {rate:g} frames a second ...", flush=True)
        sampler = ProcessSampler(processes.pid("node"))
        while "publishing has ended" not in processes.log("driver").read_text():
            processes.check_alive()
            sampler.wait_and_sample()
        processes.finish("driver", DRAIN_SECONDS)
        processes.stop("node")
    return sampler.samples, json.loads(counts.read_text())


main = Program(*documented(__doc__), add_arguments, run, check)
