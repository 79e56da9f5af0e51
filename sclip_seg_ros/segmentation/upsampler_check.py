"""Tell without ground truth whether an upsampler's features still speak the text tower's language.

The same image is labelled with it and without. Inside regions both must say the same, because a
finer grid adds nothing there; at boundaries it must be better, or it costs time for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from sclip_seg_ros.segmentation.backbones.preprocessing import resize, to_tensor
from sclip_seg_ros.segmentation.refinement import refinements_of
from sclip_seg_ros.segmentation.segmentor import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS, upsampler_of

# The limits rest on 50 rendered rooms, labelled by the embedded model under changes whose effect is
# known from the truth: docs/loftup.md has the table and the command that prints it.

# Attention rules that label as well as SCLIP's keep 0.99 and more in most rooms, 0.90 in the worst;
# vanilla attention, which labels worse, goes down to 0.67.
LEAST_AGREEMENT = 0.9
# The same rules drift by 0.23 at most, vanilla by 0.39. Dropping the residual connection, which
# costs most of the mIoU, drifts by 0.72 and more; a LoftUp that was never trained by 0.87 and more.
MOST_DRIFT = 0.4
# Interpolation, which needs no network, scatters from 0.88 to 1.06; a little more is no gain.
LEAST_SHARPNESS = 1.1

LEAST_REGION = 4    # patches inside a class's regions; fewer are one object's chance
LEAST_BOUNDARY = 4  # patch sides of boundary

_CELLS = 4  # cells a patch side: finer than any factor that pays, coarser than a pixel's noise


@dataclass(frozen=True)
class Comparison:
    """What two labellings of the same images have in common; sums, so that images add up.

    A cell is a quarter of a patch wide. It is *inside* when every cell up to one patch around it
    (a square, cut at the image's border) has its label without the upsampler.

    Attributes:
        upsampler: its title, for people.
        inside: (C,) cells inside, by their label without it.
        agreeing: (C,) those among them whose label is the same with it.
        drift: squared differences between both centred scores, over words and cells inside.
        energy: squared centred scores without it, over the same.
        plain_step: image contrast across label boundaries without it, added up.
        plain_boundary: length of these boundaries in cell sides.
        step: image contrast across label boundaries with it, added up.
        boundary: length of these boundaries in cell sides.
    """

    upsampler: str
    inside: Tensor
    agreeing: Tensor
    drift: float
    energy: float
    plain_step: float
    plain_boundary: int
    step: float
    boundary: int

    def __add__(self, other: Comparison) -> Comparison:
        """Join the sums of other images with the same vocabulary."""
        sums = {item.name: getattr(self, item.name) + getattr(other, item.name)
                for item in fields(self) if item.name != "upsampler"}
        return replace(self, **sums)

    def report(self) -> UpsamplingReport:
        """Turn sums into measures."""
        judged = self.inside >= LEAST_REGION * _CELLS ** 2
        shares = self.agreeing[judged] / self.inside[judged]
        long_enough = self.plain_boundary >= LEAST_BOUNDARY * _CELLS
        sharpness = None
        if long_enough and self.plain_step > 0:
            plain = self.plain_step / self.plain_boundary
            sharpness = self.step / max(self.boundary, 1) / plain
        return UpsamplingReport(
            upsampler=self.upsampler,
            agreement_inside=float(shares.mean()) if len(shares) else None,
            cosine_drift=(self.drift / self.energy) ** 0.5 if self.energy > 0 else None,
            boundary_sharpness=sharpness,
            classes=len(shares),
            patches=int(self.inside.sum()) // _CELLS ** 2)


@dataclass(frozen=True)
class UpsamplingReport:
    """How an upsampler changes labels and scores; None where the images show too little to tell.

    Attributes:
        upsampler: its title, for people.
        agreement_inside: share of the cells inside a class's regions that keep their label, 0..1,
            averaged over the classes (mean class accuracy, with the labels without it as
            reference), so that one large floor does not hide what became of small things.
        cosine_drift: sqrt(sum (u - s)^2 / sum s^2) over words and cells inside, where s and u are
            the cosines without and with it, each less its mean over the words, which softmax
            does not see. 0: unchanged; 1: the words' cosines moved by as much as they differ.
        boundary_sharpness: mean image contrast (RGB distance between neighbouring cells) across
            label boundaries with it, divided by that without. Above 1: boundaries lie closer
            to the edges of the image. 0: there is no boundary any more.
        classes: classes that the agreement is averaged over.
        patches: patches inside regions.
    """

    upsampler: str
    agreement_inside: float | None
    cosine_drift: float | None
    boundary_sharpness: float | None
    classes: int
    patches: int

    @property
    def use(self) -> bool | None:
        """Whether to use it; None where the images do not tell."""
        if self._faults():
            return False
        return None if self._gaps() else True

    @property
    def verdict(self) -> str:
        """Say in one line whether to use it, and why."""
        if self.use is None:
            return f"cannot say: {'; '.join(self._gaps())}"
        if not self.use:
            return f"do not use {self.upsampler} here: {'; '.join(self._faults())}"
        return (f"use {self.upsampler}: inside regions {self.agreement_inside:.1%} of the labels "
                f"stay, cosines drift by {self.cosine_drift:.3f}, boundaries are "
                f"{self.boundary_sharpness:.3f} times as sharp")

    def _faults(self) -> list[str]:
        faults = []
        if self.agreement_inside is not None and self.agreement_inside < LEAST_AGREEMENT:
            faults.append(f"inside regions only {self.agreement_inside:.1%} of the labels stay "
                          f"({LEAST_AGREEMENT:.0%} must)")
        if self.cosine_drift is not None and self.cosine_drift > MOST_DRIFT:
            faults.append(f"cosines with the words drift by {self.cosine_drift:.3f} "
                          f"(at most {MOST_DRIFT})")
        if self.boundary_sharpness is not None and self.boundary_sharpness < LEAST_SHARPNESS:
            faults.append(f"boundaries are {self.boundary_sharpness:.3f} times as sharp as "
                          f"without ({LEAST_SHARPNESS} or more pay)")
        return faults

    def _gaps(self) -> list[str]:
        gaps = []
        if self.agreement_inside is None:
            gaps.append("no region is large enough to have an inside; give larger images or "
                        "fewer classes")
        elif self.cosine_drift is None:
            gaps.append("a single word has nothing to be told from; give two or more")
        if self.boundary_sharpness is None:
            gaps.append("labels have no boundary across which the image changes; give images "
                        "that show several of the classes")
        return gaps


def check_one(segmentor: SCLIPSegmentor, image: np.ndarray | Tensor,
              class_names: Sequence[str] | Vocabulary,
              settings: SegmentorSettings | None = None) -> UpsamplingReport:
    """Check an upsampler on a single image; costs two or three times its labelling.

    Args:
        segmentor: stays as it is.
        image: (H, W, 3) uint8 RGB.
        class_names: words, or a ready vocabulary.
        settings: with an upsampler switched on; by default the segmentor's.

    Raises:
        ValueError: none is on, or another stands in for it; an image or words that cannot be used.
    """
    return compare_one(segmentor, image, class_names, settings).report()


@torch.inference_mode()
def compare_one(segmentor: SCLIPSegmentor, image: np.ndarray | Tensor,
                class_names: Sequence[str] | Vocabulary,
                settings: SegmentorSettings | None = None) -> Comparison:
    """Label an image with an upsampler and without, and compare; see :func:`check_one`.

    PAMR and DenseCRF stay out of both: they would hide what the features say.
    """
    settings = settings or segmentor.settings
    name = upsampler_of(settings)
    if name is None:
        raise ValueError("no upsampler is on, so that there is none to check; set use_loftup to "
                         "true")
    kind = UPSAMPLERS[name]
    bare = settings.with_changes({item.switch: False for item in refinements_of(settings)})
    bare = segmentor.decide(bare)  # so that both see the same windows
    enlarging = segmentor.prepare(bare)
    without = segmentor.prepare(bare.with_changes({kind.switch: False}))
    if enlarging.upsampler_fallback:
        source = getattr(getattr(settings, kind.group), "source", "")
        raise ValueError(f"{kind.title}'s weights are missing and bilinear interpolation stands in "
                         f"for {kind.group}.source='{source}'; name a checkpoint to check")
    vocabulary = class_names if isinstance(class_names, Vocabulary) \
        else segmentor.vocabulary(class_names)
    return compare(kind.title, without.predict([image], vocabulary)[0].scores,
                   enlarging.predict([image], vocabulary)[0].scores, vocabulary.query_class,
                   to_tensor(image, segmentor.device), segmentor.backbone.patch_size)


def compare(upsampler: str, plain: Tensor, upsampled: Tensor, query_class: Tensor, image: Tensor,
            patch: int) -> Comparison:
    """Compare the scores of one image with those from upsampled features.

    Args:
        upsampler: its title, for people.
        plain: (Q, h, w) cosine scores without it, at the working size.
        upsampled: (Q, h, w) with it.
        query_class: (Q,) class id of each word, ascending.
        image: (3, H, W) uint8 RGB, of any size.
        patch: side of the tower's patches in pixels of the working size.
    """
    grid = tuple(max(1, side * _CELLS // patch) for side in plain.shape[1:])
    plain, upsampled = (interpolate(scores[None], size=grid, mode="bilinear", align_corners=False,
                                    antialias=True)[0] for scores in (plain, upsampled))
    expected, found = (query_class[scores.argmax(0)] for scores in (plain, upsampled))
    inside, classes = _inside(expected), int(query_class[-1]) + 1
    centred = [scores[:, inside] - scores[:, inside].mean(0) for scores in (plain, upsampled)]
    pixels = resize(image, grid)
    plain_step, plain_boundary = _boundary_contrast(expected, pixels)
    step, boundary = _boundary_contrast(found, pixels)
    return Comparison(
        upsampler=upsampler,
        inside=torch.bincount(expected[inside], minlength=classes).cpu(),
        agreeing=torch.bincount(expected[inside & (expected == found)], minlength=classes).cpu(),
        drift=float((centred[1] - centred[0]).square().sum()),
        energy=float(centred[0].square().sum()),
        plain_step=plain_step, plain_boundary=plain_boundary, step=step, boundary=boundary)


def _inside(labels: Tensor) -> Tensor:
    """Mark cells whose surroundings, up to one patch, have the same label: (h, w) bool."""
    values = labels[None].float()
    extent = {"kernel_size": 2 * _CELLS + 1, "stride": 1, "padding": _CELLS}
    return (max_pool2d(values, **extent) == -max_pool2d(-values, **extent))[0]


def _boundary_contrast(labels: Tensor, pixels: Tensor) -> tuple[float, int]:
    """Add up the RGB distance between neighbouring cells of different labels; count them.

    Args:
        labels: (h, w).
        pixels: (3, h, w) RGB in 0..1.
    """
    down = pixels.diff(dim=1).norm(dim=0)[labels.diff(dim=0) != 0]
    right = pixels.diff(dim=2).norm(dim=0)[labels.diff(dim=1) != 0]
    return float(down.sum() + right.sum()), len(down) + len(right)
