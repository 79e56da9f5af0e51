"""CLIP's own image tower, open_clip's plain VisionTransformer: a class token and a projection."""

from __future__ import annotations

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear

from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, embed_patches
from sclip_seg_ros.segmentation.backbones.families.position_embedding import (
    interpolate_position_embedding,
)

_QUICK_GELU = 1.702  # how sharply it bends


class ClipViT(DenseBackbone):
    """Dense tokens of OpenAI's, OpenCLIP's, MetaCLIP's and the embedded model's towers."""

    def __init__(self, visual: nn.Module, name: str = "") -> None:
        """Wrap the image tower of an open_clip model.

        Args:
            visual: the tower.
            name: of the model and its weights.

        Raises:
            ValueError: a tower with attention pooling, or with blocks of another kind.
        """
        plain = all(isinstance(block, ResidualAttentionBlock)
                    for block in visual.transformer.resblocks)
        if visual.attn_pool is not None or not plain:
            raise ValueError("image towers with attention pooling or custom blocks (CoCa, "
                             "scaled-cosine) have no token projection; choose a plain 'ViT-*'")
        super().__init__(visual, name)
        self._blocks = visual.transformer.resblocks

    @classmethod
    def holds(cls, visual: nn.Module) -> bool:
        """Tell whether a tower is open_clip's own VisionTransformer."""
        return isinstance(visual, VisionTransformer)

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.visual.patch_size[0]

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self._blocks)

    @property
    def width(self) -> int:
        """Length W of a token inside the tower."""
        return self.visual.proj.shape[0]

    @property
    def dimension(self) -> int:
        """Length D of an image or text embedding."""
        return self.visual.output_dim

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the tower."""
        return self.visual.conv1.weight.dtype

    def embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Turn normalised images (B, 3, H, W) into what enters the first block."""
        visual = self.visual
        patches = embed_patches(images, visual.conv1, grid)
        first = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        position = interpolate_position_embedding(visual.positional_embedding,
                                                  tuple(visual.grid_size), grid)
        tokens = torch.cat([first, patches], dim=1) + position.to(patches.dtype)
        return visual.ln_pre(visual.patch_dropout(tokens))

    def queries_keys_values(self, index: int, tokens: Tensor,
                            grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute q, k, v of a block from what enters it, each (B, heads, N, d)."""
        block = self._blocks[index]
        attention = block.attn
        joint = linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
        joint = joint.unflatten(-1, (3, attention.num_heads, -1))
        return joint.permute(2, 0, 3, 1, 4).unbind(0)

    def values(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute v of a block alone, (B, heads, N, d)."""
        block, width = self._blocks[index], tokens.shape[-1]
        values = linear(block.ln_1(tokens), block.attn.in_proj_weight[2 * width:],
                        block.attn.in_proj_bias[2 * width:])
        return values.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)

    def merge_heads(self, index: int, heads: Tensor) -> Tensor:
        """Apply a block's output projection: (B, heads, N, d) -> (B, N, W)."""
        return self._blocks[index].attn.out_proj(heads.transpose(1, 2).flatten(2))

    def finish_block(self, index: int, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to the block's input, and run its feed-forward network."""
        block = self._blocks[index]
        tokens = tokens + block.ls_1(attended)
        return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))

    def normalise(self, tokens: Tensor) -> Tensor:
        """Apply the norm behind the last block: (B, N, W) -> (B, N, W)."""
        return self.visual.ln_post(tokens)

    def to_text(self, tokens: Tensor) -> Tensor:
        """Bring normalised tokens (B, N, W) into the space of the text embeddings: (B, N, D)."""
        return tokens @ self.visual.proj

    def pool(self, tokens: Tensor) -> Tensor:
        """Make the image's embedding (B, D) of all tokens after the last block, as trained."""
        visual = self.visual
        if visual.pool_type != "avg":
            return self.project(tokens[:, :1])[:, 0]
        if visual.final_ln_after_pool:
            return self.project(tokens[:, 1:].mean(1))
        return self.project(tokens[:, 1:]).mean(1)


@torch.no_grad()
def absorb_quick_gelu(network: nn.Module) -> None:
    """Replace the QuickGELU of all blocks by SiLU, and scale the layers before and after it.

    OpenAI's CLIP, MetaCLIP and DFN were trained with x sigmoid(1.702 x), which torch computes in
    three passes over a block's widest tensor. It is silu(1.702 x) / 1.702, one pass, and the linear
    layers around it can hold both factors.

    What the network computes stays the same but for rounding. Do it before casting to half
    precision: the scaled weights are then rounded once, as the others are.
    """
    for block in network.modules():
        if isinstance(block, ResidualAttentionBlock) and isinstance(block.mlp.gelu, QuickGELU):
            block.mlp.c_fc.weight *= _QUICK_GELU
            block.mlp.c_fc.bias *= _QUICK_GELU
            block.mlp.c_proj.weight /= _QUICK_GELU
            block.mlp.gelu = nn.SiLU(inplace=True)
