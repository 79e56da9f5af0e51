"""timm's Eva: towers of EVA-CLIP and of the Perception Encoder, with rotary positions.

Queries and keys of patches are turned by their place in the grid; leading tokens are not.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from timm.layers import apply_rot_embed_cat
from timm.layers.attention import AttentionRope
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn
from torch.nn.functional import linear

from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT


class EvaViT(TimmViT):
    """Dense tokens of timm's Eva, alone or in open_clip's wrapper."""

    kind = Eva

    def __init__(self, visual: nn.Module, name: str = "") -> None:
        """Wrap a tower, as :class:`TimmViT` does."""
        super().__init__(visual, name)
        self._tables: dict[tuple[int, int], Tensor] = {}

    @classmethod
    def refuse_foreign(cls, trunk: nn.Module) -> None:
        """Refuse what :class:`TimmViT` does, and positions that differ from block to block.

        Raises:
            ValueError: the message names what can be used.
        """
        super().refuse_foreign(trunk)
        if trunk.rope_mixed or not (trunk.rope is None or hasattr(trunk.rope, "update_feat_shape")):
            raise ValueError(f"image tower {type(trunk).__name__} has rotary positions of its own "
                             "in each block; choose an EVA02 or PE-Core model, e.g. 'EVA02-B-16'")

    @staticmethod
    def _plain(block: nn.Module) -> bool:
        return type(block) is EvaBlock and type(block.attn) in (EvaAttention, AttentionRope) \
            and block.attn.gate is None and getattr(block.attn, "num_kv_groups", 1) == 1

    def queries_keys_values(self, index: int, tokens: Tensor,
                            grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute q, k, v of a block from what enters it, each (B, heads, N, d)."""
        block = self._blocks[index]
        attention, tokens = block.attn, block.norm1(tokens)
        if attention.qkv is None:
            parts = (attention.q_proj(tokens), attention.k_proj(tokens), attention.v_proj(tokens))
        else:
            bias = attention.qkv.bias
            if getattr(attention, "q_bias", None) is not None:  # EVA's keys have none
                bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
            parts = linear(tokens, attention.qkv.weight, bias).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
                   for part in parts)
        q, k = (self._turned(side, attention, grid)
                for side in (attention.q_norm(q), attention.k_norm(k)))
        return q, k, v

    def _turned(self, heads: Tensor, attention: nn.Module, grid: tuple[int, int]) -> Tensor:
        if self._trunk.rope is None:
            return heads
        leading = heads.shape[2] - grid[0] * grid[1]  # none where a method leaves them out
        turned = apply_rot_embed_cat(heads[:, :, leading:], self._angles(grid, heads.device),
                                     half=attention.rotate_half)
        return torch.cat([heads[:, :, :leading], turned.to(heads.dtype)], dim=2)

    def _angles(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """Return timm's table of sines and cosines for a grid, in float32.

        It is kept for as long as the tower: a CUDA graph may read it.
        """
        if grid not in self._tables or self._tables[grid].device != device:
            rope = deepcopy(self._trunk.rope).cpu().float()
            rope.update_feat_shape(list(grid))
            rope.init_non_persistent_buffers()  # those of the tower may be in half precision
            self._tables[grid] = rope.get_embed().to(device)
        return self._tables[grid]

    def finish_block(self, index: int, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to the block's input, and run its feed-forward network."""
        block = self._blocks[index]
        tokens = tokens + (attended if block.gamma_1 is None else block.gamma_1 * attended)
        seen = block.mlp(block.norm2(tokens))
        return tokens + (seen if block.gamma_2 is None else block.gamma_2 * seen)
