"""What a segmentor refuses, with the remedy: settings, words and scores that cannot work."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sclip_seg_ros.segmentation.backbones.attention import last_block_attention
from sclip_seg_ros.segmentation.backbones.attention.cliptrase import refuse_clusters
from sclip_seg_ros.segmentation.refinement import refinements_of
from sclip_seg_ros.segmentation.resclip.correlation import recorded_blocks
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.settings.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary


def refuse_less_than_a_patch(settings: SegmentorSettings, patch: int) -> None:
    """Refuse sizes that hold not one patch of so many pixels."""
    for name in ("short_side", "crop"):
        if getattr(settings, name) < patch:
            raise ValueError(f"{name}={getattr(settings, name)} is smaller than one patch of "
                             f"{patch}; give that or more")


def refuse_unusable_stages(settings: SegmentorSettings, depth: int, prefix: int = 1) -> None:
    """Refuse at once a stage that would fail with every image.

    Args:
        settings: that switch stages on.
        depth: number of the tower's blocks.
        prefix: number of its tokens before the patches.
    """
    if settings.use_clusters:
        refuse_clusters(depth, prefix)
    for refinement in refinements_of(settings):
        refinement.refuse(getattr(settings, refinement.group))
    if settings.use_resclip and settings.resclip.variant == "paper":
        last_block_attention(settings.attention)
        if settings.resclip.rcs:
            recorded_blocks(depth, settings.resclip.blocks)


def refuse_foreign(vocabulary: Vocabulary, dimension: int) -> None:
    """Refuse words encoded by a model of another embedding length."""
    found = vocabulary.embeddings.shape[1]
    if found != dimension:
        raise ValueError(f"the vocabulary's embeddings have length {found}, this model's "
                         f"{dimension}; make it with this segmentor's own vocabulary()")


def refuse_not_finite(scores: Sequence[ScoreMap], precision: str) -> None:
    """Refuse scores that hold NaN: argmax would make labels of them without a word."""
    # One sum an image: NaN and infinity survive it, and cosines cannot overflow float32.
    sums = torch.stack([score.values.sum() for score in scores]) if scores else torch.zeros(0)
    if not bool(sums.isfinite().all()):
        raise ValueError(
            "the scores of an image are not finite: the model's weights hold NaN, or they overflow "
            f"in {precision}; check the weights file, or set precision to 'fp32'")
