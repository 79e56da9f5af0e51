"""Measure the text side on held-out rendered rooms: templates, classes left out, negative words.

    OMP_NUM_THREADS=1 python -m sclip_research.evaluate_text_side --scenes 40

Prints three tables. Times are of the stages behind the image tower, the only ones that the text
side changes, as medians over the rooms.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.evaluate_text_side", "evaluate_text_side"))

import argparse
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np
from tqdm import tqdm

from sclip_research.scenes import COLOURS, NOUNS
from sclip_research.scenes.held_out import SEED, held_out_scene
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult, SegmentorSettings
from sclip_seg_ros.segmentation.text.templates import TEMPLATE_SETS
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.figures.metrics import IouMeter
from sclip_seg_ros.tools.program import Program, documented, positive

OTHER = "what was not asked for"
BOUNDS = (0.0, 0.1, 0.3, 0.5)
LONG = 150   # words


def templates(segmentor: SCLIPSegmentor, scenes: int) -> list[tuple[str, ...]]:
    """Return a row a set of prompt templates."""
    rows = []
    for name in TEMPLATE_SETS:
        meter = IouMeter()
        for index in _in_turn(scenes, name):
            scene, words = held_out_scene(index)
            vocabulary = segmentor.vocabulary(words, templates=[name])
            meter.add(segmentor.segment(scene.image, vocabulary), scene.labels(words), words)
        rows.append((name, f"{100 * meter.mean():.1f}"))
    return rows


def left_out(segmentor: SCLIPSegmentor, scenes: int) -> list[tuple[str, ...]]:
    """Return a row a bound, for the rooms' own lists of words and for long ones, with PAMR."""
    rows = []
    for many in (False, True):
        for bound in BOUNDS:
            segmentor.settings = SegmentorSettings(precision=segmentor.precision, use_pamr=True,
                                                   prune_below=bound)
            meter, times, lengths = IouMeter(), [], []
            for index in _in_turn(scenes, f"below {bound}"):
                scene, words = held_out_scene(index)
                words = _lengthened(words, index) if many else words
                result = segmentor.predict_dense(scene.image, segmentor.vocabulary(words))
                meter.add(result.labels, scene.labels(words), words)
                lengths.append(len(words))
                times.append(_behind_the_tower(result))
            rows.append((f"{median(lengths):.0f}", f"{bound:g}", f"{100 * meter.mean():.1f}",
                         f"{median(times):.0f}"))
    segmentor.settings = SegmentorSettings(precision=segmentor.precision)
    return rows


def negatives(segmentor: SCLIPSegmentor, scenes: int) -> list[tuple[str, ...]]:
    """Return a row a way to treat things that are there and not asked for: half of each room."""
    rows = []
    for way in ("not named", "negative words", "background class"):
        meter, wrong, other, times = IouMeter(), 0, 0, []
        for index in _in_turn(scenes, way):
            scene, _ = held_out_scene(index)
            asked, rest = scene.phrases[::2], scene.phrases[1::2]
            classes = [*asked, "|".join(rest)] if way == "background class" and rest else asked
            words = segmentor.vocabulary(
                classes, background=rest[0] if len(classes) > len(asked) else "",
                negatives=rest if way == "negative words" else ())
            result = segmentor.predict_dense(scene.image, words)
            truth = scene.labels([*asked, *rest])
            unasked = (truth >= len(asked)) & (truth < 255)
            truth[unasked] = len(asked)
            labels = np.where(result.labels < len(asked), result.labels, 255)
            meter.add(labels, truth, [*asked, OTHER])
            wrong += int((labels[unasked] != 255).sum())
            other += int(unasked.sum())
            times.append(_behind_the_tower(result))
        asked_for = set(meter.by_class()) - {OTHER}
        rows.append((way, f"{100 * meter.mean(asked_for):.1f}", f"{100 * wrong / other:.1f}%",
                     f"{median(times):.0f}"))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--scenes", type=positive, default=40, help="(default %(default)s)")


def run(parsed: argparse.Namespace) -> None:
    """Measure and print the tables."""
    segmentor = SCLIPSegmentor(precision="fp32")
    tables = (
        (("templates", "mIoU"), templates),
        (("words", "prune_below", "mIoU with PAMR", "ms behind the tower"), left_out),
        (("the other half of the things", "mIoU of what was asked for", "of the others labelled",
          "ms behind the tower"), negatives))
    for head, measure in tables:
        print("\n".join(markdown_table(head, measure(segmentor, parsed.scenes))),
              end="\n\n", flush=True)


def _behind_the_tower(result: SegmentationResult) -> float:
    return sum(ms for stage, ms in result.stage_ms.items() if stage not in ("preprocess", "encode"))


def _in_turn(scenes: int, what: str) -> Iterable[int]:
    return tqdm(range(scenes), desc=what, bar_format=BAR, leave=False, disable=None)


def _lengthened(words: Sequence[str], index: int) -> list[str]:
    every = [f"{colour} {noun}" for colour in COLOURS for noun in NOUNS]
    drawn = np.random.default_rng((SEED, index)).permutation(every)
    return list(dict.fromkeys([*words, *map(str, drawn)]))[:LONG]


main = Program(*documented(__doc__), add_arguments, run)
