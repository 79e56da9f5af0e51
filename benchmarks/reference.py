"""The plain form of the pipeline, kept to measure the fast one against.

Windows one by one through open_clip's own blocks, float32, attention written out, every window's
scores enlarged into a sum of the working size, softmax over scores of the camera's full size, and
pydensecrf on the CPU. It computes what the pipeline computes, in the order of the papers' code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from open_clip.timm_model import TimmModel
from torch import Tensor
from torch.nn.functional import interpolate, linear, normalize

from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.backbones.families.position_embedding import (
    interpolate_position_embedding,
)
from sclip_seg_ros.segmentation.backbones.preprocessing import normalise, resize, to_tensor
from sclip_seg_ros.segmentation.refinement.dense_crf.dense_crf import PROBABILITY_FLOOR
from sclip_seg_ros.segmentation.refinement.dense_crf.with_pydensecrf import mean_field
from sclip_seg_ros.segmentation.scores.windows import Box, tower_size, window_boxes
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary


class Reference:
    """SCLIP, plainly; of the optional stages DenseCRF alone."""

    def __init__(self, clip: ClipModel, device: torch.device, settings: SegmentorSettings,
                 logit_scale: float, clock: Callable[[], float] | None = None) -> None:
        """Hold a float32 model and what the pipeline is told too."""
        self.clip, self.device, self.settings = clip, device, settings
        self.logit_scale, self.clock = logit_scale, clock

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, vocabulary: Vocabulary,
                 ) -> tuple[np.ndarray, dict[str, float]]:
        """Return labels (H, W) uint8 and milliseconds by stage."""
        watch = Stopwatch(self.device, self.clock)
        with watch.stage("preprocess"):
            original = to_tensor(image, self.device)
            size = tower_size(*image.shape[:2], self.settings, self._patch_size())
            working = resize(original, size, self.settings.antialias)
        total = torch.zeros(len(vocabulary.embeddings), *size, device=self.device)
        count = torch.zeros(size, device=self.device)
        for box in self._boxes(*size):
            with watch.stage("encode"):
                features = self._features(working[:, box.top:box.bottom, box.left:box.right])
            with watch.stage("similarity"):
                scores = torch.einsum("dhw,qd->qhw", normalize(features, dim=0),
                                      vocabulary.embeddings)
            with watch.stage("stitch"):
                place = (..., slice(box.top, box.bottom), slice(box.left, box.right))
                extent = (box.bottom - box.top, box.right - box.left)
                weight = self._weight(*extent)
                total[place] += weight * interpolate(scores[None], extent, mode="bilinear")[0]
                count[place] += weight
        with watch.stage("decode"):
            scores = interpolate((total / count)[None], image.shape[:2], mode="bilinear")[0]
            probabilities = self._best_synonyms(torch.softmax(scores * self.logit_scale, dim=0),
                                                vocabulary.query_class)
        if self.settings.use_densecrf:
            with watch.stage("densecrf"):
                probabilities = mean_field(torch.from_numpy(image),
                                           probabilities.cpu().clamp(PROBABILITY_FLOOR, 1),
                                           self.settings.crf, lambda: True)
        with watch.stage("decode"):
            labels = probabilities.argmax(0).to(torch.uint8).cpu().numpy()
        return labels, watch.milliseconds()

    def _boxes(self, height: int, width: int) -> list[Box]:
        if self.settings.inference == "whole":
            return [Box(0, 0, height, width)]
        return window_boxes(height, width, self.settings.crop, self.settings.stride)

    def _weight(self, height: int, width: int) -> Tensor:
        """Return how much each pixel of a window counts where windows overlap."""
        if not self.settings.window_taper:
            return torch.ones(height, width, device=self.device)
        rows, columns = (torch.arange(1.0, side + 1, device=self.device).minimum(
            torch.arange(side, 0.0, -1.0, device=self.device)) for side in (height, width))
        return rows[:, None] * columns

    def _patch_size(self) -> int:
        visual = self.clip.model.visual
        return visual.trunk.patch_embed.feat_ratio() if isinstance(visual, TimmModel) \
            else visual.patch_size[0]

    def _features(self, window: Tensor) -> Tensor:
        """Run the tower on one window: (3, h, w) to (D, rows, columns)."""
        visual = self.clip.model.visual
        pixels = normalise(window[None], self.clip.mean, self.clip.std)
        if isinstance(visual, TimmModel):
            return _features_of_timm(visual, pixels)
        patches = visual.conv1(pixels)
        grid = tuple(patches.shape[2:])
        first = visual.class_embedding.expand(1, 1, -1)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = visual.ln_pre(tokens + interpolate_position_embedding(
            visual.positional_embedding, tuple(visual.grid_size), grid))
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            tokens = block(tokens)
        attention = last.attn
        joint = linear(last.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
        attended = attention.out_proj(_correlative(joint, attention.num_heads))
        tokens = tokens + last.ls_1(attended)
        tokens = tokens + last.ls_2(last.mlp(last.ln_2(tokens)))
        features = visual.ln_post(tokens) @ visual.proj
        return features[0, 1:].T.unflatten(1, grid)

    @staticmethod
    def _best_synonyms(probabilities: Tensor, query_class: Tensor) -> Tensor:
        if len(query_class.unique()) == len(query_class):
            return probabilities
        return torch.stack([probabilities[query_class == index].amax(0)
                            for index in range(int(query_class[-1]) + 1)])


def _features_of_timm(visual: TimmModel, pixels: Tensor) -> Tensor:
    """Run a timm tower with convolutions before its patches, as the embedded model's is."""
    trunk = visual.trunk
    patches = trunk.patch_embed.proj(trunk.patch_embed.backbone(pixels))
    grid = tuple(patches.shape[2:])
    tokens = torch.cat([trunk.cls_token, patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = trunk.norm_pre(tokens + interpolate_position_embedding(
        trunk.pos_embed[0], tuple(trunk.patch_embed.grid_size), grid, 1, False, False))
    *blocks, last = trunk.blocks
    for block in blocks:
        tokens = block(tokens)
    attention = last.attn
    attended = _correlative(attention.qkv(last.norm1(tokens)), attention.num_heads)
    tokens = tokens + last.ls1(attention.proj(attended))
    tokens = tokens + last.ls2(last.mlp(last.norm2(tokens)))
    return visual.head(trunk.norm(tokens))[0, 1:].T.unflatten(1, grid)


def _correlative(joint: Tensor, heads: int) -> Tensor:
    """Attend with (softmax(q q^T) + softmax(k k^T)) v, both weights held at once.

    Args:
        joint: q, k and v of every token, (1, N, 3 W).
        heads: number of heads.
    """
    q, k, v = joint[0].unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
    scale = q.shape[-1] ** -0.5
    weights = torch.softmax(scale * q @ q.mT, dim=-1) + torch.softmax(scale * k @ k.mT, dim=-1)
    return (weights @ v).transpose(0, 1).flatten(1)[None]
