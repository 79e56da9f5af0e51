"""Pixel-adaptive mask refinement: class scores flow between neighbours of like colour.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, section 4.3,
with the constants of its public code. The filter is linear in the scores and treats every class
alike, so classes may be dropped before it and computed in chunks without changing the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.common.settings import Settings, number, numbers
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.neighbours import EdgePadded, ring_offsets
from sclip_seg_ros.segmentation.refinement.refinement import MOST_ITERATIONS, Refinement

MOST_DILATIONS = 16
CONTRAST = 0.1        # share of the local deviation at which a colour difference weighs 1/e
EPSILON = 1e-8        # vanishes in half precision, hence float32 throughout
CPU_BAND = 64         # rows whose sums stay in a CPU's cache while all neighbours are added


@dataclass(frozen=True)
class PamrSettings(Settings):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020).

    Published are 10 steps with dilations 8 and 16 at full resolution. The defaults take a fifteenth
    of that time and harm less where scores are good already: ``benchmarks/results/pamr.md``.
    """

    steps: int = number(4, 0, MOST_ITERATIONS, "Iterations.")
    dilations: tuple[int, ...] = numbers((3, 12), 1, 1024, MOST_DILATIONS,
                                         "Distances of the neighbours in the working "
                                         "image.", unit="pixels", items="steps")
    resolution: float = number(0.333, 0.05, 1.0, "Side of the copy it works on, as a share of the "
                               "working image's side (short_side); dilations shrink with it.")


