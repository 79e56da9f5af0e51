"""The flags of `sclip-bag`, checked."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.io.files import real_path
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_overlay_flags,
    add_segmentor_flags,
    add_temporal_flag,
    add_vocabulary_flags,
    check_output,
    check_overlay_flags,
    is_address,
    path_or_address,
    refuse_address,
)
from sclip_seg_ros.tools.bag.addresses import check_addresses
from sclip_seg_ros.tools.pieces.pieces import add_piece_flags, check_piece_flags
from sclip_seg_ros.tools.program import add_resume_flags, pixels, positive

PROGRAM = "sclip-bag"
EXAMPLE = (f"{PROGRAM} --bag drive_1 drive_2 --jobs 2 --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")
_NAMES = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--bag", dest="bags", nargs="+", action="extend", required=True,
                        type=path_or_address, metavar="PATH",
                        help="recordings: folders with metadata.yaml, or .mcap or .db3 files; with "
                             "--ray also addresses, e.g. 's3://bucket/drives/*'")
    parser.add_argument("--output", type=path_or_address, default=Path("out/bags"),
                        metavar="FOLDER",
                        help="where the new recordings go, under the same names "
                             "(default out/bags); with --ray also an address")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC",
                        help="image topics to segment (default: all with colour images)")
    parser.add_argument("--prefix", default="/sclip_seg", metavar="NAME",
                        help="beginning of the results' topics (default /sclip_seg)")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N",
                        help="recordings worked on at a time, each in a process of its own "
                             "(default 1)")
    add_resume_flags(parser, "throw away what an earlier run left, finished or not")
    parser.add_argument("--points", nargs="+", default=[], metavar="TOPIC",
                        help="make semantic clouds with this depth, registered to the camera: "
                             "images in 16UC1 or 32FC1 with camera_info beside them, or organised "
                             "clouds; one topic a camera")
    parser.add_argument("--points-tolerance-ms", type=float, default=20.0, metavar="MS",
                        help="between the stamps of an image and its depth, at most (default 20)")
    parser.add_argument("--label-size", type=_size, metavar="WIDTHxHEIGHT",
                        help="decide labels at this size, e.g. that of the depth (default: that "
                             "of the images)")
    add_piece_flags(parser)
    add_temporal_flag(parser)
    add_overlay_flags(parser)
    add_vocabulary_flags(parser)
    parser.add_argument("--class-ids", nargs="+", type=int, default=[], metavar="ID",
                        help="value of each class in the label images (default: 0, 1, 2, ...)")
    parser.add_argument("--unlabelled-id", type=int, default=UNLABELLED, metavar="ID",
                        help="value of pixels without a class (default 255; Nav2's nodes use 0)")
    add_segmentor_flags(parser)


def check(parsed: argparse.Namespace) -> None:
    """Refuse unusable values; ``targets`` holds each recording's new path.

    Where there are addresses, ``errands`` holds the errand of each recording; else it is None.

    Raises:
        UsageError: in one sentence.
    """
    check_overlay_flags(parsed)
    cut = parsed.piece_seconds is not None or parsed.run_in is not None
    check_piece_flags(parsed)
    if parsed.jobs > 1 and parsed.piece_seconds is not None:
        raise UsageError("--jobs and pieces are two ways to share the work; leave one of them out")
    if not _NAMES.fullmatch(parsed.prefix):
        raise UsageError(f"--prefix '{parsed.prefix}' is not the beginning of a topic; give e.g. "
                         "/sclip_seg")
    if not 0 <= parsed.points_tolerance_ms <= 1000:
        raise UsageError(f"--points-tolerance-ms {parsed.points_tolerance_ms:g} is out of range; "
                         "give 0 to 1000")
    parsed.errands = None
    if any(map(is_address, (*parsed.bags, parsed.output))):
        for name in (*parsed.bags, parsed.output) if parsed.ray is None else ():
            refuse_address(name, "add --ray, whose workers copy recordings, or ")
        if cut:
            raise UsageError("recordings at addresses are copied and done whole; leave out "
                             "--piece-seconds and --run-in")
        check_addresses(parsed)
        return
    check_output(parsed.output)
    parsed.bags = list({real_path(bag): bag for bag in parsed.bags}.values())
    parsed.targets = _targets(parsed.bags, parsed.output)


def _size(text: str) -> tuple[int, int]:
    """Return (H, W) of ``WIDTHxHEIGHT``."""
    width, height = pixels(text)
    return height, width


def _targets(bags: Sequence[Path], output: Path) -> list[Path]:
    """Return each recording's path in the output folder.

    Raises:
        UsageError: none exists, two would have the same, one would replace its original or lie in
            it.
    """
    if not any(bag.exists() for bag in bags):  # of several, the others shall be done
        raise UsageError(f"recording '{bags[0]}' does not exist; check its path")
    names = [bag.resolve().name if bag.is_dir() else bag.stem for bag in bags]
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"{count} recordings are called '{name}'; segment them one by one, "
                             "into different --output folders")
    for bag, name in zip(bags, names, strict=True):
        target, original = (output / name).resolve(), bag.resolve()
        if bag.is_dir() and original in target.parents:
            raise UsageError(f"--output '{output}' lies in the recording '{bag}'; choose a folder "
                             "beside it")
        if target in (original, original.parent):
            raise UsageError(f"--output '{output}' holds the recording '{bag}' itself; choose "
                             "another folder")
    return [output / name for name in names]
