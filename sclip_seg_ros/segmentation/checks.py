"""What a segmentor refuses, with the remedy: settings, words and scores that cannot work."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sclip_seg_ros.segmentation.rcs import recorded_blocks
from sclip_seg_ros.segmentation.refinement.dense_crf import resolve_backend
from sclip_seg_ros.segmentation.score_map import ScoreMap
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.vocabulary import Vocabulary


def refuse_less_than_a_patch(settings: SegmentorSettings, patch: int) -> None:
    """Refuse sizes that hold not one patch of so many pixels."""
    for name in ("short_side", "crop"):
        if getattr(settings, name) < patch:
            raise ValueError(f"{name}={getattr(settings, name)} is smaller than one patch of "
                             f"{patch}; give that or more")


def refuse_unusable_stages(settings: SegmentorSettings, depth: int) -> None:
    """Refuse at once a stage that would fail with every image.

    Args:
        settings: that switch stages on.
        depth: number of the tower's blocks.
    """
    if settings.use_densecrf:
        try:
            resolve_backend(settings.crf.backend)
        except ImportError as error:
            raise ValueError(f"crf.backend='{settings.crf.backend}' cannot run: {error}") from error
    if settings.use_resclip and settings.resclip.variant == "paper" and settings.resclip.rcs:
        recorded_blocks(depth)


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
