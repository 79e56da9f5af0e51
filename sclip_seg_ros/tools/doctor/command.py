"""Look whether this computer is fit for segmentation, and say what to do where it is not.

    sclip doctor                        ros2 run sclip_seg_ros doctor

Nothing that a broken installation lacks is imported before the check that would tell of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any

from sclip_seg_ros import __version__
from sclip_seg_ros.common.checkup import (
    FAULT,
    OK,
    UNKNOWN,
    WARNING,
    Check,
    Finding,
    examine,
    fault,
    not_run,
)
from sclip_seg_ros.common.libraries import REMEDY
from sclip_seg_ros.common.text import first_line, shortened
from sclip_seg_ros.tools.console import FAILED
from sclip_seg_ros.tools.doctor import device, machine, software
from sclip_seg_ros.tools.doctor.levels import Advice, Levels, advise, measure_levels
from sclip_seg_ros.tools.program import Program

OfRos = tuple[list[Check], Callable[[], float]]
CAMERA_RATE = 10.0  # frames a second, where no camera tells its own
_MARKS = {OK: "ok", WARNING: "!", FAULT: "FAULT", UNKNOWN: "-"}
_WIDTH = 100
# Of the environment, what decides on something; none of these holds a secret.
_VARIABLES = ("ROS_", "RMW_", "FASTDDS_", "FASTRTPS_", "CYCLONEDDS_", "ZENOH_", "OMP_", "MKL_",
              "CUDA_VISIBLE", "CUDA_DEVICE", "NVIDIA_VISIBLE", "TRITON_CACHE", "HF_HOME",
              "HF_HUB_CACHE", "HF_HUB_OFFLINE", "VIRTUAL_ENV")


def checks(arguments: argparse.Namespace) -> list[Check]:
    """Return the table of checks that need no ROS."""
    half = partial(device.half_precision, arguments.model, arguments.pretrained, arguments.device)
    return [
        Check("Python", software.python, "use a 64-bit Python 3.10 or newer"),
        Check("libraries", software.libraries, REMEDY),
        Check("torchvision", software.torchvision_fits,
              "install torch and torchvision of one release, from one place"),
        Check("CUDA build", software.cuda_build,
              "install the torch that https://pytorch.org names for this GPU and driver, on a "
              "Jetson NVIDIA's own"),
        Check("GPU memory", device.room, "end other programs on the GPU; `nvidia-smi` lists them"),
        Check("GPU clock", machine.gpu_clock,
              "cool it, and see that its power supply suffices"),
        Check("GPU kernels", device.kernels,
              "install a C compiler and Python's headers (Debian: build-essential, python3-dev); "
              "without the kernel torch decodes, slower"),
        Check("GPU graphs", device.graphs,
              "update NVIDIA's driver; without graphs kernels are launched one by one, slower"),
        Check("decoding", device.decoding,
              "build the package again where there is a C++ compiler (Debian: build-essential); "
              "without it torch decodes, two to five times as slow"),
        Check("precision", half, "set the parameter precision to fp32, and please report it"),
        Check("cores", machine.cores, "give the process more cores"),
        Check("memory", machine.memory, "end other programs, or add swap"),
        Check("CPU clock", machine.cpu_clock,
              "`sudo cpupower frequency-set -g performance` while the robot works"),
        Check("weights", machine.weights,
              "delete those files; those of the cache are fetched anew, the embedded ones come "
              "with the package: install it again"),
        Check("folders", machine.folders,
              "give the user of the node those folders, or others by HF_HOME, ROS_LOG_DIR, "
              "TRITON_CACHE_DIR or TMPDIR"),
        Check("clock", machine.clock,
              "`sudo timedatectl set-ntp true`, or chrony between the robot's computers"),
    ]


def main(arguments: Sequence[str] | None = None, program: str = "sclip-doctor",
         ros: str = "") -> int:
    """Make all checks, measure the levels, print one screen.

    Args:
        arguments: of the command line; by default the process's own.
        program: by which it was called.
        ros: module whose ``ros_checks`` returns the checks that need ROS, and what tells the rate
            of the fastest camera that they have seen, 0 for none; empty without ROS.

    Returns:
        0: fit, perhaps with warnings; 1: something does not work; 2: unusable flags; 130:
        interrupted.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the node does, before torch comes
    return Program(program, "Look whether this computer is fit for segmentation, and say what to "
                   "do where it is not.", f"{program} --rate 15", _add_arguments,
                   partial(_run, program, ros))(arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="embedded", help="to measure (default %(default)s)")
    parser.add_argument("--pretrained", default="", help="weights of the model, as of the node")
    parser.add_argument("--device", default="auto", help="to measure (default %(default)s)")
    parser.add_argument("--rate", type=_rate, metavar="HZ", help="frames a second to keep "
                        f"(default: that of the fastest camera in sight, else {CAMERA_RATE:g})")
    parser.add_argument("--no-levels", action="store_true", help="measure no quality levels")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON, for a report")


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a rate; give e.g. 15")
    return rate


