"""The flags of `sclip-segment`, checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_overlay_flags,
    add_segmentor_flags,
    add_temporal_flag,
    add_vocabulary_flags,
    check_output,
    check_overlay_flags,
    filled,
)
from sclip_seg_ros.tools.pieces import add_piece_flags, check_piece_flags

PROGRAM = "sclip-segment"
EXAMPLE = (f"{PROGRAM} photos 'walk/*.mp4' --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("paths", nargs="*", type=filled, metavar="PATH",
                        help="images and videos: files, folders with all below them, globs; "
                             "before the flags, for --vocabulary takes all words behind it")
    for flag, shown in (("--image", "more of the same, anywhere"), ("--video", argparse.SUPPRESS)):
        parser.add_argument(flag, dest="inputs", nargs="+", action="extend", default=[],
                            type=filled, metavar="PATH", help=shown)
    parser.add_argument("--output", type=Path, default=Path("out/segment"), metavar="FOLDER",
                        help="where the results go (default out/segment)")
    parser.add_argument("--restart", action="store_true",
                        help="also do what an earlier run finished with the same settings")
    parser.add_argument("--export-training", action="store_true",
                        help="write images, labels and their confidence as training data too, "
                             "below training/ of the output (images alone)")
    parser.add_argument("--least-confidence", type=float, metavar="P",
                        help="with --export-training: pixels less probable are not labelled "
                             "there (default 0: all are)")
    parser.add_argument("--points-file", type=Path, metavar="FILE.json",
                        help="pixels of the images that are named (by sclip-studio --points-file, "
                             "or by hand): tell how many are labelled so")
    add_piece_flags(parser)
    add_temporal_flag(parser)
    add_overlay_flags(parser)
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)


def check(parsed: argparse.Namespace) -> None:
    """Refuse a run without files, and unusable values; ``inputs`` holds all paths.

    Raises:
        UsageError: in one sentence.
    """
    parsed.inputs = [*parsed.paths, *parsed.inputs]
    if not parsed.inputs:
        raise UsageError("there is nothing to segment; give files or folders before the flags, or "
                         "with --image")
    if parsed.least_confidence is not None and not parsed.export_training:
        raise UsageError("--least-confidence has no effect without --export-training; add that, "
                         "or leave it out")
    parsed.least_confidence = parsed.least_confidence or 0.0
    if not 0 <= parsed.least_confidence <= 1:
        raise UsageError(f"--least-confidence must be 0 to 1, got {parsed.least_confidence}")
    check_overlay_flags(parsed)
    check_piece_flags(parsed)
    check_output(parsed.output)
