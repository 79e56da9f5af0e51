"""From cosine scores on a small grid to labels and confidence at the camera's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.vocabulary import UNLABELLED

# Score values enlarged at once: what a processor's cache holds (1 MB), or on a GPU, where every
# step costs a launch, 16 MB.
_CHUNK = {"cpu": 250_000, "cuda": 4_000_000}


def class_probabilities(scores: Tensor, query_class: Tensor, logit_scale: float) -> Tensor:
    """Turn cosine scores of queries into probabilities of classes.

    Softmax runs over all queries; a class takes the best of its synonyms, so that the
    probabilities of a pixel may add up to less than 1 (SCLIP's public protocol).

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


def decode(scores: Tensor, query_class: Tensor, logit_scale: float, size: tuple[int, int],
           background: int | None = None, probability_threshold: float = 0.0,
           area_threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """Enlarge scores, and label each pixel with its most probable class.

    No score tensor of full size ever exists: rows are enlarged and decided in bands.

    Args:
        scores: (Q, h, w) cosine similarities.
        query_class: (Q,) class id of each query, ascending.
        logit_scale: inverse softmax temperature.
        size: (H, W) of the labels.
        background: class of pixels below the threshold; without one they are unlabelled (255).
        probability_threshold: least probability of a label.
        area_threshold: share of all foreground pixels that a foreground class must exceed.

    Returns:
        labels (H, W) uint8 and confidence (H, W) float32, the winning class's probability.
    """
    def bands() -> Iterator[Tensor]:
        return (class_probabilities(band, query_class, logit_scale)
                for band in enlarged_bands(scores, size))

    keep = None
    if area_threshold > 0:
        labels = torch.cat([decide(band)[0] for band in bands()])
        keep = large_enough(labels, int(query_class[-1]) + 1, background, area_threshold)
    decided = [decide(band, background, probability_threshold, keep) for band in bands()]
    labels, confidence = zip(*decided, strict=True)
    return torch.cat(labels), torch.cat(confidence)


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


def enlarged_bands(scores: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield (Q, rows, W) bands of a bilinear enlargement (align_corners=False), top to bottom.

    Equal to one ``interpolate`` of the whole, in bounded memory.
    """
    height, width = size
    chunk = _CHUNK.get(scores.device.type, _CHUNK["cuda"])
    rows = max(1, chunk // (scores.shape[0] * width))
    if tuple(scores.shape[1:]) == size:
        yield from scores.split(rows, dim=1)
        return
    source = (torch.arange(height, device=scores.device) + 0.5) * (scores.shape[1] / height) - 0.5
    source = source.clamp(0, scores.shape[1] - 1)
    upper = source.floor().long()
    lower = (upper + 1).clamp(max=scores.shape[1] - 1)
    weight = (source - upper).to(scores.dtype)
    for start in range(0, height, rows):
        part = slice(start, min(start + rows, height))
        band = torch.lerp(scores[:, upper[part]], scores[:, lower[part]], weight[part][:, None])
        yield interpolate(band[None], size=(band.shape[1], width), mode="bilinear",
                          align_corners=False)[0]


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
