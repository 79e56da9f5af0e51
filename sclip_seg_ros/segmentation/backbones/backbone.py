"""What every image tower offers: dense tokens, with a free choice of the last block's attention.

A family of towers is a subclass that says how its blocks compute queries, keys and values, how a
block ends, and how tokens get into the space of the text embeddings. What methods do with that is
written here once, for towers with a class token, with several leading tokens, or with none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sclip_seg_ros.segmentation.backbones.attention import AttentionRule, attention_rule, vanilla


@dataclass(frozen=True)
class Penultimate:
    """What enters the last block.

    Attributes:
        tokens: (B, P + h*w, W), the P leading tokens first.
        grid: (h, w) in patches.
        attention: (B, heads, P + h*w, P + h*w) mean attention of the recorded blocks, or None.
    """

    tokens: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None


class Place:
    """Where weights lie in memory, for as long as they lie there."""


class DenseBackbone(ABC):
    """An image tower, block by block.

    All blocks but the last run as trained. The last one is split off, because training-free dense
    prediction changes that one most, and because ResCLIP runs it twice.

    Attributes:
        visual: open_clip's image tower.
        name: of the model and its weights, e.g. "ViT-B-16-quickgelu/openai"; empty if unknown.
        place: another one whenever the weights have gone to another place in memory.
        towers: kept by :func:`tower.shared_tower`.
        prefix: number P of tokens before the patches: class token and registers.
        usual_attention: rule that suits towers of this family, where no published table tells.
    """

    prefix: int = 1
    usual_attention: str = "sclip"

    def __init__(self, visual: nn.Module, name: str = "") -> None:
        """Hold a tower.

        Args:
            visual: open_clip's image tower.
            name: of the model and its weights, e.g. "ViT-B-16-quickgelu/openai".
        """
        self.visual = visual
        self.name = name
        self.place = Place()
        self.towers: dict[object, Any] = {}

    @classmethod
    @abstractmethod
    def holds(cls, visual: nn.Module) -> bool:
        """Tell whether a tower is of this family; building it may still refuse its blocks."""

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number of transformer blocks."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Length W of a token inside the tower."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length D of an image or text embedding."""

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the tower."""
        return next(self.visual.parameters()).dtype

    @abstractmethod
    def embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Turn normalised images (B, 3, H, W) into what enters the first block."""

    @abstractmethod
    def queries_keys_values(self, index: int, tokens: Tensor,
                            grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute q, k, v of a block from what enters it, each (B, heads, N, d)."""

    @abstractmethod
    def merge_heads(self, index: int, heads: Tensor) -> Tensor:
        """Apply a block's output projection: (B, heads, N, d) -> (B, N, W)."""

    @abstractmethod
    def finish_block(self, index: int, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to the block's input, and run its feed-forward network."""

    @abstractmethod
    def normalise(self, tokens: Tensor) -> Tensor:
        """Apply the norm behind the last block: (B, N, W) -> (B, N, W)."""

    @abstractmethod
    def to_text(self, tokens: Tensor) -> Tensor:
        """Bring normalised tokens (B, N, W) into the space of the text embeddings: (B, N, D)."""

    @abstractmethod
    def pool(self, tokens: Tensor) -> Tensor:
        """Make the image's embedding (B, D) of all tokens after the last block, as trained."""

    def project(self, tokens: Tensor) -> Tensor:
        """Bring what leaves the last block (B, N, W) into the space of the texts: (B, N, D)."""
        return self.to_text(self.normalise(tokens))

    def values(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute v of a block alone, (B, heads, N, d); a tower may know a cheaper way."""
        return self.queries_keys_values(index, tokens, grid)[2]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the patch grid (rows, columns) of an image; a remainder is not seen."""
        return height // self.patch_size, width // self.patch_size

    def start(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return what enters the first block, and the patch grid.

        Raises:
            ValueError: an image smaller than one patch.
        """
        height, width = images.shape[-2:]
        if min(height, width) < self.patch_size:
            raise ValueError(f"image of {width}x{height} pixels is smaller than one patch of "
                             f"{self.patch_size}; enlarge it first")
        grid = self.grid(height, width)
        return self.embed(images.to(self.dtype), grid), grid

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Run a block as it was trained.

        The same as calling open_clip's, but for nn.MultiheadAttention's own handling of batches:
        that multiplies transposed copies of the weights, which costs a CPU a fifth of the block, in
        bfloat16 four fifths.
        """
        return self.block_with_keys(index, tokens, grid)[0]

    def block_with_keys(self, index: int, tokens: Tensor,
                        grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Run a block as it was trained, and return its keys (B, heads, N, d) as well."""
        q, k, v = self.queries_keys_values(index, tokens, grid)
        attended = self.merge_heads(index, vanilla(q, k, v))
        return self.finish_block(index, tokens, attended), k

    def penultimate(self, images: Tensor, record: Sequence[int] = ()) -> Penultimate:
        """Run all blocks but the last.

        Args:
            images: (B, 3, H, W) normalised.
            record: indices (0-based) of blocks whose mean attention is wanted.

        Raises:
            ValueError: an image smaller than one patch, or a recorded block that does not exist.
        """
        if any(not 0 <= index < self.depth - 1 for index in record):
            raise ValueError(f"blocks {list(record)} cannot be recorded; the tower has blocks 0 to "
                             f"{self.depth - 2} before the last")
        tokens, grid = self.start(images)
        recorded = []
        for index in range(self.depth - 1):
            if index in record:
                tokens, weights = self.block_with_weights(index, tokens, grid)
                recorded.append(weights)
            else:
                tokens = self.block(index, tokens, grid)
        mean = torch.stack(recorded).mean(0) if recorded else None
        return Penultimate(tokens, grid, mean)

    def last_block(self, penultimate: Penultimate, rule: AttentionRule, residual: bool = True,
                   class_token: bool = True) -> Tensor:
        """Run the last block under another attention rule and project every token.

        Args:
            rule: attention on (q, k, v, grid), see :mod:`.backbones.attention`.
            residual: keep the block's residual connections and feed-forward network (SCLIP does;
                ClearCLIP and NACLIP drop both).
            class_token: whether the leading tokens' output is wanted too; the patches attend to
                them in any case.

        Returns:
            (B, P + h*w, D) tokens in the space of the text embeddings, not normalised; without
            the leading tokens (B, h*w, D).
        """
        last, first = self.depth - 1, 0 if class_token else self.prefix
        tokens, grid = penultimate.tokens, penultimate.grid
        q, k, v = self.queries_keys_values(last, tokens, grid)
        attended = self.merge_heads(last, rule(q, k, v, grid)[:, :, first:])
        if not residual:
            return self.project(attended)
        return self.project(self.finish_block(last, tokens[:, first:], attended))

    def attention_weights(self, penultimate: Penultimate, rule: AttentionRule) -> Tensor:
        """Return how much each token takes from each other under an attention rule.

        Every rule is linear in the values, so that the identity for values gives its weights.

        Returns:
            (B, heads, P + h*w, P + h*w), rows ask, columns answer, leading tokens first.
        """
        q, k, _ = self.queries_keys_values(self.depth - 1, penultimate.tokens, penultimate.grid)
        identity = torch.eye(q.shape[-2], dtype=q.dtype, device=q.device)
        return rule(q, k, identity.expand(*q.shape[:2], -1, -1), penultimate.grid)

    def value_tokens(self, penultimate: Penultimate, class_token: bool = True) -> Tensor:
        """Project the last block's values alone: out_proj(v), as MaskCLIP does.

        These are the features that LoftUp's published checkpoint for CLIP was trained on.

        Returns:
            (B, P + h*w, D), not normalised; without the leading tokens (B, h*w, D).
        """
        last, first = self.depth - 1, 0 if class_token else self.prefix
        values = self.values(last, penultimate.tokens, penultimate.grid)[:, :, first:]
        return self.project(self.merge_heads(last, values))

    def plain_tokens(self, penultimate: Penultimate) -> Tensor:
        """Run the last block as trained; return its patches before they get to the texts' space.

        These are what LoftUp's published checkpoints for SigLIP and DINOv2 were trained on.

        Returns:
            (B, h*w, W), not of length 1.
        """
        tokens = self.block(self.depth - 1, penultimate.tokens, penultimate.grid)
        return self.normalise(tokens[:, self.prefix:])

    def image_embedding(self, penultimate: Penultimate) -> Tensor:
        """Run the last block as trained and pool: what open_clip's encode_image gives, (B, D)."""
        return self.pool(self.block(self.depth - 1, penultimate.tokens, penultimate.grid))

    def tokens(self, images: Tensor, attention: str = "sclip", residual: bool = True) -> Tensor:
        """Return all projected tokens of normalised images: (B, P + h*w, D), leading ones first."""
        return self.last_block(self.penultimate(images), attention_rule(attention), residual)

    def block_with_weights(self, index: int, tokens: Tensor,
                            grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Run an ordinary block and return its output with its attention (B, heads, N, N)."""
        q, k, v = self.queries_keys_values(index, tokens, grid)
        # Scaled before the product, which may be too large for float16 otherwise.
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1)
        return self.finish_block(index, tokens, self.merge_heads(index, weights @ v)), weights


def feature_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Lay the patch tokens out, without leading ones: (B, [P +] h*w, D) -> (B, D, h, w)."""
    return tokens[:, tokens.shape[1] - grid[0] * grid[1]:].transpose(1, 2).unflatten(2, grid)


def embed_patches(images: Tensor, layer: nn.Conv2d, grid: tuple[int, int]) -> Tensor:
    """Embed the patches of images (B, 3, H, W): (B, h*w, W).

    The same as the convolution, whose windows do not overlap, as one product of matrices. oneDNN's
    bfloat16 convolution reads memory nobody wrote where a grid is one patch wide (AMX, torch 2.12).
    """
    rows, columns = grid
    side = layer.stride[0]
    patches = images[:, :, :rows * side, :columns * side].unflatten(2, (rows, side))
    patches = patches.unflatten(4, (columns, side)).permute(0, 2, 4, 1, 3, 5)
    return nn.functional.linear(patches.flatten(3).flatten(1, 2), layer.weight.flatten(1),
                                layer.bias)
