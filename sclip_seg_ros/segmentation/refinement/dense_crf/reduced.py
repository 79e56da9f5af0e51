"""CRF at a reduced resolution: what it found out is enlarged, not its probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings

Refine = Callable[[Tensor, Tensor, CrfSettings, Callable[[], bool]], Tensor]


def reduced_settings(settings: CrfSettings) -> CrfSettings:
    """Return the settings with kernel widths in pixels of the smaller copy."""
    return replace(settings, gaussian_sxy=settings.gaussian_sxy * settings.resolution,
                   bilateral_sxy=settings.bilateral_sxy * settings.resolution)


def refine_reduced(refine: Refine, image: Tensor, probabilities: Tensor, settings: CrfSettings,
                   keep_going: Callable[[], bool]) -> Tensor:
    """Refine a smaller copy and carry the change back.

    Mean field adds messages to the log-probabilities. The messages are smooth, the probabilities
    are not: so the messages, log Q - log p up to a constant, are enlarged bilinearly and added to
    the log-probabilities at full size.

    Args:
        refine: a backend; the other arguments are what it takes.
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) float32, above zero.
        settings: kernel widths in pixels of the full image; ``resolution`` says how much smaller
            the copy's sides are.
        keep_going: asked before each iteration.

    Returns:
        (C, H, W) float32.
    """
    size = probabilities.shape[1:]
    smaller = [max(1, round(side * settings.resolution)) for side in size]
    if smaller == list(size):
        return refine(image, probabilities, settings, keep_going)
    planes = image.to(probabilities.device).permute(2, 0, 1).float()
    small_image = interpolate(planes[None], smaller, mode="area")[0].round().to(torch.uint8)
    evidence = interpolate(probabilities[None], smaller, mode="area")[0]
    refined = refine(small_image.permute(1, 2, 0).contiguous(), evidence,
                     reduced_settings(settings), keep_going)
    tiny = torch.finfo(refined.dtype).tiny
    messages = refined.clamp_min(tiny).log_() - evidence.log()
    enlarged = interpolate(messages[None], size, mode="bilinear", align_corners=False)[0]
    return enlarged.add_(probabilities.log()).softmax(0)
