"""Measure the embedded model on held-out rendered scenes with the default pipeline.

    python -m sclip_research.evaluate_embedded_model --output evaluation.json
    python -m sclip_research.evaluate_embedded_model --world indoor --set use_pamr=false
    python -m sclip_research.evaluate_embedded_model --weights new.safetensors

Every scene is asked for its own phrases plus six distractors, half of which share a colour or a
noun with something in it; then for its bare nouns plus six others; then the same for rooms with
pairs that training never showed; at last films are labelled frame by frame. Prints JSON, and writes
it to a file if asked.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.evaluate_embedded_model", "evaluate_embedded_model"))

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_research.scenes.films import film
from sclip_research.scenes.held_out import held_out_nouns, held_out_phrases, held_out_scene
from sclip_research.scenes.worlds import WORLDS
from sclip_seg_ros.io.profiles import parse_assignments
from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.devices import PRECISIONS
from sclip_seg_ros.models.recipe import CONFIG
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.temporal.consistency import Consistency
from sclip_seg_ros.tools.benchmark.boundary import Boundaries, boundary_counts
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.figures.metrics import IouMeter
from sclip_seg_ros.tools.program import Program, documented, positive


class Tally:
    """IoU and outlines, gathered over scenes with vocabularies of their own."""

    def __init__(self) -> None:
        """Start empty."""
        self.iou, self.boundaries = IouMeter(), Boundaries()

    def add(self, labels: np.ndarray, truth: np.ndarray, words: Sequence[str]) -> None:
        """Count one scene."""
        self.iou.add(labels, truth, words)
        self.boundaries.add(boundary_counts(labels, truth, len(words)), words)

    def boundary_f1(self) -> float:
        """Return the mean over words."""
        return float(np.mean(list(self.boundaries.f1().values())))


def evaluate(segmentor: SCLIPSegmentor, count: int, pairs: str = "any", world: str = "toy",
             ) -> Tally:
    """Segment held-out scenes 0..count-1 of a world by their phrases and six distractors."""
    tally = Tally()
    for index in tqdm(range(count), desc=f"{pairs} pairs", bar_format=BAR, disable=None):
        scene, words = held_out_scene(index, pairs, world)
        tally.add(segmentor.segment(scene.image, words), scene.labels(words), words)
    return tally


def evaluate_nouns(segmentor: SCLIPSegmentor, count: int, world: str = "toy") -> Tally:
    """Segment the same scenes by bare nouns: those present and six that are not."""
    tally = Tally()
    for index in tqdm(range(count), desc="nouns", bar_format=BAR, disable=None):
        scene, words, truth = held_out_nouns(index, world)
        tally.add(segmentor.segment(scene.image, words), truth, words)
    return tally


def evaluate_films(segmentor: SCLIPSegmentor, count: int, world: str = "toy") -> float:
    """Label films frame by frame.

    Returns:
        the share of pixels whose label flips, see :class:`Consistency`; mean over the films.
    """
    shares = []
    for index in tqdm(range(count), desc="films", bar_format=BAR, disable=None):
        shown = film(index, moving=True, world=world)
        words = segmentor.vocabulary(shown.words)
        steadiness, before = Consistency(len(shown.words)), None
        for shot in shown.shots():
            now = segmentor.segment(shot.image, words)
            if before is not None:
                last, labels = before
                steadiness.add(labels, now, last.following, last.labels, shot.labels)
            before = shot, now
        shares.append(steadiness.flips)
    return float(np.mean(shares))


def measure(segmentor: SCLIPSegmentor, count: int, world: str = "toy", films: int = 0,
            ) -> dict[str, Any]:
    """Segment held-out scenes 0..count-1 of a world in every way, and name what was measured."""
    anywhere = evaluate(segmentor, count, "any", world)
    unseen = evaluate(segmentor, count, "held-out", world)
    nouns = evaluate_nouns(segmentor, count, world)
    new = held_out_phrases(world)
    report = {
        "model": segmentor.name,
        "precision": segmentor.precision,
        "world": world,
        "scenes": count,
        "miou": anywhere.iou.mean(),
        "miou_mean_over_scenes": anywhere.iou.mean_by_image(),
        "boundary_f1": anywhere.boundary_f1(),
        "miou_held_out_pairs": unseen.iou.mean(new),
        "miou_held_out_pairs_mean_over_scenes": unseen.iou.mean_by_image(new),
        "miou_nouns": nouns.iou.mean(),
        "boundary_f1_nouns": nouns.boundary_f1(),
        "iou_by_noun": {noun: round(value, 3) for noun, value in nouns.iou.by_class().items()},
    }
    if films:
        report |= {"films": films, "flips": evaluate_films(segmentor, films, world)}
    if segmentor.name == EMBEDDED:
        report["weights_sha256"] = checksum(EMBEDDED_FOLDER / "open_clip_model.safetensors")
    return report


def bundled(weights: Path, folder: Path) -> str:
    """Put weights beside the embedded model's configuration, and name the folder as a model.

    Raises:
        FileNotFoundError: there are no such weights.
    """
    shutil.copy(EMBEDDED_FOLDER / CONFIG, folder)
    shutil.copy(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--scenes", type=positive, default=100, help="(default %(default)s)")
    parser.add_argument("--films", type=int, default=4, help="films of 24 frames, for flips")
    parser.add_argument("--world", choices=WORLDS, default="toy", help="(default %(default)s)")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--weights", type=Path,
                        help="weights file to take in place of the embedded model's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic of the image tower (default %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], dest="assignments", metavar="NAME=VALUE",
                        help="settings of the pipeline, e.g. use_pamr=false")
    parser.add_argument("--output", type=Path, help="JSON file to write as well")


def run(parsed: argparse.Namespace) -> None:
    """Measure and print."""
    if parsed.output:       # hours of measuring are not to end at a folder that is missing
        parsed.output.open("a").close()
    changes = parse_assignments(parsed.assignments)
    with TemporaryDirectory() as folder:
        model, attention = parsed.model, "auto"
        if parsed.weights:
            model, attention = bundled(parsed.weights, Path(folder)), "sclip"
        segmentor = SCLIPSegmentor(model, device=parsed.device, settings=SegmentorSettings(
            precision=parsed.precision, attention=attention).with_changes(changes))
    report = measure(segmentor, parsed.scenes, parsed.world, parsed.films)
    if changes:
        report |= {"settings": changes}
    if parsed.weights:
        report |= {"model": str(parsed.weights), "weights_sha256": checksum(parsed.weights)}
    text = json.dumps({key: round(value, 4) if isinstance(value, float) else value
                       for key, value in report.items()}, indent=2)
    print(text)
    if parsed.output:
        parsed.output.write_text(text + "\n")


main = Program(*documented(__doc__), add_arguments, run)
