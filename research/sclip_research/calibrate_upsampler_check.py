"""Measure what the limits of the upsampler check rest on: known changes, in rooms with truth.

    python -m sclip_research.calibrate_upsampler_check --loftup-source loftup.safetensors

Each change of the embedded model's pipeline, without refinement, is measured as if it were LoftUp,
image by image. Prints a Markdown table of its mIoU and of the measures: median (worst to best
image).
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.calibrate_upsampler_check", "calibrate_upsampler_check"))

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_research.scenes.held_out import held_out_scene
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.preprocessing import to_tensor
from sclip_seg_ros.segmentation.upsampler_check import UpsamplingReport, compare
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import BILINEAR
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.figures.metrics import IouMeter
from sclip_seg_ros.tools.program import Program, documented, positive

CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "features interpolated": {"use_loftup": True, "loftup.source": BILINEAR},
    "attention `clearclip`": {"attention": "clearclip"},
    "attention `naclip`": {"attention": "naclip"},
    "attention `vanilla`": {"attention": "vanilla"},
    "no residual connection": {"residual": False},
}
# Of each measure: its attribute, and which percentiles are its worst and best.
MEASURES = (("agreement_inside", 0, 100), ("cosine_drift", 100, 0), ("boundary_sharpness", 0, 100))


class Change:
    """One way to label, and what was measured of it."""

    def __init__(self, segmentor: SCLIPSegmentor, settings: dict[str, Any]) -> None:
        """Share the segmentor's weights under other settings."""
        self.pipeline = segmentor.prepare(segmentor.settings.with_changes(**settings))
        self.meter = IouMeter()
        self.reports: list[UpsamplingReport] = []

    def row(self, name: str) -> list[str]:
        """Return the cells of a row of the table."""
        cells = [name, f"{self.meter.mean():.3f}"]
        for measure, worst, best in MEASURES:
            values = [getattr(report, measure) for report in self.reports]
            known = [value for value in values if value is not None]
            ends = np.percentile(known, (50, worst, best))
            cells.append("{:.2f} ({:.2f} to {:.2f})".format(*ends))
        recommended = sum(report.use is True for report in self.reports)
        return [*cells, str(recommended)]


def calibrate(changes: dict[str, dict[str, Any]], scenes: Sequence[int]) -> list[list[str]]:
    """Label held-out rooms under every change and compare; return the table's rows."""
    # As the check, which leaves refinements out; in the windows that upsamplers are trained on.
    segmentor = SCLIPSegmentor(use_pamr=False, inference="slide", short_side=336)
    measured = {name: Change(segmentor, settings) for name, settings in changes.items()}
    for index in tqdm(scenes, unit=" room", bar_format=BAR, disable=None):
        scene, words = held_out_scene(index)
        plain = segmentor.predict_dense(scene.image, words)
        pixels = to_tensor(scene.image, segmentor.device)
        for change in measured.values():
            [result] = change.pipeline.predict([scene.image], plain.vocabulary)
            change.meter.add(result.labels, scene.labels(words), words)
            change.reports.append(compare("LoftUp", plain.scores, result.scores,
                                          plain.vocabulary.query_class, pixels,
                                          segmentor.backbone.patch_size).report())
    return [change.row(name) for name, change in measured.items()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--scenes", type=positive, default=50, help="(default %(default)s)")
    parser.add_argument("--loftup-source", help="also measure this LoftUp checkpoint")


def run(parsed: argparse.Namespace) -> None:
    """Measure and print."""
    changes = dict(CHANGES)
    if parsed.loftup_source:
        changes["LoftUp"] = {"use_loftup": True, "loftup.source": parsed.loftup_source}
    print(*markdown_table(("change", "mIoU", "labels that stay", "drift", "sharpness",
                           "rooms recommended"), calibrate(changes, range(parsed.scenes))),
          sep="\n")


main = Program(*documented(__doc__), add_arguments, run)
