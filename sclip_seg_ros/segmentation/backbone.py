"""CLIP's image tower opened up: dense tokens instead of one vector for the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear

from sclip_seg_ros.segmentation.attention import AttentionRule, attention_rule, vanilla
from sclip_seg_ros.segmentation.position import interpolate_position_embedding


@dataclass(frozen=True)
class Penultimate:
    """What enters the last block.

    Attributes:
        tokens: (B, 1 + h*w, W), class token first.
        grid: (h, w) in patches.
        attention: (B, heads, 1 + h*w, 1 + h*w) mean attention of the recorded blocks, or None.
    """

    tokens: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None


class Place:
    """Where weights lie in memory, for as long as they lie there."""


class DenseBackbone:
    """Dense CLIP image tokens with a free choice of the last block's attention.

    All blocks but the last run as trained. The last one is split off, because training-free dense
    prediction changes only that one, and because ResCLIP runs it twice.

    Attributes:
        visual: open_clip's image tower.
        place: another one whenever the weights have gone to another place in memory.
        towers: kept by :func:`tower.shared_tower`.
    """

    def __init__(self, visual: nn.Module) -> None:
        """Wrap the image tower of an open_clip model.

        Raises:
            ValueError: a tower that is not open_clip's plain VisionTransformer.
        """
        if not isinstance(visual, VisionTransformer):
            raise ValueError(f"image tower {type(visual).__name__} has no plain ViT blocks; choose "
                             "an open_clip 'ViT-*' architecture such as 'ViT-B/16'")
        blocks = visual.transformer.resblocks
        plain = all(isinstance(block, ResidualAttentionBlock) for block in blocks)
        if visual.attn_pool is not None or not plain:
            raise ValueError("image towers with attention pooling or custom blocks (CoCa, "
                             "scaled-cosine) have no token projection; choose a plain 'ViT-*'")
        self.visual = visual
        self.place = Place()
        self.towers: dict[object, object] = {}

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.visual.patch_size[0]

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.visual.transformer.resblocks)

    @property
    def dimension(self) -> int:
        """Length D of an image or text embedding."""
        return self.visual.output_dim

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the tower."""
        return self.visual.conv1.weight.dtype

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the patch grid (rows, columns) of an image; a remainder is not seen."""
        return height // self.patch_size, width // self.patch_size

    def penultimate(self, images: Tensor, record: Sequence[int] = ()) -> Penultimate:
        """Run all blocks but the last.

        Args:
            images: (B, 3, H, W) normalised.
            record: indices (0-based) of blocks whose mean attention is wanted.

        Raises:
            ValueError: an image smaller than one patch, or a recorded block that does not exist.
        """
        height, width = images.shape[-2:]
        if min(height, width) < self.patch_size:
            raise ValueError(f"image of {width}x{height} pixels is smaller than one patch of "
                             f"{self.patch_size}; enlarge it first")
        if any(not 0 <= index < self.depth - 1 for index in record):
            raise ValueError(f"blocks {list(record)} cannot be recorded; the tower has blocks 0 to "
                             f"{self.depth - 2} before the last")
        grid = self.grid(height, width)
        tokens = self._embed(images.to(self.dtype), grid)
        recorded = []
        for index, block in enumerate(self.visual.transformer.resblocks[:-1]):
            if index in record:
                tokens, weights = _block_with_weights(block, tokens)
                recorded.append(weights)
            else:
                tokens = _block(block, tokens)
        mean = torch.stack(recorded).mean(0) if recorded else None
        return Penultimate(tokens, grid, mean)

    def last_block(self, penultimate: Penultimate, rule: AttentionRule, residual: bool = True,
                   class_token: bool = True) -> Tensor:
        """Run the last block under another attention rule and project every token.

        Args:
            rule: attention on (q, k, v, grid), see :mod:`sclip_seg_ros.segmentation.attention`.
            residual: keep the block's residual connections and feed-forward network (SCLIP does;
                ClearCLIP and NACLIP drop both).
            class_token: whether its output is wanted too; the patches attend to it in any case.

        Returns:
            (B, 1 + h*w, D) tokens in the space of the text embeddings, not normalised; without
            the class token (B, h*w, D).
        """
        block = self.visual.transformer.resblocks[-1]
        tokens = penultimate.tokens
        q, k, v = _queries_keys_values(block, tokens)
        first = 0 if class_token else 1
        attended = _merge_heads(block, rule(q, k, v, penultimate.grid)[:, :, first:])
        if not residual:
            return self._project(attended)
        return self._project(_feed_forward(block, tokens[:, first:] + block.ls_1(attended)))

    def attention_weights(self, penultimate: Penultimate, rule: AttentionRule) -> Tensor:
        """Return how much each token takes from each other under an attention rule.

        Every rule is linear in the values, so that the identity for values gives its weights.

        Returns:
            (B, heads, 1 + h*w, 1 + h*w), rows ask, columns answer, class token first.
        """
        q, k, _ = _queries_keys_values(self.visual.transformer.resblocks[-1], penultimate.tokens)
        identity = torch.eye(q.shape[-2], dtype=q.dtype, device=q.device)
        return rule(q, k, identity.expand(*q.shape[:2], -1, -1), penultimate.grid)

    def value_tokens(self, penultimate: Penultimate, class_token: bool = True) -> Tensor:
        """Project the last block's values alone: out_proj(v), as MaskCLIP does.

        These are the features that LoftUp's published checkpoint was trained on.

        Returns:
            (B, 1 + h*w, D), not normalised; without the class token (B, h*w, D).
        """
        block = self.visual.transformer.resblocks[-1]
        tokens = penultimate.tokens[:, 0 if class_token else 1:]
        width = tokens.shape[-1]
        values = linear(block.ln_1(tokens), block.attn.in_proj_weight[2 * width:],
                        block.attn.in_proj_bias[2 * width:])
        return self._project(block.attn.out_proj(values))

    def tokens(self, images: Tensor, attention: str = "sclip", residual: bool = True) -> Tensor:
        """Return all projected tokens of normalised images: (B, 1 + h*w, D), class token first."""
        return self.last_block(self.penultimate(images), attention_rule(attention), residual)

    def _embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        first = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        position = interpolate_position_embedding(visual.positional_embedding,
                                                  tuple(visual.grid_size), grid)
        tokens = torch.cat([first, patches], dim=1) + position.to(patches.dtype)
        return visual.ln_pre(visual.patch_dropout(tokens))

    def _project(self, tokens: Tensor) -> Tensor:
        return self.visual.ln_post(tokens) @ self.visual.proj


def feature_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Lay the patch tokens out, without a class token: (B, [1 +] h*w, D) -> (B, D, h, w)."""
    return tokens[:, tokens.shape[1] - grid[0] * grid[1]:].transpose(1, 2).unflatten(2, grid)


