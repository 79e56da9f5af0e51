"""ResCLIP as published: dense tokens with residual cross-correlation and semantic feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, feature_map
from sclip_seg_ros.segmentation.resclip.correlation import recorded_blocks, resclip_rule
from sclip_seg_ros.segmentation.resclip.feedback import first_pass_labels, semantic_matrix
from sclip_seg_ros.segmentation.resclip.settings import ResClipSettings


def resclip_tokens(backbone: DenseBackbone, images: Tensor, query_features: Tensor,
                   settings: ResClipSettings, attention: str = "naclip", residual: bool = False,
                   options: Mapping[str, Any] | None = None) -> Tensor:
    """Return all projected tokens with ResCLIP in the last block (Yang et al., CVPR 2025).

    SFR runs the last block twice: the first time without it, for the segmentation that it feeds
    back. Each image is treated alone, whatever else is in the batch.

    Args:
        backbone: the image tower.
        images: (B, 3, H, W) normalised.
        query_features: (Q, D) text embeddings of the words looked for; only SFR reads them.
        settings: switches, temperatures and weights.
        attention: base rule of the last block.
        residual: keep the last block's residual connections and feed-forward network.
        options: values of the base rule's settings, e.g. ``{"naclip_sigma": 5.0}``.

    Returns:
        (B, P + h*w, D) in the space of the text embeddings, leading tokens first, not normalised.

    Raises:
        ValueError: an unknown base rule, query features of another length than the tower's, or a
            tower without the blocks that RCS takes.
    """
    if settings.sfr:
        _check_queries(query_features, backbone.dimension)
    record = recorded_blocks(backbone.depth, settings.blocks) if settings.rcs else ()
    penultimate = backbone.penultimate(images, record=record)
    recorded = penultimate.attention
    rule = resclip_rule(attention, settings, recorded, options=options)
    tokens = backbone.last_block(penultimate, rule, residual)
    if not settings.sfr:
        return tokens
    labels = first_pass_labels(feature_map(tokens, penultimate.grid), images, query_features,
                               backbone.patch_size, settings.sfr_logit_scale,
                               settings.sfr_threshold)
    rule = resclip_rule(attention, settings, recorded, semantic_matrix(labels), options)
    return backbone.last_block(penultimate, rule, residual)


def _check_queries(query_features: Tensor, dimension: int) -> None:
    if query_features.dim() != 2 or 0 in query_features.shape:
        raise ValueError(f"query features of shape {tuple(query_features.shape)} are not a list of "
                         "embeddings; give (Q, D) with at least one query")
    if query_features.shape[1] != dimension:
        raise ValueError(f"query features of length {query_features.shape[1]} do not fit the image "
                         f"tower's {dimension}; encode them with the same model")
