"""QuickGELU in one pass over memory instead of three.

OpenAI's CLIP, MetaCLIP and DFN were trained with x sigmoid(1.702 x), which torch computes as a
product, a sigmoid and another product of a block's widest tensor. It is silu(1.702 x) / 1.702, and
the linear layers around it can hold both factors.
"""

from __future__ import annotations

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import nn

SHARPNESS = 1.702


@torch.no_grad()
def absorb_quick_gelu(network: nn.Module) -> None:
    """Replace the QuickGELU of all blocks by SiLU, and scale the layers before and after it.

    What the network computes stays the same but for rounding. Do it before casting to half
    precision: the scaled weights are then rounded once, as the others are.
    """
    for block in network.modules():
        if isinstance(block, ResidualAttentionBlock) and isinstance(block.mlp.gelu, QuickGELU):
            block.mlp.c_fc.weight *= SHARPNESS
            block.mlp.c_fc.bias *= SHARPNESS
            block.mlp.c_proj.weight /= SHARPNESS
            block.mlp.gelu = nn.SiLU(inplace=True)
