"""Measure what time brings.

    scripts/run_in_overlay python -m benchmarks.temporal --sections sequences pamr --page

The figures go to ``out/bench/temporal.json``; keys of sections that are not run stay as they are.
``--page`` writes the table of ``benchmarks/results`` from them.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.temporal.__main__", "temporal"))

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.clocks import device_name
from benchmarks.temporal.camvid import CAMVID, carried
from benchmarks.temporal.cost import MANY, decoding_ms, tracked_frame_ms
from benchmarks.temporal.footage import KINDS, takes
from benchmarks.temporal.measures import Measures
from benchmarks.temporal.node import node_rows
from benchmarks.temporal.page import page
from benchmarks.temporal.rest import resting
from benchmarks.temporal.rows import (
    Judge,
    Row,
    aside,
    flickering,
    held,
    per_frame,
    remembered,
    smoothed_in_place,
)
from sclip_seg_ros.common.heap import keep_freed_memory
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.temporal import TemporalSettings
from sclip_seg_ros.tools.program import Program, documented, positive

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out/bench"
FILE = OUT / "temporal.json"
PAGE = ROOT / "benchmarks/results/temporal.md"
BLIND = 255.0  # grey levels: a gate that never closes


@dataclass(frozen=True)
class Bench:
    """What all sections measure with."""

    segmentor: SCLIPSegmentor
    settings: TemporalSettings
    films: int
    camvid: Path

    def judge(self, **changes: Any) -> Judge:
        """Return how labels are decided, with changed settings."""
        return Judge(self.segmentor.settings.with_changes(**changes),
                     self.segmentor.pipeline.logit_scale)

    def measured(self, rows: Mapping[str, Row], judge: Judge,
                 films: int | None = None) -> dict[str, dict[str, dict[str, float]]]:
        """Return the measures of rows, by kind of film and row."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for kind in KINDS:
            measures = {name: Measures() for name in rows}
            for take in takes(self.segmentor, kind, films or self.films, OUT / "films"):
                for name, row in rows.items():
                    with torch.inference_mode():
                        measures[name].add(take, row(take, judge))
            result[kind] = {name: each.result() for name, each in measures.items()}
            print(kind, json.dumps(result[kind], indent=1), flush=True)
        return result


def sequences(bench: Bench) -> dict[str, Any]:
    """Measure labelling with time beside labelling without, and what not to do."""
    settings = bench.settings
    return {"sequences": bench.measured({
        "aside": aside,
        "per_frame": per_frame,
        "fused": remembered(settings),
        "every_2": remembered(settings, every=2),
        "every_4": remembered(settings, every=4),
        "every_4_late_3": remembered(settings, every=4, late=3),
        "in_place": smoothed_in_place(0.7),
        "no_gate": remembered(replace(settings, gate=BLIND)),
        "held_2": held(2),
        "held_4": held(4),
    }, bench.judge())}


def refined(bench: Bench) -> dict[str, Any]:
    """Measure the same with PAMR, which sees fused scores, or is done before they come late."""
    films, with_pamr = max(1, bench.films // 4), bench.judge(use_pamr=True)
    rows = {"per_frame": per_frame, "fused": remembered(bench.settings),
            "every_4": remembered(bench.settings, every=4)}
    late = {"every_4_late_3": remembered(bench.settings, every=4, late=3)}
    refined_late = {"every_4_late_3": remembered(bench.settings, 4, 3, with_pamr)}
    on = bench.measured(rows, with_pamr, films)
    for kind, measures in bench.measured(refined_late, bench.judge(), films).items():
        on[kind] |= measures
    return {"pamr": {"films": films, "off": bench.measured(rows | late, bench.judge(), films),
                     "on": on}}


def choices(bench: Bench) -> dict[str, Any]:
    """Measure other weights and gates than the defaults."""
    rows = {f"weight {weight}, gate {gate}": remembered(replace(bench.settings, weight=weight,
                                                                gate=float(gate)))
            for weight, gate in ((0.8, 10), (0.8, 15), (0.9, 10), (0.9, 15), (0.95, 8), (0.95, 15),
                                 (0.95, 25), (0.97, 15))}
    return {"choices": bench.measured({"per_frame": per_frame, **rows}, bench.judge())}


def light(bench: Bench) -> dict[str, Any]:
    """Measure the same while the brightness goes 20 % up and down."""
    return {"light": bench.measured({
        "per_frame": per_frame,
        "fused": flickering(remembered(bench.settings), 0.2),
        "every_4": flickering(remembered(bench.settings, every=4), 0.2),
    }, bench.judge())}


def camvid(bench: Bench) -> dict[str, Any]:
    """Measure carried labels on a real drive; skipped where it is not at hand."""
    if not bench.camvid.is_dir():
        print(f"camvid is left out: '{bench.camvid}' does not exist; give --camvid")
        return {}
    return {f"camvid_{frames}": carried(bench.camvid, frames, bench.settings)["miou"]
            for frames in (5, 10)} | {
        f"camvid_{frames}_held": carried(bench.camvid, frames, bench.settings, held=True)["miou"]
        for frames in (5, 10)}


def cost(bench: Bench) -> dict[str, Any]:
    """Measure a frame without a tower run, on one thread."""
    stages = tracked_frame_ms(bench.segmentor, bench.judge(), bench.settings)
    return {"tracked_frame_ms": {size: each["all"] for size, each in stages.items()},
            "tracked_frame_stages_ms": stages}


def decoding(bench: Bench) -> dict[str, Any]:
    """Measure what decoding by patches gains, on one thread."""
    times = decoding_ms(bench.segmentor, bench.settings)
    return {"decode_ratio": {size: each["ratio"] for size, each in times[str(MANY)].items()},
            "decode_ms": times}


def rest(bench: Bench) -> dict[str, Any]:
    """Measure the tower runs that a standing camera saves."""
    return {"rest": resting(bench.segmentor, bench.judge(), max(1, bench.films // 5),
                            bench.settings)}


def node(bench: Bench) -> dict[str, Any]:
    """Measure the node with a slow model: frames answered, latency, keyframes, age of evidence."""
    return node_rows(OUT / "node", 20 * bench.films, "ViT-B/16")


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "sequences": sequences, "pamr": refined, "choices": choices, "light": light,
    "camvid": camvid, "cost": cost, "decoding": decoding, "rest": rest,
    "node": node}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--films", type=positive, default=20, help="of each kind (default 20)")
    parser.add_argument("--camvid", type=Path, default=CAMVID, metavar="FOLDER",
                        help="images/ and labels/ of consecutive frames of CamVid")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")


def run(arguments: argparse.Namespace) -> None:
    """Run the sections that are asked for, and write their figures."""
    keep_freed_memory()  # as the node does
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # Films are scored once; PAMR works on the scores, where a section has it.
    segmentor = SCLIPSegmentor(device="cpu", use_pamr=False)
    bench = Bench(segmentor, TemporalSettings(), arguments.films, arguments.camvid)
    for name in arguments.sections:
        figures = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
        figures |= SECTIONS[name](bench) | {
            "device": device_name(segmentor.pipeline.device),
            "films": arguments.films}
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if arguments.page:
        PAGE.write_text(page(json.loads(FILE.read_text(encoding="utf-8"))), encoding="utf-8")
        print(PAGE)


main = Program(*documented(__doc__), add_arguments, run)
