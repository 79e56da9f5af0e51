"""Start camera, node and consumer as separate processes and see them through."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from examples.child_processes import ChildProcesses
from examples.demo.footage import Footage

TOPIC = "/camera/image_raw"
START_SECONDS = 300     # loading the model and discovery, at most, also on a busy small computer
DRAIN_SECONDS = 2.0     # for the last frames to come out


def run_processes(footage: Footage, before: list[str], after: list[str],
                  arguments: argparse.Namespace) -> None:
    """Let the camera play the footage to the node while the recorder listens.

    Everything they leave behind lies under ``<output>/work``.

    Raises:
        ProcessError: the node or another process failed or did not start in time.
    """
    work = arguments.output / "work"
    work.mkdir(parents=True, exist_ok=True)
    for stale in (*work.glob("*.*"), *arguments.output.glob("*.png")):
        stale.unlink()
    np.save(work / "frames.npy", footage.frames)
    with ChildProcesses(work) as processes:
        parameters = json.dumps(before)
        processes.start("node", "sclip_seg_ros.ros.node", "--ros-args",
                        "-r", f"image_raw:={TOPIC}", "-p", f"classes:={parameters}",
                        "-p", f"model:={arguments.model}", "-p", "image_reliability:=reliable",
                        "-p", f"device:={arguments.device}",
                        *(["-p", f"pretrained:={arguments.pretrained}"]
                          if arguments.pretrained else []))
        processes.start("recorder", "examples.demo.recorder", "--output", str(work),
                        "--change-after", str(0.45 * arguments.frames / arguments.rate),
                        "--classes", *after)
        print("demo: starting node and recorder ...", flush=True)
        processes.wait_for("node", "ready", START_SECONDS)
        processes.wait_for("recorder", "connected", START_SECONDS)
        print(f"demo: publishing {arguments.frames} frames at {arguments.rate:g} Hz on {TOPIC}; "
              "the vocabulary changes on the way ...", flush=True)
        processes.start("camera", "examples.demo.camera", "--frames",
                        str(work / "frames.npy"), "--stamps", str(work / "stamps.json"),
                        "--topic", TOPIC, "--rate", str(arguments.rate))
        processes.finish("camera", 60 + arguments.frames / arguments.rate)
        time.sleep(DRAIN_SECONDS)
        processes.stop("recorder")
        processes.stop("node")