def _run(program: str, ros: str, parsed: argparse.Namespace) -> int:
    more, camera_rate = _of_ros(ros)
    table, found = [*checks(parsed), *more], []
    if not parsed.json:
        print(f"{program}, sclip_seg_ros {__version__}, {platform.platform()}\n")
    for check, finding in examine(table):
        found.append((check, finding))
        if not parsed.json:
            print(_line(check, finding), flush=True)
    levels, advice, problem = None, None, "left out with --no-levels"
    if not parsed.no_levels:
        levels, advice, problem = _levels(parsed, camera_rate())
    faults = sum(finding.state == FAULT for _, finding in found)
    if parsed.json:
        print(json.dumps(_report(found, levels, advice, problem), indent=2))
    else:
        print(_levels_text(levels, advice, problem))
        warnings = sum(finding.state == WARNING for _, finding in found)
        print(f"\n{len(found)} checks: {faults} faulty, {warnings} with a warning, "
              f"{sum(finding.state == UNKNOWN for _, finding in found)} not run")
    return FAILED if faults else 0


def _of_ros(module: str) -> OfRos:
    """Return the checks that need ROS; one that tells why, where it cannot even be imported.

    That is tried in a process of its own first: some faults, such as a middleware that is not
    installed, make ROS end the process on import.
    """
    if not module:
        return [Check("ROS", lambda: not_run(
            "not looked into; `ros2 run sclip_seg_ros doctor` does"), "")], lambda: 0.0
    tried = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True,
                           text=True)
    if tried.returncode == 0:
        return import_module(module).ros_checks()
    said = [line for line in tried.stderr.splitlines() if line.strip()] or ["without a word"]
    return [Check("ROS", lambda: fault(f"cannot be imported: {shortened(said[-1], 300)}"),
                  "source ROS and the overlay (`source install/setup.bash`) in this shell, unset "
                  "RMW_IMPLEMENTATION or install what it names, and build with the Python that "
                  "ROS was built for")], lambda: 0.0


def _levels(parsed: argparse.Namespace,
            seen: float) -> tuple[Levels | None, Advice | None, str]:
    """Measure; return levels, advice and why there are none."""
    try:
        levels = measure_levels(parsed.model, parsed.pretrained, parsed.device)
    except Exception as error:  # whatever a broken installation raises, which a check has told
        return None, None, f"cannot be measured: {first_line(error)}"
    return levels, advise(levels, parsed.rate or seen or CAMERA_RATE), ""


def _line(check: Check, finding: Finding) -> str:
    head = f"{_MARKS[finding.state]:>5}  {check.name:14}"
    indent = " " * (len(head) + 1)
    text = textwrap.fill(finding.text, _WIDTH, initial_indent=f"{head} ", subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)
    if not finding.remedy:
        return text
    return text + "\n" + textwrap.fill(f"-> {finding.remedy}", _WIDTH, initial_indent=indent,
                                       subsequent_indent=f"{indent}   ", break_long_words=False,
                                       break_on_hyphens=False)


def _levels_text(levels: Levels | None, advice: Advice | None, problem: str) -> str:
    if levels is None or advice is None:
        return f"\nquality levels: {problem}"
    rows = "\n".join(f"  {index:2} {cost.name:18}{cost.total_ms:8.1f} ms"
                     f"   {cost.agreement:6.1%} of the best level's labels"
                     for index, cost in enumerate(levels.costs))
    return "\n".join([
        f"\nquality levels of '{levels.model}' on {levels.device}, 640x480, "
        f"{len(device.WORDS)} words, {levels.ladder}:", rows,
        "\nfor your parameter file:", *(f"    {line}" for line in advice.yaml),
        f"which {advice.why}" if advice.keeps else advice.why])


def _report(found: Sequence[tuple[Check, Finding]], levels: Levels | None, advice: Advice | None,
            problem: str) -> dict[str, Any]:
    return {
        "sclip_seg_ros": __version__, "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "platform": platform.platform(),
        "environment": {name: value for name, value in sorted(os.environ.items())
                        if name.startswith(_VARIABLES)},
        "checks": [{"name": check.name, **asdict(finding)} for check, finding in found],
        "levels": {**asdict(levels), "costs": [asdict(cost) for cost in levels.costs]}
                  if levels else {"problem": problem},
        "advice": {**asdict(advice), "yaml": advice.yaml} if advice else None}
