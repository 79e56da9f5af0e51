"""Which room the demo films: of twenty, the one that the model does neither best nor worst in.

    scripts/run_in_overlay python -m examples.demo.rooms
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("examples.demo.rooms", "rooms"))

import argparse

from tqdm import tqdm

from examples.demo.command import SCENE_SEED, vocabularies
from examples.demo.footage import render_footage
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.figures.metrics import IouMeter
from sclip_seg_ros.tools.program import Program, documented, positive

FRAMES = 10  # of each room; the demo films more on the same way


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--rooms", type=positive, default=20, help="(default %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure the rooms as the demo does, and print them from the worst to the best."""
    segmentor = SCLIPSegmentor()
    found = sorted((quality(segmentor, seed), seed)
                   for seed in tqdm(range(arguments.rooms), desc="rooms", bar_format=BAR,
                                    disable=None))
    median = found[(len(found) - 1) // 2][1]
    print(*markdown_table(("room", "mIoU"), ((seed, f"{100 * miou:.1f}") for miou, seed in found),
                          figures=True), sep="\n")
    print(f"\nThe median is room {median}; the demo films room {SCENE_SEED}.")


def quality(segmentor: SCLIPSegmentor, seed: int) -> float:
    """Return the mIoU of a room, half of it asked by nouns and half by phrases, as in the demo."""
    footage = render_footage(seed, FRAMES)
    half = FRAMES // 2
    total = 0.0
    for words, frames in zip(vocabularies(footage.things), (range(half), range(half, FRAMES)),
                             strict=True):
        meter = IouMeter()
        for index in frames:
            meter.add(segmentor.segment(footage.frames[index], words),
                      footage.truth(index, words), words)
        total += meter.mean() / 2
    return total


main = Program(*documented(__doc__), add_arguments, run)
