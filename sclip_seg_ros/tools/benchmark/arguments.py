"""The flags of `sclip-benchmark`, checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from sclip_seg_ros.models import RANDOM
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_temporal_flag,
    refuse_stage_switches,
)
from sclip_seg_ros.tools.benchmark.datasets import DATASETS, VIDEOS
from sclip_seg_ros.tools.pieces.pieces import add_ray_flags, check_ray_flags
from sclip_seg_ros.tools.program import add_resume_flags, positive

PROGRAM = "sclip-benchmark"
EXAMPLE = (f"{PROGRAM} --dataset voc21 --data-root VOCdevkit/VOC2012 "
           "--model ViT-B/16 --pretrained openai --device cuda")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--dataset", required=True, choices=DATASETS, metavar="NAME",
                        help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data-root", type=Path, metavar="PATH",
                        help="folder of the data set, laid out as docs/reproducing.md says")
    parser.add_argument("--num-samples", type=positive, metavar="N",
                        help="measure N images, spread evenly over the data set, not all; of "
                             "films, the first N")
    add_temporal_flag(parser)
    add_segmentor_flags(parser)
    output = parser.add_argument_group("run")
    output.add_argument("--workers", type=positive, default=2, metavar="N",
                        help="threads that read images (default 2)")
    add_ray_flags(output)
    output.add_argument("--ablation", action="store_true",
                        help="every stage alone and all together, on the same images, beside what "
                             "the design documents expect")
    output.add_argument("--report", action="store_true",
                        help="write an HTML page too: scores, classes, confusion, the worst and "
                             "best images, times")
    output.add_argument("--output", type=Path, metavar="FILE.json",
                        help="results; a Markdown page and the journal go beside them (default "
                             "out/benchmark/<dataset>.json, with --ablation <dataset>_ablation)")
    add_resume_flags(output, "throw away what an earlier run left",
                     "go on with a finished run, too, as for --report; an interrupted one goes on "
                     "without it")


def check(parsed: argparse.Namespace) -> None:
    """Refuse flags that do not go together, and name the results.

    Raises:
        UsageError: in one sentence.
    """
    check_ray_flags(parsed)
    if parsed.ray is not None and parsed.pretrained == RANDOM:
        raise UsageError(f"--ray has no use beside --pretrained {RANDOM}, whose weights would be "
                         "others for each worker; leave one of them out")
    if parsed.ablation and parsed.dataset in VIDEOS:
        raise UsageError(f"--ablation measures single images, and {parsed.dataset} are films; "
                         "choose another --dataset, or leave it out")
    if not parsed.temporal and parsed.dataset not in VIDEOS:
        raise UsageError(f"--no-temporal has no effect on the single images of {parsed.dataset}; "
                         "leave it out")
    if parsed.ablation:
        refuse_stage_switches(parsed, "--ablation")
        parsed.use_loftup = True  # for --loftup-factor and the like, which need it
    name = f"{parsed.dataset}_ablation.json" if parsed.ablation else f"{parsed.dataset}.json"
    parsed.output = parsed.output or Path("out/benchmark") / name
    if parsed.output.suffix != ".json":
        raise UsageError(f"--output '{parsed.output}' must end in .json")
