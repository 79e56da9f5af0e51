"""The flags of `sclip-segment`, checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from sclip_seg_ros.tools.addresses import check_fsspec
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_overlay_flags,
    add_segmentor_flags,
    add_temporal_flag,
    add_vocabulary_flags,
    check_output,
    check_overlay_flags,
    filled,
    is_address,
    path_or_address,
    refuse_address,
)
from sclip_seg_ros.tools.console import readable
from sclip_seg_ros.tools.pieces.pieces import add_piece_flags, check_piece_flags
from sclip_seg_ros.tools.program import add_resume_flags

PROGRAM = "sclip-segment"
EXAMPLE = (f"{PROGRAM} photos 'walk/*.mp4' --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("paths", nargs="*", type=filled, metavar="PATH",
                        help="images and videos: files, folders with all below them, globs; "
                             "before the flags, for --vocabulary takes all words behind it; with "
                             "--ray also addresses, e.g. 's3://bucket/photos'")
    for flag, shown in (("--image", "more of the same, anywhere"), ("--video", argparse.SUPPRESS)):
        parser.add_argument(flag, dest="inputs", nargs="+", action="extend", default=[],
                            type=filled, metavar="PATH", help=shown)
    parser.add_argument("--output", type=path_or_address, default=Path("out/segment"),
                        metavar="FOLDER",
                        help="where the results go (default out/segment); with --ray also an "
                             "address")
    add_resume_flags(parser, "also do what an earlier run finished with the same settings")
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
    """Refuse a run without files, and unusable values.

    ``inputs`` holds all paths, ``at_addresses`` tells whether an address is among them and the
    output, and ``results`` names the latter for people.

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
    cut = parsed.piece_seconds is not None or parsed.run_in is not None
    check_piece_flags(parsed)
    parsed.at_addresses = any(map(is_address, (*parsed.inputs, parsed.output)))
    if parsed.at_addresses:
        _check_addresses(parsed, cut)
        return
    check_output(parsed.output)
    parsed.results = readable(parsed.output)


def _check_addresses(parsed: argparse.Namespace, cut: bool) -> None:
    """Refuse what cannot go with addresses.

    Raises:
        UsageError: in one sentence.
    """
    for name in (*parsed.inputs, parsed.output) if parsed.ray is None else ():
        refuse_address(name, "add --ray, whose workers copy files, or ")
    if cut:
        raise UsageError("films at addresses are copied and done whole; leave out --piece-seconds "
                         "and --run-in")
    for flag in ("export_training", "points_file"):
        if getattr(parsed, flag):
            raise UsageError(f"--{flag.replace('_', '-')} looks at all results together, which "
                             "needs a folder; leave it out, or copy or mount what is at the "
                             "addresses")
    check_fsspec()
    from sclip_seg_ros.cluster.addresses import Place, without_passwords

    if isinstance(parsed.output, Path):
        check_output(parsed.output)
    parsed.results = str(Place.of(parsed.output))
    parsed.command = without_passwords(parsed.command)  # it is written beside the results
    parsed.piece_seconds = parsed.run_in = None
