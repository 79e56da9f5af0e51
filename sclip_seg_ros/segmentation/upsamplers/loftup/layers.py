"""LoftUp's layers: norms over channels, and cross-attention from pixels to patches.

Modules are nested and named as in the published checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad, scaled_dot_product_attention

_HEAD_MULTIPLE = 8      # fused attention kernels want head widths in multiples of 8

KeysValues = tuple[Tensor, Tensor]


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        """Prepare for a fixed number of channels."""
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every pixel on its own."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class OutputNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W), eps 1e-6, with its parameters unnested."""

    def __init__(self, channels: int) -> None:
        """Prepare for a fixed number of channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every pixel on its own."""
        last = x.permute(0, 2, 3, 1)
        return layer_norm(last, self.weight.shape, self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class CrossAttention(nn.Module):
    """Attention from pixels to patches, with keys and values that can be computed beforehand.

    Heads of the published checkpoint are 133 wide, which no fused kernel takes; zero columns up to
    136 change nothing as long as the softmax scale stays that of 133.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Prepare for queries and context of the same width."""
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.norm_q = nn.LayerNorm(width)
        self.norm_kv = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads)

    def keys_values(self, context: Tensor) -> KeysValues:
        """Project patches (B, N, width) to keys and values, each (B, heads, N, padded)."""
        width = context.shape[-1]
        joint = linear(self.norm_kv(context), self.attention.in_proj_weight[width:],
                       self.attention.in_proj_bias[width:])
        keys, values = joint.chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(self, pixels: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what pixels (B, n, width) gather from the patches, (B, n, width)."""
        width = pixels.shape[-1]
        queries = self._split(linear(self.norm_q(pixels), self.attention.in_proj_weight[:width],
                                     self.attention.in_proj_bias[:width]))
        gathered = scaled_dot_product_attention(queries, keys, values,
                                                scale=self.head_width ** -0.5)
        return self.attention.out_proj(gathered[..., :self.head_width].transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)
        return pad(heads, (0, -self.head_width % _HEAD_MULTIPLE))


class FeedForward(nn.Module):
    """Pre-normalised two-layer perceptron."""

    def __init__(self, width: int, hidden: int) -> None:
        """Number the layers as the checkpoint does, dropout included."""
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(),
                                 nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the update, without the residual."""
        return self.net(x)


class PixelTransformer(nn.Module):
    """Layers of cross-attention and feed-forward, both with residuals, and a final norm."""

    def __init__(self, width: int, heads: int, hidden: int, depth: int) -> None:
        """Build ``depth`` layers."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.ModuleList([CrossAttention(width, heads), FeedForward(width, hidden)])
            for _ in range(depth))

    def keys_values(self, context: Tensor) -> list[KeysValues]:
        """Project the patches once for every layer."""
        return [attention.keys_values(context) for attention, _ in self.layers]

    def forward(self, pixels: Tensor, projected: list[KeysValues]) -> Tensor:
        """Refine pixels (B, n, width) with the projected patches."""
        for (attention, feed_forward), (keys, values) in zip(self.layers, projected, strict=True):
            pixels = pixels + attention(pixels, keys, values)
            pixels = pixels + feed_forward(pixels)
        return self.norm(pixels)
