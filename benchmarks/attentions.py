"""What each attention rule costs, beside SCLIP's in the same run.

    python -m benchmarks.attentions --rounds 9 --rules naclip clearclip

The tower runs on the windows of one 640x480 image, and on the image whole. On a CPU it is one
thread's processor time; ViT-B/16 has random weights, which take the same time as real ones.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.attentions", "attentions"))

import argparse
import logging
from statistics import median

import torch

from benchmarks.clocks import clock_of, device_name, timed
from benchmarks.configurations import BASE, VGA, load
from benchmarks.gains import CROP
from benchmarks.report import markdown_table
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS
from sclip_seg_ros.segmentation.backbones.tower import shared_tower
from sclip_seg_ros.segmentation.scores.scoring import last_block
from sclip_seg_ros.segmentation.scores.windows import window_boxes, working_size
from sclip_seg_ros.tools.program import Program, documented, positive

REFERENCE = "sclip"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--model", default=BASE, help="(default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=9, help="(default %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default %(default)s)")
    parser.add_argument("--rules", nargs="+", choices=list(ATTENTIONS), default=list(ATTENTIONS))


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> None:
    """Measure and print a table."""
    logging.getLogger("sclip_seg_ros").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    device = resolve_device(arguments.device)
    clock, _ = clock_of(device)
    backbone = load(arguments.model, device).fast.backbone
    size = working_size(*VGA, 336)
    windows = len(window_boxes(*size, CROP, CROP // 2))
    inputs = {f"{windows} windows of {CROP}": torch.randn(windows, 3, CROP, CROP, device=device),
              f"whole, {size[1]}x{size[0]}": torch.randn(1, 3, *size, device=device)}
    rows = []
    for layout, images in inputs.items():
        towers = {name: shared_tower(backbone, last_block(
            SegmentorSettings(attention=name, residual=name in (REFERENCE, "vanilla"))))
            for name in dict.fromkeys((REFERENCE, *arguments.rules))}
        for tower in towers.values():
            tower(images)
            if device.type == "cuda":
                tower.record(images)
        times = [{name: timed(lambda tower=tower, images=images: tower(images), device, clock)[1]
                  for name, tower in towers.items()} for _ in range(arguments.rounds)]
        for name in towers:
            ratios = [found[name] / found[REFERENCE] for found in times]
            rows.append((layout, name, f"{median(found[name] for found in times):.1f}",
                         f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"))
    print(f"{arguments.model}, {backbone.dtype}, {device_name(device)}\n")
    print("\n".join(markdown_table(
        ("input", "attention", "ms", f"of {REFERENCE}'s (lowest to highest)"), rows)))


main = Program(*documented(__doc__), add_arguments, run)
