"""`sclip-check-upsampler`: whether LoftUp helps on one's own images and words, without labels.

    sclip-check-upsampler --image photos --vocabulary floor wall door --loftup-source loftup.bin
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_seg_ros.tools.check_upsampler", "sclip-check-upsampler"))

import argparse
import json
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import Any

from tqdm import tqdm

from sclip_seg_ros.io.images import find_images, read_image
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.upsampler_check import (
    LEAST_AGREEMENT,
    LEAST_SHARPNESS,
    MOST_DRIFT,
    Comparison,
    UpsamplingReport,
    compare_one,
)
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS, upsampler_of
from sclip_seg_ros.segmentation.upsamplers.feature_contract import CONTRACTS
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    assigned_settings,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    text_options,
)
from sclip_seg_ros.tools.console import BAR, UNUSABLE
from sclip_seg_ros.tools.program import Program

USE, DO_NOT_USE = 0, 1
LIMITS = {"agreement_inside": LEAST_AGREEMENT, "cosine_drift": MOST_DRIFT,
          "boundary_sharpness": LEAST_SHARPNESS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--image", nargs="+", action="extend", required=True, metavar="PATH",
                        help="images: files, folders with all below them, globs")
    parser.add_argument("--contract", choices=CONTRACTS,
                        help="features the upsampler is fed: those its checkpoint was trained on "
                             "(auto, default), value or attended")
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object, with every image's own measures, instead")
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser)


def check(parsed: argparse.Namespace) -> None:
    """Refuse a program without its object.

    Raises:
        UsageError: LoftUp is switched off, and nothing else on.
    """
    if parsed.use_loftup is False and not parsed.use_anyup:
        raise UsageError("--no-loftup leaves no upsampler to check; leave it out")


def run(arguments: argparse.Namespace) -> int:
    """Check, print a table and the verdict, and return the exit code.

    Returns:
        0: use it; 1: do not; 2: the images do not tell.
    """
    segmentor, comparisons = measure(arguments)
    report = reduce(add, comparisons.values()).report()
    if arguments.json:
        print(json.dumps(describe(segmentor, comparisons, report), indent=2))
    else:
        print(table(report, len(comparisons)))
        print(report.verdict)
    return {True: USE, False: DO_NOT_USE, None: UNUSABLE}[report.use]


def measure(arguments: argparse.Namespace) -> tuple[SCLIPSegmentor, dict[str, Comparison]]:
    """Load the model and compare each image, by path.

    Raises:
        ValueError, OSError, WeightsError: in one sentence.
    """
    given = assigned_settings(arguments.assignments)
    others = any(given.get(kind.switch) for kind in UPSAMPLERS.values())
    if not (arguments.use_anyup or others or "use_loftup" in given):
        arguments.use_loftup = True
    paths = find_images(arguments.image)
    profile = chosen_profile(arguments)
    classes, background = chosen_classes(arguments, profile)
    settings = chosen_settings(arguments, profile)
    if arguments.contract:
        settings = settings.with_changes({_contract_of(settings): arguments.contract})
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device, settings)
    vocabulary = segmentor.vocabulary(classes, background, **text_options(arguments))
    progress = tqdm(paths, unit=" image", bar_format=BAR, leave=False, disable=None)
    return segmentor, {str(path): compare_one(segmentor, read_image(path), vocabulary)
                       for path in progress}


def _contract_of(settings: SegmentorSettings) -> str:
    """Return the name of the setting that says what the upsampler is fed.

    Raises:
        UsageError: it has none.
    """
    name = upsampler_of(settings)
    group = UPSAMPLERS[name].group if name else ""
    if not group or "contract" not in getattr(settings, group).own():
        raise UsageError(f"--contract has no effect on {UPSAMPLERS[name].title}; leave it out"
                         if name else "--contract has no effect without an upsampler")
    return f"{group}.contract"


def table(report: UpsamplingReport, images: int) -> str:
    """Lay the measures out beside what is needed."""
    rows = (("labels that stay inside regions", report.agreement_inside, "at least"),
            ("drift of the cosines with words", report.cosine_drift, "at most"),
            ("sharpness of boundaries", report.boundary_sharpness, "at least"))
    lines = [f"images: {images}; patches inside regions: {report.patches}; classes: "
             f"{report.classes}", f"{'':34}{'measured':>8}  needed"]
    for (name, value, word), limit in zip(rows, LIMITS.values(), strict=True):
        shown = "unknown" if value is None else f"{value:.3f}"
        lines.append(f"{name:34}{shown:>8}  {word} {limit}")
    return "\n".join(lines)


def describe(segmentor: SCLIPSegmentor, comparisons: dict[str, Comparison],
             report: UpsamplingReport) -> dict[str, Any]:
    """Gather what was measured, and with what, for programs to read."""
    name = upsampler_of(segmentor.settings)
    assert name is not None, "one was switched on"
    group = UPSAMPLERS[name].group
    return {"use": report.use, "verdict": report.verdict, **asdict(report), "limits": LIMITS,
            "model": segmentor.name, group: asdict(getattr(segmentor.settings, group)),
            "images": {path: asdict(comparison.report())
                       for path, comparison in comparisons.items()}}


main = Program(
    "sclip-check-upsampler",
    "Tell from your own images and words whether to use an upsampler (docs/loftup.md).",
    "sclip-check-upsampler --image photos --vocabulary floor wall \"person|pedestrian\" "
    "--model ViT-B/16 --pretrained openai", add_arguments, run, check,
    interrupted="interrupted; nothing was decided")
