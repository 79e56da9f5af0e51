"""From cosine scores on a small grid to labels and confidence at the camera's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.scores.decoding import (
    compiled,
    plain,
    triton_kernel,
)
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED


def class_probabilities(scores: Tensor, query_class: Tensor, logit_scale: float) -> Tensor:
    """Turn cosine scores of queries into probabilities of classes.

    Softmax runs over all queries; a class takes the best of its synonyms, so that the
    probabilities of a pixel may add up to less than 1 (SCLIP's public protocol). Synonyms thus
    take probability from one another: confidence falls with every one.

    Args:
        scores: (Q, ...) cosine similarities.
        query_class: (Q,) class id of each query, ascending.
        logit_scale: inverse softmax temperature.

    Returns:
        (C, ...) float32.
    """
    probabilities = torch.softmax(scores.float() * logit_scale, dim=0)
    classes = int(query_class[-1]) + 1
    if classes == len(query_class):
        return probabilities
    index = query_class.view(-1, *[1] * (scores.ndim - 1)).expand_as(probabilities)
    best = probabilities.new_zeros((classes, *scores.shape[1:]))
    return best.scatter_reduce(0, index, probabilities, "amax")


def enlarged_probabilities(scores: ScoreMap, query_class: Tensor, logit_scale: float,
                           size: tuple[int, int]) -> Tensor:
    """Return every class's probability (C, H, W) float32 at a size; the scores stay in blocks."""
    classes = int(query_class[-1]) + 1
    whole = scores.values.new_empty((classes, *size))
    for rows, columns, block in scores.blocks(size, plain.chunk(scores)):
        whole[:, rows, columns] = class_probabilities(block.transpose(0, 1), query_class,
                                                      logit_scale)
    return whole


def decode(scores: ScoreMap | Tensor, query_class: Tensor, logit_scale: float,
           size: tuple[int, int], background: int | None = None,
           probability_threshold: float = 0.0,
           area_threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """Enlarge scores, and label each pixel with its most probable class.

    No score tensor of full size ever exists: enlargement, softmax and the choice are one kernel on
    CUDA, and compiled code on the CPU, which sums those queries alone that count at a place; where
    neither can run they follow each other block by block. The best class is that of the best query,
    and its probability exp(best - highest) / sum over queries of exp(score - highest).

    Args:
        scores: of Q queries; a tensor (Q, h, w) has a cell for each pixel of its image.
        query_class: (Q,) class id of each query, ascending.
        logit_scale: inverse softmax temperature.
        size: (H, W) of the labels.
        background: class of pixels below the threshold; without one they are unlabelled (255).
        probability_threshold: least probability of a label.
        area_threshold: share of all foreground pixels that a foreground class must exceed.

    Returns:
        labels (H, W) uint8 and confidence (H, W) float32, the winning class's probability.
    """
    if isinstance(scores, Tensor):
        scores = ScoreMap.of(scores)
    keep = None
    if area_threshold > 0:
        labels, _ = _label(scores, DecodingRule(query_class, logit_scale), size)
        keep = large_enough(labels, int(query_class[-1]) + 1, background, area_threshold)
    return _label(scores, DecodingRule(query_class, logit_scale, background, probability_threshold,
                                       keep), size)


def _label(scores: ScoreMap, rule: DecodingRule, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Label all pixels in the way that is fastest."""
    device = scores.values.device
    if device.type == "cuda" and triton_kernel.usable(device):
        return triton_kernel.label(scores, rule, size)
    found = compiled.label(scores, rule, size) if device.type == "cpu" else None
    return found or plain.label(scores, rule, size)


def decide(probabilities: Tensor, background: int | None = None,
           probability_threshold: float = 0.0,
           keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Label pixels from class probabilities (C, ...): uint8 labels and float32 confidence.

    ``keep`` (C,) bool zeroes the probabilities of the classes it leaves out. A pixel without any
    probability, such as one whose scores are not numbers, counts as below every threshold.
    """
    if keep is not None:
        probabilities = probabilities * keep.view(-1, *[1] * (probabilities.ndim - 1))
    confidence, labels = probabilities.max(dim=0)
    confidence = confidence.nan_to_num(nan=0.0)
    threshold = max(probability_threshold, torch.finfo(confidence.dtype).tiny)
    fallback = UNLABELLED if background is None else background
    return labels.to(torch.uint8).masked_fill(confidence < threshold, fallback), confidence


def large_enough(labels: Tensor, classes: int, background: int | None,
                 threshold: float) -> Tensor:
    """Tell which classes cover more than a share of the foreground.

    Background always stays; where no class at all would stay, all do.
    """
    area = torch.bincount(labels.flatten(), minlength=UNLABELLED + 1)[:classes].float()
    if background is not None:
        area[background] = 0
    keep = area > threshold * area.sum()
    if background is not None:
        keep[background] = True
    return keep if bool(keep.any()) else torch.ones_like(keep)


def decoding_size(size: Sequence[int], resolution: float) -> tuple[int, int]:
    """Return the (h, w) that the labels of an image (H, W) are decided at."""
    height, width = (max(1, round(side * resolution)) for side in size)
    return height, width


def in_bytes(confidence: Tensor) -> Tensor:
    """Turn confidence (H, W) float32 in 0..1 into uint8 in 0..255."""
    if confidence.device.type == "cpu":  # a tenth of torch's time
        return torch.from_numpy(cv2.convertScaleAbs(confidence.numpy(), alpha=255.0))
    return (confidence.clamp(0, 1) * 255).round().to(torch.uint8)


def repeat_pixels(values: Tensor, size: Sequence[int]) -> Tensor:
    """Enlarge (h, w) uint8 labels or confidence to (H, W) by repeating pixels."""
    if values.shape == tuple(size):
        return values
    if values.device.type == "cpu":  # a tenth of torch's time
        return torch.from_numpy(cv2.resize(values.numpy(), (size[1], size[0]),
                                           interpolation=cv2.INTER_NEAREST_EXACT))
    return interpolate(values[None, None], size=tuple(size), mode="nearest-exact")[0, 0]
