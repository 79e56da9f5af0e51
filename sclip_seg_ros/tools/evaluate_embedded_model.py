"""Measure the embedded model on held-out rendered scenes with the default pipeline.

    python -m sclip_seg_ros.tools.evaluate_embedded_model [--output evaluation.json]

Every scene is asked for its own phrases plus six distractors, half of which share a colour or a
noun with something in it. Prints JSON, and writes it to a file if asked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import sha256
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import PRECISIONS
from sclip_seg_ros.tools.console import UNUSABLE, USER_ERRORS, complain
from sclip_seg_ros.tools.metrics import IouMeter
from sclip_seg_ros.tools.scenes import NOUNS
from sclip_seg_ros.tools.scenes.held_out import (
    DISTRACTORS,
    SEED,
    held_out_phrases,
    held_out_scene,
)

PROGRAM = "evaluate_embedded_model"


def evaluate(segmentor: SCLIPSegmentor, count: int, pairs: str = "any",
             progress: bool = False) -> IouMeter:
    """Segment held-out scenes 0..count-1 and gather IoU by phrase."""
    meter = IouMeter()
    for index in tqdm(range(count), desc=f"{pairs} pairs", disable=not progress):
        scene, words = held_out_scene(index, pairs)
        meter.add(segmentor.segment(scene.image, words), scene.labels(words), words)
    return meter


def evaluate_nouns(segmentor: SCLIPSegmentor, count: int, progress: bool = False) -> IouMeter:
    """Segment the same scenes by bare nouns: those present and six that are not."""
    meter = IouMeter()
    for index in tqdm(range(count), desc="nouns", disable=not progress):
        scene, _ = held_out_scene(index, "any")
        present = sorted({thing.noun for thing in scene.things})
        absent = [noun for noun in NOUNS if noun not in present]
        rng = np.random.default_rng((SEED, index, DISTRACTORS))
        words = present + list(rng.permutation(absent)[:DISTRACTORS])
        truth = np.array([words.index(thing.noun) for thing in scene.things], np.uint8)[scene.mask]
        meter.add(segmentor.segment(scene.image, words), truth, words)
    return meter


def measure(segmentor: SCLIPSegmentor, count: int) -> dict[str, Any]:
    """Segment held-out scenes 0..count-1 in every way, and name what was measured."""
    anywhere = evaluate(segmentor, count, "any", progress=True)
    unseen = evaluate(segmentor, count, "held-out", progress=True)
    nouns = evaluate_nouns(segmentor, count, progress=True)
    report = {
        "model": segmentor.name,
        "precision": segmentor.precision,
        "scenes": count,
        "miou": anywhere.mean(),
        "miou_mean_over_scenes": anywhere.mean_by_image(),
        "miou_held_out_pairs": unseen.mean(held_out_phrases()),
        "miou_held_out_pairs_mean_over_scenes": unseen.mean_by_image(held_out_phrases()),
        "miou_nouns": nouns.mean(),
    }
    if segmentor.name == EMBEDDED:
        report["weights_sha256"] = sha256(EMBEDDED_FOLDER / "open_clip_model.safetensors")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code (2: an unusable model, device or file)."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic of the image tower (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write as well")
    parsed = parser.parse_args(arguments)
    try:
        report = measure(SCLIPSegmentor(parsed.model, device=parsed.device,
                                        precision=parsed.precision), parsed.scenes)
        text = json.dumps({key: round(value, 4) if isinstance(value, float) else value
                           for key, value in report.items()}, indent=2)
        print(text)
        if parsed.output:
            parsed.output.write_text(text + "\n")
    except USER_ERRORS as error:
        return complain(PROGRAM, error, UNUSABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