def _queries_keys_values(block: ResidualAttentionBlock,
                         tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute q, k, v of a block, each (B, heads, N, d)."""
    attention = block.attn
    joint = linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    joint = joint.unflatten(-1, (3, attention.num_heads, -1))
    return joint.permute(2, 0, 3, 1, 4).unbind(0)


def _merge_heads(block: ResidualAttentionBlock, heads: Tensor) -> Tensor:
    """Apply the output projection: (B, heads, N, d) -> (B, N, W)."""
    return block.attn.out_proj(heads.transpose(1, 2).flatten(2))


def _block(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Run an ordinary block.

    The same as calling it, but for nn.MultiheadAttention's own handling of batches: that multiplies
    transposed copies of the weights, which costs a CPU a fifth of the block, in bfloat16 four
    fifths.
    """
    attended = _merge_heads(block, vanilla(*_queries_keys_values(block, tokens)))
    return _feed_forward(block, tokens + block.ls_1(attended))


def _feed_forward(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Run the second half of a block."""
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def _block_with_weights(block: ResidualAttentionBlock, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run an ordinary block and return its output with its attention (B, heads, N, N)."""
    q, k, v = _queries_keys_values(block, tokens)
    # Scaled before the product, which may be too large for float16 otherwise.
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1)
    return _feed_forward(block, tokens + block.ls_1(_merge_heads(block, weights @ v))), weights
