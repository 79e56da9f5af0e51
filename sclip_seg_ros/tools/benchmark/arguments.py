"""The flags of `sclip-benchmark`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sclip_seg_ros.segmentation.settings import PRECISIONS

from .datasets import DATASETS

STAGES = ("loftup", "resclip", "pamr", "densecrf")
EXAMPLE = ("example: sclip-benchmark --dataset voc21 --data-root VOCdevkit/VOC2012 "
           "--model ViT-B/16 --pretrained openai --device cuda")


class UsageError(ValueError):
    """A flag has an unusable value; the message says which and what to give."""


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers a wrong flag with one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see {self.prog} --help")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog="sclip-benchmark", epilog=EXAMPLE, allow_abbrev=False,
                           description="Measure a segmentor on a data set.")
    parser.add_argument("--dataset", required=True, choices=DATASETS, metavar="NAME",
                        help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data-root", type=Path, metavar="PATH",
                        help="folder of the data set, laid out as docs/reproducing.md says")
    parser.add_argument("--num-samples", type=_positive, metavar="N",
                        help="measure N images, spread evenly over the data set, instead of all")
    words = parser.add_argument_group("settings")
    words.add_argument("--profile", metavar="NAME",
                       help="profile, or path of one, instead of the data set's own")
    words.add_argument("--method", help="method of the profile: sclip (default), naclip, resclip")
    sizes = words.add_mutually_exclusive_group()
    sizes.add_argument("--whole", dest="inference", action="store_const", const="whole",
                       help="one forward an image")
    sizes.add_argument("--slide", dest="inference", action="store_const", const="slide",
                       help="overlapping windows")
    for stage in STAGES:
        switch = words.add_mutually_exclusive_group()
        switch.add_argument(f"--use-{stage}", action="store_true", default=None,
                            help="switch the stage on; without a flag the method decides "
                                 "(sclip: off)")
        switch.add_argument(f"--no-{stage}", dest=f"use_{stage}", action="store_false",
                            default=None, help="switch the stage off")
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="embedded", help="embedded (default), or e.g. ViT-B/16")
    model.add_argument("--pretrained", default="", help="tag such as openai, or a weights file")
    model.add_argument("--precision", choices=PRECISIONS,
                       help="arithmetic of the image tower (auto: fp32 on a CPU, half on CUDA)")
    model.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    output = parser.add_argument_group("run")
    output.add_argument("--workers", type=_positive, default=2, metavar="N",
                        help="threads that read images (default 2)")
    output.add_argument("--output", type=Path, metavar="FILE.json",
                        help="results; a Markdown page and the journal go beside them "
                             "(default out/benchmark/<dataset>.json)")
    output.add_argument("--resume", action="store_true",
                        help="go on where an interrupted run with the same flags stopped")
    parsed = parser.parse_args(arguments)
    parsed.output = parsed.output or Path("out/benchmark") / f"{parsed.dataset}.json"
    if parsed.output.suffix != ".json":
        raise UsageError(f"--output '{parsed.output}' must end in .json")
    return parsed


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive whole number")
    return int(text)
