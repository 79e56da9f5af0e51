"""The flags of `sclip-segment`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.tools.arguments import (
    OneLineParser,
    add_overlay_flags,
    add_segmentor_flags,
    add_vocabulary_flags,
    check_overlay_flags,
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
    add_overlay_flags(parser)
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)
    parsed = parser.parse_args(arguments)
    check_overlay_flags(parsed)
    return parsed
