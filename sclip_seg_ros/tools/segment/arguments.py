"""The flags of `sclip-segment`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.tools.arguments import (
    OneLineParser,
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
)

EXAMPLE = ("example: sclip-segment --image photos 'walk/*.mp4' --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog="sclip-segment", epilog=EXAMPLE, allow_abbrev=False,
                           description="Segment images and videos by words.")
    parser.add_argument("--image", "--video", dest="inputs", nargs="+", action="extend",
                        required=True, metavar="PATH",
                        help="images and videos: files, folders with all below them, globs")
    parser.add_argument("--output", type=Path, default=Path("out/segment"), metavar="FOLDER",
                        help="where the results go (default out/segment)")
    parser.add_argument("--overlay-alpha", type=float, default=0.5, metavar="SHARE",
                        help="share of the class colours in the overlay, 0 to 1 (default 0.5)")
    parser.add_argument("--no-legend", dest="legend", action="store_false",
                        help="leave the names of the classes out of the overlay")
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)
    parsed = parser.parse_args(arguments)
    if not 0 <= parsed.overlay_alpha <= 1:
        raise UsageError(f"--overlay-alpha {parsed.overlay_alpha} is out of range; give 0 to 1")
    return parsed
