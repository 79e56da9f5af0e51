"""The flags of `sclip-benchmark`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sclip_seg_ros.tools.arguments import (
    STAGES,
    OneLineParser,
    UsageError,
    add_segmentor_flags,
    positive,
)
from sclip_seg_ros.tools.benchmark.datasets import DATASETS

PROGRAM = "sclip-benchmark"
EXAMPLE = (f"example: {PROGRAM} --dataset voc21 --data-root VOCdevkit/VOC2012 "
           "--model ViT-B/16 --pretrained openai --device cuda")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog=PROGRAM, epilog=EXAMPLE, allow_abbrev=False,
                           description="Measure a segmentor on a data set. Its own profile is "
                                       "used unless --profile names another.")
    parser.add_argument("--dataset", required=True, choices=DATASETS, metavar="NAME",
                        help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data-root", type=Path, metavar="PATH",
                        help="folder of the data set, laid out as docs/reproducing.md says")
    parser.add_argument("--num-samples", type=positive, metavar="N",
                        help="measure N images, spread evenly over the data set, instead of all")
    add_segmentor_flags(parser)
    output = parser.add_argument_group("run")
    output.add_argument("--workers", type=positive, default=2, metavar="N",
                        help="threads that read images (default 2)")
    output.add_argument("--ablation", action="store_true",
                        help="every stage alone and all together, on the same images, beside what "
                             "the design documents expect")
    output.add_argument("--report", action="store_true",
                        help="write an HTML page too: scores, classes, confusion, the worst and "
                             "best images, times")
    output.add_argument("--output", type=Path, metavar="FILE.json",
                        help="results; a Markdown page and the journal go beside them (default "
                             "out/benchmark/<dataset>.json, with --ablation <dataset>_ablation)")
    output.add_argument("--resume", action="store_true",
                        help="go on where an interrupted run with the same flags stopped")
    parsed = parser.parse_args(arguments)
    if parsed.ablation:
        leave_stages_alone(parsed, "--ablation")
    name = f"{parsed.dataset}_ablation.json" if parsed.ablation else f"{parsed.dataset}.json"
    parsed.output = parsed.output or Path("out/benchmark") / name
    if parsed.output.suffix != ".json":
        raise UsageError(f"--output '{parsed.output}' must end in .json")
    return parsed


def leave_stages_alone(parsed: argparse.Namespace, program: str) -> None:
    """Refuse switches of stages where a program sets them itself; LoftUp's own flags stay.

    Args:
        parsed: flags of `add_segmentor_flags`.
        program: for the message.

    Raises:
        UsageError: a stage was switched on or off.
    """
    for stage in STAGES:
        chosen = getattr(parsed, f"use_{stage}")
        if chosen is not None:
            raise UsageError(f"--{'use' if chosen else 'no'}-{stage} cannot go with {program}, "
                             "which runs every stage alone and all together; leave it out")
    if parsed.use_all_phase1:
        raise UsageError(f"--use-all-phase1 cannot go with {program}, which runs every stage alone "
                         "and all together; leave it out")
    for text in parsed.assignments:
        if text.startswith("use_"):
            raise UsageError(f"--set {text} cannot go with {program}, which runs every stage alone "
                             "and all together; leave it out")
    parsed.use_loftup = True  # for --loftup-factor and the like, which need it
