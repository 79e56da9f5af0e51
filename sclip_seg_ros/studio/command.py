"""`sclip studio`: the page for pictures, films and recordings on this computer."""

from __future__ import annotations

import argparse
from pathlib import Path

from sclip_seg_ros.io.profiles import Profile, read_vocabulary
from sclip_seg_ros.models import EMBEDDED, EMBEDDED_HINT
from sclip_seg_ros.models.resources import config_path
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import Choices
from sclip_seg_ros.studio.choices.export import Origin
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.points import Points
from sclip_seg_ros.studio.sources.sources import open_sources
from sclip_seg_ros.studio.web.running import LOCAL, PORT, listen, serve
from sclip_seg_ros.studio.workbench import Workbench
from sclip_seg_ros.tools.arguments import (
    add_segmentor_flags,
    add_temporal_flag,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
    text_options,
)
from sclip_seg_ros.tools.console import complain, one_line, readable
from sclip_seg_ros.tools.program import Program

PROGRAM = "sclip-studio"
EXAMPLE = f"{PROGRAM} photos walk.mp4 drive_1 --model ViT-B/16 --vocabulary floor \"person|child\""
# To begin with, where nobody said: something of most places.
FIRST_WORDS = ("person|pedestrian", "floor|ground", "wall", "door", "table", "chair", "plant",
               "sky")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH",
                        help="folders of pictures, pictures, films, recordings (rosbag2); before "
                             "the flags, for --vocabulary takes all words behind it")
    parser.add_argument("--points-file", type=Path, metavar="FILE.json",
                        help="where pixels that are named on the page are kept")
    add_serving_flags(parser)
    add_temporal_flag(parser)
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)


def add_serving_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where the page is to be had."""
    parser.add_argument("--host", default=LOCAL, metavar="ADDRESS",
                        help=f"address to serve the page at (default {LOCAL}: for this computer "
                             "alone); another wants the token that is printed")
    parser.add_argument("--port", type=int, default=PORT, metavar="N",
                        help=f"port to serve the page at (default {PORT}; 0: any that is free)")


def run(parsed: argparse.Namespace) -> int:
    """Load the model, and serve the page until Ctrl-C."""
    listening = listen(parsed.host, parsed.port)
    with listening:
        left_out: list[Exception] = []
        sources = open_sources(parsed.paths, left_out)
        for problem in left_out:
            complain(PROGRAM, f"left out: {one_line(problem)}")
        profile = chosen_profile(parsed)
        classes, background = _words(parsed, profile)
        choices = Choices(tuple(classes), background, settings=chosen_settings(parsed, profile),
                          temporal=chosen_temporal(parsed))
        segmentor = SCLIPSegmentor(parsed.model, parsed.pretrained, parsed.device,
                                   choices.settings)
        bench = Workbench(segmentor, sources, text_options(parsed))
        desk = Desk(bench, choices, Points(parsed.points_file))
        origin = Origin("" if parsed.model == EMBEDDED else parsed.model, parsed.pretrained,
                        tuple(readable(path) for path in parsed.paths), tuple(parsed.negative),
                        tuple(parsed.prompt_templates or ()))

        def begin() -> None:
            if segmentor.name == EMBEDDED:
                complain(PROGRAM, EMBEDDED_HINT)
            bench.start()
            desk.begin()

        try:
            serve(desk, origin, parsed.host, listening, begin)
        except KeyboardInterrupt:  # how people end it
            pass
        finally:
            bench.close()
    return 0


def _words(parsed: argparse.Namespace, profile: Profile | None) -> tuple[list[str], str]:
    """Return the words that were asked for, or some to begin with."""
    if profile or parsed.vocabulary is not None or parsed.vocabulary_file is not None:
        return chosen_classes(parsed, profile)
    if parsed.model == EMBEDDED:
        return read_vocabulary(config_path("vocabularies/demo.txt")), parsed.background or ""
    return list(FIRST_WORDS), parsed.background or ""


main = Program(PROGRAM, "Choose words by looking, in a browser.", EXAMPLE, add_arguments, run,
               interrupted="ended", intermixed=True)
