"""How fast a device multiplies matrices, and how much of that the image tower needs."""

from __future__ import annotations

from collections import Counter

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clocks import clock_of, timed
from sclip_seg_ros.models.devices import DTYPES
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.windows import window_boxes

SIDE = {"cpu": 1024, "cuda": 8192}
TRIALS = 8


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the operations a second (an addition and a product are two) of a large product.

    The fastest of several trials: what the device can do, undisturbed.
    """
    side = SIDE.get(device.type, SIDE["cuda"])
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    clock, _ = clock_of(device)
    with torch.inference_mode():
        best = min(timed(lambda: left @ right, device, clock)[1] for _ in range(TRIALS + 1))
    return 2 * side**3 / best * 1e3


def tower_operations(segmentor: SCLIPSegmentor, size: tuple[int, int]) -> float:
    """Return the operations of the image tower's products and convolutions for one image.

    As torch counts them, with attention written out: fused attention is not counted.
    """
    settings, backbone = segmentor.pipeline.decided, segmentor.backbone
    height, width = segmentor.working_size(*size)
    windows = Counter([(height, width)] if settings.inference == "whole" else
                      [(box.bottom - box.top, box.right - box.left)
                       for box in window_boxes(height, width, settings.crop, settings.stride)])
    total = 0
    for window, count in windows.items():
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), \
                FlopCounterMode(display=False) as counter:
            backbone.tokens(torch.zeros(1, 3, *window, device=segmentor.device))
        total += count * counter.get_total_flops()
    return total
