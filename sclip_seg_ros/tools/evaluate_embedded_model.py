"""Measure the embedded model on held-out rendered scenes with the default pipeline.

    python -m sclip_seg_ros.tools.evaluate_embedded_model [--output evaluation.json]

Every scene is asked for its own phrases plus six distractors, half of which share a colour or a
noun with something in it. Prints JSON, and writes it to a file if asked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import sha256
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import PRECISIONS
from sclip_seg_ros.tools.metrics import IouMeter
from sclip_seg_ros.tools.scenes import HELD_OUT_PAIRS, NOUNS, distractors, render, sample_scene

SEED = 20_000         # training pools use other seeds
DISTRACTORS = 6
HEIGHT, WIDTH = 480, 640


def held_out_phrases() -> set[str]:
    """Return the phrases of the pairs that training neither shows nor names."""
    return {f"{colour} {noun}" for colour, noun in HELD_OUT_PAIRS}


def held_out_scene(index: int, pairs: str = "any"):
    """Render a scene that training never saw.

    Returns:
        scene: the rendered scene.
        vocabulary: its phrases and six distractors, shuffled.
    """
    rng = np.random.default_rng((SEED, index))
    scene = render(sample_scene(rng, pairs=pairs), HEIGHT, WIDTH, noise_rng=rng)
    words = [*scene.phrases, *distractors(scene.phrases, DISTRACTORS, rng, pairs="any")]
    return scene, [words[i] for i in rng.permutation(len(words))]


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


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic of the image tower (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write as well")
    arguments = parser.parse_args()
    segmentor = SCLIPSegmentor(arguments.model, device=arguments.device,
                               precision=arguments.precision)
    anywhere = evaluate(segmentor, arguments.scenes, "any", progress=True)
    unseen = evaluate(segmentor, arguments.scenes, "held-out", progress=True)
    nouns = evaluate_nouns(segmentor, arguments.scenes, progress=True)
    report = {
        "model": segmentor.name,
        "precision": segmentor.precision,
        "scenes": arguments.scenes,
        "miou": anywhere.mean(),
        "miou_mean_over_scenes": anywhere.mean_by_image(),
        "miou_held_out_pairs": unseen.mean(held_out_phrases()),
        "miou_held_out_pairs_mean_over_scenes": unseen.mean_by_image(held_out_phrases()),
        "miou_nouns": nouns.mean(),
    }
    if segmentor.name == EMBEDDED:
        report["weights_sha256"] = sha256(EMBEDDED_FOLDER / "open_clip_model.safetensors")
    text = json.dumps({key: round(value, 4) if isinstance(value, float) else value
                       for key, value in report.items()}, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
