"""Draw rooms of a world side by side, to judge by eye whether a person knows what is in them.

    python -m sclip_research.show_rooms --world indoor --count 20 --output out/rooms.png
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.show_rooms", "show_rooms"))

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from sclip_research.scenes import render
from sclip_research.scenes.worlds import WORLDS, world
from sclip_seg_ros.tools.program import Program, documented, positive

SEED = 40_000       # neither training's nor the held-out rooms
GAP = 4             # white pixels between rooms


def sheet(name: str, count: int, columns: int, height: int) -> tuple[np.ndarray, list[str]]:
    """Render rooms 0..count-1 of a world.

    Returns:
        picture: (H, W, 3) uint8 RGB, the rooms row by row.
        captions: what is in each.
    """
    width = height * 4 // 3
    rows = -(-count // columns)
    picture = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255,
                      np.uint8)
    captions = []
    for index in range(count):
        scene = world(name).sample(np.random.default_rng((SEED, index)), "any")
        room = render(scene, height, width)
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        picture[top:top + height, left:left + width] = room.image
        captions.append(room.caption)
    return picture, captions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--world", choices=WORLDS, default="indoor", help="(default %(default)s)")
    parser.add_argument("--count", type=positive, default=20, help="rooms (default %(default)s)")
    parser.add_argument("--columns", type=positive, default=4, help="(default %(default)s)")
    parser.add_argument("--height", type=positive, default=240,
                        help="of a room, in pixels (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="picture to write")


def run(parsed: argparse.Namespace) -> None:
    """Draw, and name what is in the rooms."""
    picture, captions = sheet(parsed.world, parsed.count, parsed.columns, parsed.height)
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(parsed.output)
    for index, caption in enumerate(captions):
        print(f"{index}: {caption}")


main = Program(*documented(__doc__), add_arguments, run)
