"""Test, measure and run the node on a GPU, in at most 12 minutes: `make gpu`.

    python -m benchmarks.gpu --device cuda:1 --only node crf --quick

Leaves benchmarks/results/gpu-<name>-<date>.json and .md, whatever went wrong on the way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.command import RESULTS, ROOT, commit, slug
from benchmarks.gpu.page import page
from benchmarks.gpu.steps import SECONDS, Outcome, run, steps
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.tools.program import Program, UsageError, documented


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--device", default="cuda", help="(default %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="run these steps alone")
    parser.add_argument("--quick", action="store_true", help="a little of each, as a trial")
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="for all of it (default %(default)g)")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "gpu")
    parser.add_argument("--results", type=Path, default=RESULTS)


def work(parsed: argparse.Namespace) -> int:
    """Run the steps, write as they end, and return 1 where one went wrong.

    Raises:
        UsageError: there is no such device or step.
    """
    try:
        device = resolve_device(parsed.device)
    except ValueError as error:
        raise UsageError(f"{error}; `sclip doctor` tells why a GPU is not seen") from error
    table = steps(parsed.device, parsed.output, parsed.quick)
    names = [step.name for step in table]
    if unknown := set(parsed.only or names) - set(names):
        raise UsageError(f"there is no step '{min(unknown)}'; choose of {', '.join(names)}")
    parsed.output.mkdir(parents=True, exist_ok=True)
    parsed.results.mkdir(parents=True, exist_ok=True)
    name, date = _name(device), time.strftime("%Y-%m-%d")
    place = parsed.results / f"gpu-{slug(name)}-{date}"
    summary = {"name": name, "date": date, "commit": commit(), "torch": torch.__version__,
               "command": parsed.command, "steps": []}
    chosen = [step for step in table if not parsed.only or step.name in parsed.only]
    for outcome in run(chosen, parsed.seconds):
        summary["steps"].append(outcome.as_dict())
        _tell(outcome)
        # Written each time: a day with a GPU must not be lost to a machine that goes.
        Path(f"{place}.json").write_text(json.dumps(summary, indent=2) + "\n")
        Path(f"{place}.md").write_text(page(summary))
    print(f"gpu: results in {place}.json and {place}.md; please send both")
    return int(any(step["problem"] for step in summary["steps"]))


def _tell(outcome: Outcome) -> None:
    print(f"gpu: {outcome.name}: {outcome.problem or 'done'}, {outcome.seconds:.0f} s", flush=True)
    if outcome.said:
        print(outcome.said, file=sys.stderr, flush=True)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


main = Program(*documented(__doc__), add_arguments, work)
