"""The flags of `sclip-bag`, checked."""

from __future__ import annotations

import argparse
import re
from collections import Counter
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
    positive,
)

PROGRAM = "sclip-bag"
EXAMPLE = (f"example: {PROGRAM} --bag drive_1 drive_2 --jobs 2 --model ViT-B/16 "
           "--pretrained openai --vocabulary person car dog \"road|street\"")
_NAMES = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ``targets`` holds each recording's new path.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog=PROGRAM, epilog=EXAMPLE, allow_abbrev=False,
                           description="Segment the images of rosbag2 recordings. An interrupted "
                                       "run goes on when the same command is given again.")
    parser.add_argument("--bag", dest="bags", nargs="+", action="extend", required=True,
                        type=Path, metavar="PATH",
                        help="recordings: folders with metadata.yaml, or .mcap or .db3 files")
    parser.add_argument("--output", type=Path, default=Path("out/bags"), metavar="FOLDER",
                        help="where the new recordings go, under the same names "
                             "(default out/bags)")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC",
                        help="image topics to segment (default: all with colour images)")
    parser.add_argument("--prefix", default="/sclip_seg", metavar="NAME",
                        help="beginning of the results' topics (default /sclip_seg)")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N",
                        help="recordings worked on at a time, each in a process of its own "
                             "(default 1)")
    parser.add_argument("--restart", action="store_true",
                        help="throw away what an earlier run left, finished or not")
    add_overlay_flags(parser)
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)
    parsed = parser.parse_args(arguments)
    check_overlay_flags(parsed)
    check_output(parsed.output)
    if not _NAMES.fullmatch(parsed.prefix):
        raise UsageError(f"--prefix '{parsed.prefix}' is no beginning of a topic; give e.g. "
                         "/sclip_seg")
    parsed.targets = _targets(parsed.bags, parsed.output)
    return parsed


def _targets(bags: Sequence[Path], output: Path) -> list[Path]:
    """Return each recording's path in the output folder.

    Raises:
        UsageError: one does not exist, two would have the same, or one would replace its original.
    """
    for bag in bags:
        if not bag.exists():
            raise UsageError(f"recording '{bag}' does not exist; check its path")
    names = [bag.resolve().name if bag.is_dir() else bag.stem for bag in bags]
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"{count} recordings are called '{name}'; segment them one by one, "
                             "into different --output folders")
    for bag, name in zip(bags, names, strict=True):
        if (output / name).resolve() in (bag.resolve(), bag.resolve().parent):
            raise UsageError(f"--output '{output}' holds the recording '{bag}' itself; choose "
                             "another folder")
    return [output / name for name in names]
