"""How fast a device multiplies matrices, and how much of that the image tower needs."""

from __future__ import annotations

import torch

from benchmarks.clocks import clock_of, timed
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.windows import window_boxes

SIDE = {"cpu": 1024, "cuda": 8192}
TRIALS = 8
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the operations a second (an addition and a product are two) of a large product.

    The fastest of several trials: what the device can do, undisturbed.
    """
    side = SIDE.get(device.type, SIDE["cuda"])
    left, right = (torch.randn(side, side, device=device).to(_DTYPES[precision]) for _ in range(2))
    clock, _ = clock_of(device)
    with torch.inference_mode():
        best = min(timed(lambda: left @ right, device, clock)[1] for _ in range(TRIALS + 1))
    return 2 * side**3 / best * 1e3


def tower_operations(segmentor: SCLIPSegmentor, size: tuple[int, int]) -> float:
    """Return the operations of the image tower's matrix products for one image.

    Per block of width W on T tokens: 4 W^2 T for the projections, 2 W M T for the feed-forward
    network of width M, 2 T^2 W for the attention, which SCLIP's last block computes twice.
    """
    settings, visual = segmentor.settings, segmentor.backbone.visual
    height, width = segmentor.working_size(*size)
    crop = [(height, width)] if settings.inference == "whole" else \
        [(box.bottom - box.top, box.right - box.left)
         for box in window_boxes(height, width, settings.crop, settings.stride)]
    patch, features = segmentor.backbone.patch_size, visual.conv1.weight.shape[0]
    hidden = visual.transformer.resblocks[0].mlp[0].weight.shape[0]
    total = 0.0
    for rows, columns in crop:
        patches = (rows // patch) * (columns // patch)
        tokens = patches + 1
        block = tokens * (4 * features**2 + 2 * features * hidden) + 2 * tokens**2 * features
        total += 2 * (segmentor.backbone.depth * block + 2 * tokens**2 * features
                      + patches * features * (3 * patch**2 + segmentor.backbone.dimension))
    return total
