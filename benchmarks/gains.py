"""What each change for speed gains alone: its plain form and itself in turn; prints a table.

    python -m benchmarks.gains --model ViT-B/16 --rounds 5

One thread's processor time on a CPU; the median ratio of the rounds counts.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.gains", "gains"))

import argparse
import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from statistics import median

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from benchmarks.clocks import clock_of, timed
from benchmarks.configurations import VGA, load
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.models import EMBEDDED
from sclip_seg_ros.segmentation.backbones.attention import vanilla
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT, absorb_quick_gelu
from sclip_seg_ros.segmentation.scores.decoding.decoding import decode
from sclip_seg_ros.segmentation.scores.windows import Box, stitch, window_boxes, working_size
from sclip_seg_ros.tools.program import Program, documented, positive

CLASSES, SCALE, CROP = 20, 40.0, 224
Pair = tuple[str, Callable[[], object], Callable[[], object]]


def pairs(full: DenseBackbone, half: DenseBackbone) -> Iterator[Pair]:
    """Yield what changed, the plain form, and what the pipeline does.

    open_clip's own blocks are measured where the tower has them; timm's run as they are.
    """
    size = working_size(*VGA, 336)
    boxes = window_boxes(*size, CROP, CROP // 2)
    windows = torch.randn(len(boxes), 3, CROP, CROP)
    grid = full.grid(CROP, CROP)
    for backbone in (full, half) if isinstance(full, ClipViT) else ():
        name = str(backbone.dtype).removeprefix("torch.")
        block = backbone.visual.transformer.resblocks[0]
        tokens = backbone.penultimate(windows).tokens
        yield (f"a block without nn.MultiheadAttention, {name}",
               lambda block=block, tokens=tokens: block(tokens),
               lambda backbone=backbone, tokens=tokens: backbone.block(0, tokens, grid))
        quick, single = quick_gelu_blocks(tokens.shape[-1], backbone.dtype)
        yield (f"a feed-forward network with QuickGELU in one pass, {name}",
               lambda quick=quick, tokens=tokens: quick.mlp(tokens),
               lambda single=single, tokens=tokens: single.mlp(tokens))
    if half.dtype != torch.float32:
        name = str(half.dtype).removeprefix("torch.")
        yield (f"the tower in {name}", lambda: full.tokens(windows), lambda: half.tokens(windows))
        q, k, v = (torch.randn(len(boxes), 3, 197, 64, dtype=half.dtype) for _ in range(3))
        yield (f"attention written out, {name}",
               lambda: scaled_dot_product_attention(q, k, v), lambda: vanilla(q, k, v))
    scores, owner = torch.rand(len(boxes), CLASSES, 14, 14) * 0.2, torch.arange(CLASSES)
    yield ("stitching and enlarging by matrices", lambda: enlarged(stitched(scores, boxes, size)),
           lambda: [block for *_, block in stitch(scores, boxes, size).blocks(VGA, 250_000)])
    yield ("stitching and decoding in blocks",
           lambda: torch.softmax(enlarged(stitched(scores, boxes, size)) * SCALE, 0).max(0),
           lambda: decode(stitch(scores, boxes, size), owner, SCALE, VGA))


def quick_gelu_blocks(width: int, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Return a block as OpenAI's CLIP has them, and the same as the pipeline runs it."""
    plain = ResidualAttentionBlock(width, width // 64, act_layer=QuickGELU)
    single = deepcopy(plain)
    absorb_quick_gelu(single)
    return plain.to(dtype), single.to(dtype)


def stitched(scores: Tensor, boxes: list[Box], size: tuple[int, int]) -> Tensor:
    """Put windows together one by one: (Q, H, W)."""
    total, count = torch.zeros(scores.shape[1], *size), torch.zeros(size)
    for window, box in zip(scores, boxes, strict=True):
        place = (..., slice(box.top, box.bottom), slice(box.left, box.right))
        total[place] += interpolate(window[None], (CROP, CROP), mode="bilinear")[0]
        count[place] += 1
    return total / count


def enlarged(scores: Tensor) -> Tensor:
    """Enlarge scores to the camera's size at once."""
    return interpolate(scores[None], VGA, mode="bilinear")[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--model", default=EMBEDDED, help="(default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=9, help="(default %(default)s)")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    logging.getLogger("sclip_seg_ros").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    device = torch.device("cpu")
    clock, _ = clock_of(device)
    model = load(arguments.model, device)
    rows = []
    for name, plain, fast in pairs(model.plain.backbone, model.fast.backbone):
        plain(), fast()
        times = [(timed(plain, device, clock)[1], timed(fast, device, clock)[1])
                 for _ in range(arguments.rounds)]
        ratios = [slow / quick for slow, quick in times]
        rows.append((name, f"{median(slow for slow, _ in times):.2f}",
                     f"{median(quick for _, quick in times):.2f}",
                     f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"))
    print("\n".join(markdown_table(("change", "plain ms", "ms", "ratio (lowest to highest)"),
                                   rows, aligned=True)))


main = Program(*documented(__doc__), add_arguments, run)
