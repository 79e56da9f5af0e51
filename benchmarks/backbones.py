"""What each family of image towers costs, and a proxy beside one, next to CLIP's with SCLIP's rule.

    python -m benchmarks.backbones --rounds 7 --device cuda

The towers see the windows of one 640x480 image, of 224 pixels, all in one forward. On a CPU it is
one thread's processor time. Weights are random, which takes the same time as real ones; text towers
are left out.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.backbones", "backbones"))

import argparse
from collections.abc import Callable
from statistics import median

import open_clip
import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from benchmarks.clocks import clock_of, device_name, timed
from benchmarks.configurations import VGA
from benchmarks.gains import CROP
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.models import fast_precision, resolve_device
from sclip_seg_ros.models.devices import DTYPES
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.families.clip_vit import absorb_quick_gelu
from sclip_seg_ros.segmentation.backbones.proxies.attention import proxy_tokens
from sclip_seg_ros.segmentation.backbones.proxies.towers import Proxy, build_network
from sclip_seg_ros.segmentation.backbones.tower import shared_tower, shared_values
from sclip_seg_ros.segmentation.scores.scoring import last_block
from sclip_seg_ros.segmentation.scores.windows import window_boxes, working_size
from sclip_seg_ros.tools.program import Program, documented, positive

REFERENCE = "ViT-B-16-quickgelu", "sclip"
ROWS = (REFERENCE, ("ViT-B-16-SigLIP2", "vanilla"), ("EVA02-B-16", "sclip"),
        ("EVA02-B-16", "clipself"), ("PE-Core-B-16", "vanilla"), ("MobileCLIP2-B", "sclip"),
        ("ViTamin-B", "sclip"))
PROXIES = ("dinov2_vits14", "dinov2_vitb14", "dino_vitb16", "dino_vitb8")

Call = Callable[[Tensor], Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--rounds", type=positive, default=7, help="(default %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default %(default)s)")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    device = resolve_device(arguments.device)
    clock, _ = clock_of(device)
    precision = fast_precision(device)
    count = len(window_boxes(*working_size(*VGA, 336), CROP, CROP // 2))
    windows = torch.rand(count, 3, CROP, CROP, device=device)
    calls = _calls(device, DTYPES[precision], windows)
    times = [{name: timed(lambda call=call: call(windows), device, clock)[1]
              for name, call in calls.items()} for _ in range(arguments.rounds)]
    reference = next(iter(calls))
    print(f"{count} windows of {CROP}, {precision}, {device_name(device)}\n")
    print("\n".join(markdown_table(
        ("tower", "ms", f"of {reference}'s (lowest to highest)"),
        [(name, f"{median(found[name] for found in times):.1f}", _ratio(
            [found[name] / found[reference] for found in times])) for name in calls])))


def _calls(device: torch.device, dtype: torch.dtype, windows: Tensor) -> dict[str, Call]:
    """Return what is measured, by name, warmed up and as CUDA graphs where they are faster."""
    towers = {name: backbone_of(_visual(name).to(device, dtype).eval()) for name, _ in ROWS}
    calls: dict[str, Call] = {}
    for name, attention in ROWS:
        tower = shared_tower(towers[name], last_block(
            SegmentorSettings(attention=attention)))
        calls[f"{name}, {attention}"] = tower
        tower(windows)
        if device.type == "cuda":
            tower.record(windows)
    for name in PROXIES:
        proxy = Proxy(name, build_network(name).to(device, dtype).eval())
        calls[f"{REFERENCE[0]}, proxy {name}"] = _proxied(towers[REFERENCE[0]], proxy)
        calls[f"{REFERENCE[0]}, proxy {name}"](windows)
        if device.type == "cuda":
            shared_values(towers[REFERENCE[0]]).record(windows)
            proxy.record(windows)
    return calls


def _proxied(backbone: DenseBackbone, proxy: Proxy) -> Call:
    grid, values = backbone.grid(CROP, CROP), shared_values(backbone)
    return lambda windows: proxy_tokens(backbone, values(windows), grid, proxy(windows), 1.2, 3.0)


def _visual(name: str) -> nn.Module:
    config = open_clip.get_model_config(name)
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        return TimmModel(vision["timm_model_name"], config["embed_dim"], vision["image_size"],
                         vision["timm_pool"], vision["timm_proj"])
    text = {**config["text_cfg"], "layers": 1}
    visual = open_clip.CLIP(**{**config, "text_cfg": text}).visual
    absorb_quick_gelu(visual)
    return visual


def _ratio(found: list[float]) -> str:
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


main = Program(*documented(__doc__), add_arguments, run)
