"""Enlargement, softmax and choice of the class block by block, with torch's own operations."""

from __future__ import annotations

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED

# Scores enlarged at once: what a processor's cache holds (1 MB), or on a GPU, where every step
# costs a launch, 16 MB.
CHUNK = {"cpu": 250_000, "cuda": 4_000_000}
STEEP = 1e30  # makes any difference of two scores larger than any class id


def label(scores: ScoreMap, rule: DecodingRule,
          size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Label all pixels; see :func:`sclip_seg_ros.segmentation.scores.decoding.decoding.decode`."""
    device = scores.values.device
    labels = torch.empty(size, dtype=torch.uint8, device=device)
    confidence = torch.empty(size, device=device)
    # The lowest of equal classes wins, so ids count downwards; 255 below the last is never reached.
    rank = (UNLABELLED - 1 - rule.query_class).float()[:, None]
    allowed = rule.allowed()
    for rows, columns, block in scores.blocks(size, chunk(scores)):
        block *= rule.logit_scale
        highest = block.amax(1, keepdim=True)
        below = block.sub_(highest)  # softmax's safe exponents: zero for the best query
        if allowed is None:
            best_rank = torch.add(rank, below, alpha=STEEP).amax(1)
            probability = below.exp_().sum(1).reciprocal_()
        else:
            candidates = below[:, allowed]
            best = candidates.amax(1, keepdim=True)
            best_rank = torch.add(rank[allowed], candidates - best, alpha=STEEP).amax(1)
            probability = best[:, 0].exp() / below.exp_().sum(1)
        labels[rows, columns] = (UNLABELLED - 1 - best_rank.nan_to_num_(nan=0.0)).to(torch.uint8)
        confidence[rows, columns] = probability
    confidence.nan_to_num_(nan=0.0)
    return labels.masked_fill_(confidence < rule.least, rule.fallback), confidence


def chunk(scores: ScoreMap) -> int:
    """Return how many scores to enlarge at once where these are."""
    return CHUNK.get(scores.values.device.type, CHUNK["cuda"])
