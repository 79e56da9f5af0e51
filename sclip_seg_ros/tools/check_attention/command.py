"""`sclip-check-attention`: a table of attention rules on one's own pictures, and which to take.

    sclip-check-attention --points points.json --model ViT-B/16 --pretrained openai
    sclip-check-attention --dataset folder --data-root mine --model ViT-B/16 --pretrained openai
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.io.points import read_points
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    text_options,
)
from sclip_seg_ros.tools.benchmark.datasets import DATASETS, VIDEOS, open_dataset
from sclip_seg_ros.tools.benchmark.datasets.base import spread
from sclip_seg_ros.tools.check_attention.trials import (
    Trial,
    Verdict,
    recommendation,
    trials_of,
    verdicts,
)
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.program import Program, positive

Labelled = tuple[np.ndarray, np.ndarray, Vocabulary]  # image, true ids, words
SETS = tuple(name for name in DATASETS if name not in VIDEOS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--points", type=Path, metavar="FILE.json",
                        help="pictures with single pixels named (docs/methods.md)")
    source.add_argument("--dataset", choices=SETS, metavar="NAME",
                        help="pictures with label images, as sclip-benchmark takes them, e.g. "
                             "folder")
    parser.add_argument("--data-root", type=Path, metavar="PATH", help="folder of the data set")
    parser.add_argument("--num-samples", type=positive, metavar="N",
                        help="take N pictures, spread evenly, not all")
    parser.add_argument("--rules", nargs="+", choices=list(ATTENTIONS), metavar="RULE",
                        default=list(ATTENTIONS),
                        help=f"try these, not all of {', '.join(ATTENTIONS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)


def check(parsed: argparse.Namespace) -> None:
    """Refuse flags that do not go together.

    Raises:
        UsageError: in one sentence.
    """
    if parsed.points and parsed.data_root:
        raise UsageError("--data-root belongs to --dataset; leave it out beside --points")
    words = parsed.vocabulary or parsed.vocabulary_file
    if parsed.dataset and (words or parsed.background or parsed.negative
                           or parsed.prompt_templates):
        raise UsageError("--dataset brings its own words; leave --vocabulary, --vocabulary-file, "
                         "--background, --negative and --prompt-templates out")


def run(arguments: argparse.Namespace) -> int:
    """Try every rule on every picture, print the table and the recommendation."""
    segmentor, pictures = _pictures(arguments)
    trials = trials_of(segmentor, arguments.rules)
    able = [trial for trial in trials if trial.pipeline is not None]
    for load in tqdm(pictures, unit=" picture", bar_format=BAR, leave=False, disable=None):
        labelled = load()
        for trial in able:
            trial.measure(*labelled)
    found = verdicts(able, iou=arguments.points is None)
    line = recommendation(able, found, len(pictures))
    if arguments.json:
        print(json.dumps(_describe(segmentor, trials, able, found, len(pictures), line), indent=2))
    else:
        print(f"{segmentor.name}, {len(pictures)} pictures\n")
        print(table(able, found, arguments.points is None))
        for trial in trials:
            if trial.pipeline is None:
                print(f"{trial.title}: {trial.reason}")
        print(f"\n{line}")
    return 0


def table(trials: Sequence[Trial], found: Sequence[Verdict], iou: bool) -> str:
    """Lay the rules out, the one in force first."""
    rows = [(trial.title + (" (in force)" if index == 0 else ""), f"{100 * verdict.score:.1f}",
             "" if index == 0 else f"{100 * verdict.gain:+.1f}",
             "" if index == 0 else f"{100 * verdict.surely:.0f}%", f"{verdict.time:.2f}")
            for index, (trial, verdict) in enumerate(zip(trials, found, strict=True))]
    return "\n".join(markdown_table(("attention", "mIoU" if iou else "mean accuracy", "gain",
                                     "better in", "tower's time"), rows))


def _pictures(arguments: argparse.Namespace) -> tuple[
        SCLIPSegmentor, Sequence[Callable[[], Labelled]]]:
    """Load the model, and return what reads each picture."""
    dataset = open_dataset(arguments.dataset, arguments.data_root) if arguments.dataset else None
    profile = chosen_profile(arguments, default=dataset.profile if dataset else "")
    settings = chosen_settings(arguments, profile)

    def load_model() -> SCLIPSegmentor:
        return SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device, settings)

    if dataset is None:
        points = read_points(arguments.points)
        named = arguments.vocabulary or arguments.vocabulary_file or arguments.profile
        classes, background = chosen_classes(arguments, profile) if named or not points.classes \
            else (list(points.classes), arguments.background or "")
        segmentor = load_model()
        words = segmentor.vocabulary(classes, background, **text_options(arguments))
        return segmentor, [
            lambda name=name: (*points.truth(name, words.names), words)
            for name in spread(list(points.points), arguments.num_samples)]
    segmentor = load_model()
    common = (profile.classes if profile else dataset.classes) if dataset.class_count else ()
    shared = segmentor.vocabulary(common, profile.background if profile else "") if common else None

    def load(index: int) -> Labelled:
        sample = dataset.load(index)
        words = shared or segmentor.vocabulary(sample.classes)
        return sample.image, sample.truth, words

    return segmentor, [lambda index=index: load(index)
                       for index in dataset.choose(arguments.num_samples)]


def _describe(segmentor: SCLIPSegmentor, trials: Sequence[Trial], able: Sequence[Trial],
              found: Sequence[Verdict], pictures: int, line: str) -> dict[str, Any]:
    """Gather what was measured, and with what, for programs to read."""
    return {"model": segmentor.name, "pictures": pictures, "recommendation": line,
            "in_force": able[0].attention,
            "rules": [{"attention": trial.attention, "residual": trial.residual, **asdict(verdict)}
                      for trial, verdict in zip(able, found, strict=True)],
            "left_out": {trial.title: trial.reason for trial in trials if not trial.pipeline}}


main = Program(
    "sclip-check-attention",
    "Tell from your own labelled pictures, or from single named pixels, which attention rule to "
    "take (docs/methods.md).",
    "sclip-check-attention --points points.json --model ViT-B/16 --pretrained openai",
    add_arguments, run, check, interrupted="interrupted; nothing was decided")
