"""Camera, segmenter and consumer on three hosts, with loss and delay between them.

    sudo scripts/run_in_overlay python -m benchmarks.three_hosts --seconds 10
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

from benchmarks.three_hosts.hosts import ENVIRONMENT, MIDDLEWARES, Hosts, reason_not_allowed
from benchmarks.three_hosts.measures import Situation, markdown, measure
from examples.child_processes import ChildProcesses
from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.tools.program import Program, documented

START_SECONDS = 120
SETTLE_SECONDS = 3.0  # after a change of the network, and for the last labels to come
# A frame that costs little, so that the network and not the model is seen.
NODE_PARAMETERS = ('image_topics:=["/raw/image", "/jpeg/image/compressed"]', "threads:=1",
                   'classes:=["floor", "wall", "box"]', "short_side:=112", "inference:=whole")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=5.0, help="frames per second")
    parser.add_argument("--loss", type=float, nargs="+", default=[0, 1, 5], help="per cent")
    parser.add_argument("--delay", type=float, nargs="+", default=[0, 20],
                        help="milliseconds each way between any two hosts")
    parser.add_argument("--transport", nargs="+", default=["raw", "jpeg"],
                        choices=("raw", "jpeg"))
    parser.add_argument("--reliability", nargs="+", default=["reliable"],
                        choices=("reliable", "best_effort"), help="that the camera offers")
    parser.add_argument("--middleware", nargs="+", default=list(MIDDLEWARES), choices=MIDDLEWARES,
                        help="how Fast DDS sends")
    parser.add_argument("--output", type=Path, default=Path("out/three_hosts"))


def work(arguments: argparse.Namespace) -> None:
    """Measure every combination, print a table, and write summary.json.

    Raises:
        Failed: hosts cannot be made here.
        ProcessError: a process of one failed.
    """
    if reason := reason_not_allowed():
        raise Failed(f"{reason}; run it as root, where /dev/net/tun exists")
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for middleware in arguments.middleware:
        rows += measure(run(arguments, middleware), arguments.output)
    (arguments.output / "summary.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))


def run(arguments: argparse.Namespace, middleware: str) -> list[Situation]:
    """Let the hosts work through every situation; their records lie in the output folder."""
    situations: list[Situation] = []
    with Hosts() as hosts, ChildProcesses(arguments.output) as processes:
        def start(host: str, name: str, module: str, *words: str) -> None:
            processes.start(name, module, *words, prefix=hosts.inside(host),
                            environment={**ENVIRONMENT, **MIDDLEWARES[middleware]})

        start("segmenter", "node", "sclip_seg_ros.ros.node", "--ros-args",
              *(word for value in NODE_PARAMETERS for word in ("-p", value)))
        start("consumer", "consumer", "benchmarks.three_hosts.consumer", "--output",
              str(arguments.output / "consumer.json"))
        processes.wait_for("node", "ready", START_SECONDS)
        processes.wait_for("consumer", "listening", START_SECONDS)
        for transport, reliability in product(arguments.transport, arguments.reliability):
            name = f"camera_{transport}_{reliability}"
            hosts.cable.loss = hosts.cable.delay = 0.0
            start("camera", name, "benchmarks.three_hosts.camera", "--transport", transport,
                  "--reliability", reliability, "--rate", str(arguments.rate),
                  "--output", str(arguments.output / f"{name}.json"))
            processes.wait_for(name, "publishing", START_SECONDS)
            time.sleep(SETTLE_SECONDS)
            for loss, delay in product(arguments.loss, arguments.delay):
                situations.append(_watch(hosts, (middleware, transport, reliability), loss, delay,
                                         arguments.seconds))
                print(f"three_hosts: {situations[-1]}", flush=True)
            hosts.cable.loss = hosts.cable.delay = 0.0
            processes.stop(name)
        processes.stop("consumer")
        processes.stop("node")
    return situations


def _watch(hosts: Hosts, kind: tuple[str, str, str], loss: float, delay: float,
           seconds: float) -> Situation:
    """Let a situation last, and note what the network carried."""
    cable = hosts.cable
    cable.loss, cable.delay = loss / 100, delay / 1000
    time.sleep(SETTLE_SECONDS)
    begin, carried, refused = time.time_ns(), cable.carried_bytes, cable.refused
    time.sleep(seconds)
    return Situation(*kind, loss, delay, begin, time.time_ns(), cable.carried_bytes - carried,
                     cable.refused - refused)


main = Program(*documented(__doc__), add_arguments, work)
