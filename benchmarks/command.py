"""Measure the pipeline beside its plain form; writes out/bench/summary.json and a table.

    python -m benchmarks --full --device cuda --keep

On a CPU it computes with one thread and counts that thread's processor time, so that other programs
hardly matter; with more threads it takes elapsed time and wants the machine for itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import configurations, crf, report
from benchmarks.clocks import clock_of, device_name
from benchmarks.configurations import BASE, Configuration, load
from benchmarks.curves import curves
from benchmarks.matrix_rate import matrix_rate
from benchmarks.measuring import compare
from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.models import EMBEDDED, resolve_device
from sclip_seg_ros.models.devices import PRECISIONS
from sclip_seg_ros.segmentation.refinement.dense_crf import with_pydensecrf
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings
from sclip_seg_ros.tools.program import Program, documented, positive

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = ("sclip_seg_ros/segmentation", "sclip_seg_ros/models", ":(glob)benchmarks/*.py")
CRF_CLASSES = 21


def measure(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Run all configurations model by model, then the CRF and the curves."""
    measured, date = commit(), time.strftime("%Y-%m-%d")  # files may change meanwhile
    chosen = configurations.FULL if arguments.full else configurations.SHORT
    rates: dict[str, float] = {}
    results, grown = [], {}
    for name in (EMBEDDED, BASE):
        model = load(name, device, arguments.precision)
        for precision in ("fp32", model.fast.precision):
            if precision not in rates:
                rates[precision] = matrix_rate(device, precision)
        for configuration in (entry for entry in chosen if entry.model == name):
            results.append(compare(configuration, model, rounds(arguments, configuration), rates))
            print("\n".join(report.table(results[-1:])), flush=True)
        if name == EMBEDDED:
            grown = curves(model, arguments.rounds)
    _, clock = clock_of(device)
    return {"device": device_name(device), "threads": torch.get_num_threads(), "clock": clock,
            "torch": torch.__version__, "date": date, "commit": measured,
            "command": arguments.command,
            "matrix_rate_gops": {name: round(rate / 1e9, 1) for name, rate in rates.items()},
            "legend": report.LEGEND, "results": results, "crf": measure_crf(device, arguments),
            "curves": grown}


def rounds(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Return how often a configuration is run: the large model less often."""
    return max(2, arguments.rounds // 2) if configuration.model == BASE else arguments.rounds


def measure_crf(device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare DenseCRF on the device with pydensecrf on the CPU, on rendered rooms."""
    height, width = configurations.VGA
    settings = CrfSettings("lattice")
    rows = [crf.compare(*crf.rendered(seed, height, width, CRF_CLASSES), settings, device, 2)
            for seed in range(3 if arguments.full else 1)]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {"size": [height, width], "classes": CRF_CLASSES, "iterations": settings.iterations,
            "scenes": len(rows), "total_ms": round(mean["lattice_seconds"] * 1e3, 2),
            "pydensecrf_ms": round(mean["pydensecrf_seconds"] * 1e3, 2),
            "ratio_vs_pydensecrf": round(mean["pydensecrf_seconds"] / mean["lattice_seconds"], 3),
            "argmax_agreement": round(mean["argmax_agreement"], 5)}


def commit() -> str:
    """Return the commit measured, marked where what was measured differs from it."""
    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, text=True,
                              capture_output=True).stdout.strip()

    changed = git("status", "--porcelain", "--", *MEASURED)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def slug(name: str) -> str:
    """Return a device's name as part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--full", action="store_true", help="every configuration")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=positive, default=1,
                        help="of the CPU (default %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto",
                        help="of the pipeline's tower; the reference's is fp32")
    parser.add_argument("--rounds", type=positive, default=5,
                        help="turns each (default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "bench")
    parser.add_argument("--keep", action="store_true",
                        help=f"also write into {RESULTS.relative_to(ROOT)}, by device and date")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write.

    Raises:
        Failed: a library of the reference is missing.
    """
    try:
        with_pydensecrf.load()  # which the reference needs in the end
    except ImportError as error:
        raise Failed(str(error)) from error
    logging.getLogger("sclip_seg_ros").setLevel(logging.ERROR)  # random weights are on purpose
    torch.set_num_threads(arguments.threads)
    summary = measure(arguments, resolve_device(arguments.device))
    form = "full" if arguments.full else "short"
    places = [arguments.output / "summary"]
    if arguments.keep:
        places.append(RESULTS / f"{slug(summary['device'])}-{form}-{summary['date']}")
    text = report.page(summary)
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{place}.json").write_text(json.dumps(summary, indent=2) + "\n")
        Path(f"{place}.md").write_text(text)
    print(text, end="")


main = Program(*documented(__doc__), add_arguments, run)