class Pamr(Refinement):
    """Refine the words' scores."""

    name, switch, group = "pamr", "use_pamr", "pamr"

    def grid(self, settings: PamrSettings, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the smaller copy."""
        height, width = (max(1, round(side * settings.resolution)) for side in size)
        return height, width

    def iterations(self, settings: PamrSettings, maps: int) -> int:
        """Return the steps."""
        return settings.steps

    def __call__(self, images: Tensor, maps: Tensor, settings: PamrSettings,
                 keep_going: Iterations) -> Tensor:
        """Refine scores on a smaller copy of their images, see :func:`pamr`."""
        if images.shape[-2:] != maps.shape[-2:]:
            images = interpolate(images, maps.shape[-2:], mode="area")
        dilations = list(dict.fromkeys(max(1, round(each * settings.resolution))
                                       for each in settings.dilations))
        return pamr(images, maps, settings.steps, dilations, keep_going=keep_going)


def pamr(image: Tensor, scores: Tensor, steps: int = 10, dilations: Sequence[int] = (8, 16),
         keep_going: Callable[[], bool] | None = None) -> Tensor:
    """Refine class scores along the edges of an image.

    Args:
        image: (B, 3, H, W) RGB; any scale and offset per channel gives the same result.
        scores: (B, C, h, w) floating point; resized to the image when of another size.
        steps: iterations; 0 only resizes.
        dilations: distances in pixels at which each pixel has its 8 neighbours.
        keep_going: asked before each iteration; what has been reached when it says no is returned.

    Returns:
        (B, C, H, W) in the scores' dtype; computed in float32.

    Raises:
        ValueError: shapes that do not fit together, or an option out of range.
    """
    _check_scores(scores)
    _check_image(image)
    if image.shape[0] != scores.shape[0]:
        raise ValueError(f"{image.shape[0]} images cannot refine {scores.shape[0]} score maps; "
                         "give one map per image")
    if steps < 0:
        raise ValueError(f"steps={steps} is negative; give 0 or more")
    affinity = pamr_affinity(image, dilations)
    refined = _at_size(scores.float(), affinity.shape[-2:])
    for _ in range(steps):
        if keep_going is not None and not keep_going():
            break
        refined = pamr_step(refined, affinity, dilations)
    return refined.to(scores.dtype)


def pamr_affinity(image: Tensor, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Return how much each pixel p listens to each of its neighbours q.

    softmax over q of mean over channels of -|I(p) - I(q)| / (1e-8 + 0.1 std(p)), where std(p) is
    the unbiased deviation of the 3x3 patches around p at all dilations together.

    Args:
        image: (B, 3, H, W).
        dilations: distances in pixels.

    Returns:
        (B, 8 * len(dilations), H, W) float32, in the order of ``ring_offsets``; adds up to 1.

    Raises:
        ValueError: an image of another shape, or no dilation of 1 or more.
    """
    _check_image(image)
    _check_dilations(dilations)
    padded = EdgePadded(image.float(), max(dilations))
    centre = padded.shift(0, 0)
    offsets = ring_offsets(dilations)
    scale = 1.0 / (EPSILON + CONTRAST * _local_deviation(padded, dilations))
    logits = centre.new_empty(image.shape[0], len(offsets), *image.shape[-2:])
    for index, offset in enumerate(offsets):
        distance = (padded.shift(*offset) - centre).abs_().mul_(scale)
        logits[:, index] = -distance.mean(1)
    return torch.softmax(logits, dim=1)


def pamr_step(scores: Tensor, affinity: Tensor, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Replace every score by the affinity-weighted mean of its neighbours', itself left out.

    Args:
        scores: (B, C, H, W) floating point.
        affinity: (B, P, H, W) of :func:`pamr_affinity` for the same dilations.
        dilations: distances in pixels.

    Returns:
        (B, C, H, W) in the scores' dtype.

    Raises:
        ValueError: scores and affinities of different sizes or dilations.
    """
    _check_scores(scores)
    _check_dilations(dilations)
    batch, _, height, width = scores.shape
    expected = (batch, 8 * len(dilations), height, width)
    if tuple(affinity.shape) != expected:
        raise ValueError(f"affinities of shape {tuple(affinity.shape)} do not fit these scores and "
                         f"dilations, which need {expected}; compute them for this image size")
    padded = EdgePadded(scores.float(), max(dilations))
    refined = torch.zeros(scores.shape, dtype=torch.float32, device=scores.device)
    for rows in _bands(height, scores.device):
        band = refined[:, :, rows]
        for index, offset in enumerate(ring_offsets(dilations)):
            band.addcmul_(padded.shift(*offset)[:, :, rows], affinity[:, index:index + 1, rows])
    return refined.to(scores.dtype)


def _at_size(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize score maps to the image they are refined by, corners aligned as published."""
    if scores.shape[-2:] == size:
        return scores
    return interpolate(scores, size=size, mode="bilinear", align_corners=True)


def _local_deviation(padded: EdgePadded, dilations: Sequence[int]) -> Tensor:
    """Return the deviation over the 9 pixels of the patch at every dilation, (B, 3, H, W).

    Differences from the centre make one pass safe: the centre itself adds one zero in nine, so
    the two sums never cancel below a ninth of the first.
    """
    centre = padded.shift(0, 0)
    total, squares = torch.zeros_like(centre), torch.zeros_like(centre)
    for offset in ring_offsets(dilations):
        difference = padded.shift(*offset) - centre
        total += difference
        squares.addcmul_(difference, difference)
    count = 9 * len(dilations)
    return ((squares - total.square_() / count) / (count - 1)).sqrt_()


def _bands(height: int, device: torch.device) -> Iterator[slice]:
    """Cut the rows into bands that fit a CPU's cache; an accelerator takes all at once."""
    band = CPU_BAND if device.type == "cpu" else height
    return (slice(top, top + band) for top in range(0, height, band))


def _check_image(image: Tensor) -> None:
    if image.dim() != 4 or image.shape[1] != 3 or image.numel() == 0:
        raise ValueError(f"image of shape {tuple(image.shape)} is not a batch of RGB images; give "
                         "(B, 3, H, W)")


def _check_scores(scores: Tensor) -> None:
    if scores.dim() != 4 or scores.numel() == 0:
        raise ValueError(f"scores of shape {tuple(scores.shape)} are not class score maps; give "
                         "(B, C, H, W)")
    if not scores.is_floating_point():
        raise ValueError(f"scores of type {scores.dtype} cannot be averaged; give floating point")


def _check_dilations(dilations: Sequence[int]) -> None:
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations={tuple(dilations)} must name at least one distance of 1 pixel "
                         "or more")
