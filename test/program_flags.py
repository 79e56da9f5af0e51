"""What the flags that the command-line programs share lead to."""

from __future__ import annotations

import argparse

from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.tools.arguments import (
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_profile,
    chosen_settings,
)
from sclip_seg_ros.tools.program import OneLineParser


def parse(*flags: str) -> argparse.Namespace:
    """Parse the shared flags alone."""
    parser = OneLineParser(prog="program", allow_abbrev=False)
    add_segmentor_flags(parser)
    add_vocabulary_flags(parser)
    return parser.parse_args(flags)


def settings(*flags: str) -> SegmentorSettings:
    """Return the settings that flags lead to."""
    arguments = parse(*flags)
    return chosen_settings(arguments, chosen_profile(arguments))
