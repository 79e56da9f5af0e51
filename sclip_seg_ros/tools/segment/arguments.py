"""The flags of `sclip-segment`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.tools.arguments import (
    OneLineParser,
    UsageError,
    add_overlay_flags,
    add_segmentor_flags,
    add_vocabulary_flags,
    check_output,
    check_overlay_flags,
)

PROGRAM = "sclip-segment"
EXAMPLE = (f"example: {PROGRAM} photos 'walk/*.mp4' --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog=PROGRAM, epilog=EXAMPLE, allow_abbrev=False,
                           description="Segment images and videos by words.")
    parser.add_argument("paths", nargs="*", metavar="PATH",
                        help="images and videos: files, folders with all below them, globs; "
                             "before the flags, for --vocabulary takes all words behind it")
    for flag, shown in (("--image", "more of the same, anywhere"), ("--video", argparse.SUPPRESS)):
        parser.add_argument(flag, dest="inputs", nargs="+", action="extend", default=[],
                            metavar="PATH", help=shown)
    parser.add_argument("--output", type=Path, default=Path("out/segment"), metavar="FOLDER",
                        help="where the results go (default out/segment)")
    parser.add_argument("--restart", action="store_true",
                        help="also do what an earlier run finished with the same settings")
    add_overlay_flags(parser)
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)
    parsed = parser.parse_intermixed_args(arguments)
    parsed.inputs = [*parsed.paths, *parsed.inputs]
    if not parsed.inputs:
        raise UsageError("there is nothing to segment; give files or folders before the flags, or "
                         "with --image")
    check_overlay_flags(parsed)
    check_output(parsed.output)
    return parsed
