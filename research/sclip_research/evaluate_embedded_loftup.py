"""Measure the embedded LoftUp against none and against bilinear features of the same size.

    python -m sclip_research.evaluate_embedded_loftup --output evaluation.json

Held-out rendered scenes and words as in `evaluate_embedded_model`, every row on the same scenes.
Prints a Markdown table, and writes JSON if asked.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.evaluate_embedded_loftup", "evaluate_embedded_loftup"))

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from sclip_research.evaluate_embedded_model import Tally
from sclip_research.scenes.held_out import held_out_scene
from sclip_research.scenes.worlds import WORLDS
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import BILINEAR, EMBEDDED_FILE
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.program import Program, documented, positive

RESULTS = EMBEDDED_FOLDER / "loftup_evaluation.json"
SLICE = 3           # scenes whose scores are kept apart, so that they can be checked quickly


class Row(NamedTuple):
    """One way to enlarge features: by what, and by how much ("adaptive", or a factor)."""

    inference: str
    upsampling: str
    factor: str

    def settings(self) -> dict[str, Any]:
        """Return the segmentor's settings; windows are those of the papers, averaged plainly."""
        plain = {"window_taper": False, "inference": self.inference,
                 "short_side": 336 if self.inference == "slide" else 0}
        if self.upsampling == "none":
            return {**plain, "use_loftup": False}
        adaptive = self.factor == "adaptive"
        return {**plain, "use_loftup": True, "loftup.adaptive": adaptive,
                "loftup.factor": 2.0 if adaptive else float(self.factor),
                "loftup.source": BILINEAR if self.upsampling == BILINEAR else EMBEDDED}


ROWS = [Row(inference, upsampling, factor)
        for inference in ("slide", "whole")
        for upsampling, factors in (("none", ("1",)), (BILINEAR, ("2", "3", "4", "adaptive")),
                                    ("loftup", ("2", "3", "4", "adaptive")))
        for factor in factors]


class TimedTally(Tally):
    """What one row has scored so far, and how long each scene took in seconds."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.seconds: list[float] = []

    def scores(self) -> dict[str, float]:
        """Return mIoU, mean boundary F1 and IoU over phrases, and the median milliseconds."""
        return {"miou": round(self.iou.mean(), 4),
                "boundary_f1": round(self.boundary_f1(), 4),
                "boundary_iou": round(float(np.mean(list(self.boundaries.iou().values()))), 4),
                "milliseconds": round(1000 * float(np.median(self.seconds)), 1)}


def measure(count: int, rows: Sequence[Row] = ROWS, world: str = "toy") -> dict[str, Any]:
    """Segment held-out scenes 0..count-1 of a world in every way.

    Returns:
        the scores of all rows over all scenes, and over the first few.
    """
    # PAMR would hide what the features say, and half precision is not the same everywhere.
    segmentor = SCLIPSegmentor(use_pamr=False, precision="fp32")
    tallies, first = {row: TimedTally() for row in rows}, {}
    for index in tqdm(range(count), desc="scenes", bar_format=BAR, disable=None):
        scene, names = held_out_scene(index, world=world)
        words, truth = segmentor.vocabulary(names), scene.labels(names)
        for row in rows:
            segmentor.settings = segmentor.settings.with_changes(**row.settings())
            if index == 0:      # the first pass through a model allocates and chooses kernels
                segmentor.segment(scene.image, words)
            start = time.perf_counter()
            labels = segmentor.segment(scene.image, words)
            tallies[row].seconds.append(time.perf_counter() - start)
            tallies[row].add(labels, truth, names)
        if index + 1 == min(SLICE, count):
            first = {row: tally.scores() for row, tally in tallies.items()}
    return {"world": world, "scenes": count, "threads": torch.get_num_threads(),
            "rows": _listed({row: tally.scores() for row, tally in tallies.items()}),
            "slice": {"scenes": min(SLICE, count), "rows": _listed(first)},
            "weights_sha256": checksum(EMBEDDED_FOLDER / "open_clip_model.safetensors"),
            "loftup_sha256": checksum(EMBEDDED_FILE)}


def table(results: dict[str, Any]) -> str:
    """Write the scores of all scenes as Markdown."""
    titles = {"loftup": "LoftUp", "none": "as they are"}
    head = ("inference", "features", "factor", "mIoU", "boundary F1", "boundary IoU", "ms")
    return "\n".join(markdown_table(head, (
        (row["inference"], titles.get(row["upsampling"], row["upsampling"]), row["factor"],
         *(f"{row[score]:.3f}" for score in ("miou", "boundary_f1", "boundary_iou")),
         f"{row['milliseconds']:.0f}") for row in results["rows"])))


def _listed(scores: dict[Row, dict[str, float]]) -> list[dict[str, Any]]:
    return [{**row._asdict(), **values} for row, values in scores.items()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--scenes", type=positive, default=100, help="(default %(default)s)")
    parser.add_argument("--world", choices=WORLDS, default="toy", help="(default %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, help="of torch (default 1)")
    parser.add_argument("--output", type=Path, help="JSON file to write as well")


def run(parsed: argparse.Namespace) -> None:
    """Measure and print."""
    torch.set_num_threads(parsed.threads)
    results = measure(parsed.scenes, world=parsed.world)
    print(table(results))
    if parsed.output:
        parsed.output.write_text(json.dumps(results, indent=1) + "\n")


main = Program(*documented(__doc__), add_arguments, run)
