"""timm's plain VisionTransformer: towers of SigLIP, SigLIP 2, MobileCLIP, and DINO as a proxy.

A class token or none, registers, QK norm, LayerScale; pooled by a class token, by the mean, or by
attention. Where a learnt query attends to the patches (SigLIP), a patch's own embedding is what the
pooling would give if it attended to that patch alone: y = proj(v(x)), then y + mlp(norm(y)).
"""

from __future__ import annotations

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear

from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, embed_patches
from sclip_seg_ros.segmentation.backbones.families.position_embedding import (
    interpolate_position_embedding,
)

POOLINGS = ("token", "avg", "map")


class TimmViT(DenseBackbone):
    """Dense tokens of timm's VisionTransformer, alone or in open_clip's wrapper."""

    kind: type[nn.Module] = VisionTransformer
    guard, antialias = False, False  # in fitting positions to a grid: the plane is stretched

    def __init__(self, visual: nn.Module, name: str = "") -> None:
        """Wrap a tower.

        Args:
            visual: open_clip's TimmModel, or timm's model itself.
            name: of the model and its weights.

        Raises:
            ValueError: a tower whose tokens have no way into the space of the texts, or with
                blocks of another kind.
        """
        trunk = visual.trunk if isinstance(visual, TimmModel) else visual
        self.refuse_foreign(trunk)
        super().__init__(visual, name)
        self._trunk = trunk
        self._head = visual.head if isinstance(visual, TimmModel) else nn.Identity()
        self._blocks = trunk.blocks
        self.prefix = trunk.num_prefix_tokens
        if trunk.attn_pool is not None:  # SPAR's; no figures are published for other rules
            self.usual_attention = "vanilla"

    @classmethod
    def holds(cls, visual: nn.Module) -> bool:
        """Tell whether a tower is of timm's class that this family is about."""
        trunk = visual.trunk if isinstance(visual, TimmModel) else visual
        return isinstance(trunk, cls.kind)

    @classmethod
    def refuse_foreign(cls, trunk: nn.Module) -> None:
        """Refuse blocks of another kind, and poolings that give a patch no embedding.

        Raises:
            ValueError: the message names what can be used.
        """
        kind = type(trunk).__name__
        if not all(cls._plain(block) for block in trunk.blocks):
            raise ValueError(f"image tower {kind} has blocks of another kind than attention and "
                             "feed-forward; choose a ViT, e.g. 'ViT-B-16-SigLIP2' or 'ViT-B/16'")
        pool = trunk.attn_pool
        plain = pool is None or (isinstance(pool, AttentionPoolLatent) and pool.latent_len == 1
                                 and pool.pos_embed is None)
        if trunk.global_pool not in POOLINGS or not plain:
            raise ValueError(f"image tower {kind} pools by '{trunk.global_pool}', which gives a "
                             f"patch no embedding of its own; choose a model that pools by one of "
                             f"{', '.join(POOLINGS)}, e.g. 'ViT-B-16-SigLIP2' or 'ViT-B/16'")

    @staticmethod
    def _plain(block: nn.Module) -> bool:
        return type(block) is Block and type(block.attn) is Attention and block.attn.gate is None

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self._trunk.patch_embed.feat_ratio()

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self._blocks)

    @property
    def width(self) -> int:
        """Length W of a token inside the tower."""
        return self._trunk.embed_dim

    @property
    def dimension(self) -> int:
        """Length D of an image or text embedding."""
        layers = [module for part in (self._trunk.head, self._head) for module in part.modules()
                  if isinstance(module, nn.Linear)]
        return layers[-1].out_features if layers else self.width

    def embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Turn normalised images (B, 3, H, W) into what enters the first block."""
        trunk = self._trunk
        patches = self._patches(images, grid)
        leading = [part.expand(len(patches), -1, -1)
                   for part in (trunk.cls_token, trunk.reg_token) if part is not None]
        if trunk.pos_embed is None:
            return trunk.norm_pre(torch.cat([*leading, patches], dim=1))
        rows = 0 if trunk.no_embed_class else self.prefix
        position = interpolate_position_embedding(
            trunk.pos_embed[0], tuple(trunk.patch_embed.grid_size), grid, rows, self.guard,
            self.antialias)
        if rows:
            tokens = torch.cat([*leading, patches], dim=1) + position
        else:
            tokens = torch.cat([*leading, patches + position], dim=1)
        return trunk.norm_pre(tokens)

    def _patches(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        layer, side = self._trunk.patch_embed, self.patch_size
        if hasattr(layer, "backbone"):  # MobileCLIP's patches go through some convolutions
            seen = layer.backbone(images[:, :, :grid[0] * side, :grid[1] * side])
            return layer.proj(seen).flatten(2).transpose(1, 2)
        return layer.norm(embed_patches(images, layer.proj, grid))

    def queries_keys_values(self, index: int, tokens: Tensor,
                            grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute q, k, v of a block from what enters it, each (B, heads, N, d)."""
        block = self._blocks[index]
        joint = block.attn.qkv(block.norm1(tokens)).unflatten(-1, (3, block.attn.num_heads, -1))
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        return block.attn.q_norm(q), block.attn.k_norm(k), v

    def merge_heads(self, index: int, heads: Tensor) -> Tensor:
        """Apply a block's output projection: (B, heads, N, d) -> (B, N, W)."""
        attention = self._blocks[index].attn
        return attention.proj(attention.norm(heads.transpose(1, 2).flatten(2)))

    def finish_block(self, index: int, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to the block's input, and run its feed-forward network."""
        block = self._blocks[index]
        tokens = tokens + block.ls1(attended)
        return tokens + block.ls2(block.mlp(block.norm2(tokens)))

    def normalise(self, tokens: Tensor) -> Tensor:
        """Apply the norm behind the last block: (B, N, W) -> (B, N, W)."""
        return self._trunk.norm(tokens)

    def to_text(self, tokens: Tensor) -> Tensor:
        """Bring normalised tokens (B, N, W) into the space of the text embeddings: (B, N, D).

        SigLIP's way is SPAR's dense path ("value features"); the pooling's query takes no part.
        """
        pool = self._trunk.attn_pool
        if pool is not None:
            _, of_value = pool.kv.weight.chunk(2)
            bias = None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1]
            tokens = pool.proj(linear(tokens, of_value, bias))
            if pool.mlp is not None:
                tokens = tokens + pool.mlp(pool.norm(tokens))
        return self._head(self._trunk.head(self._trunk.fc_norm(tokens)))

    def pool(self, tokens: Tensor) -> Tensor:
        """Make the image's embedding (B, D) of all tokens after the last block, as trained."""
        return self._head(self._trunk.forward_head(self.normalise(tokens)))
