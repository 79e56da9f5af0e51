"""AnyUp: every place of a finer grid becomes an average of coarse places near it.

Wimmer et al., "AnyUp: Universal Feature Upsampling", 2025. An image says which coarse places each
fine one resembles; the output is these weights times the raw input, so that it stays between the
input's values. Input may have any number of channels: features of any tower, or class scores.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, linear, normalize, pad, rms_norm

from sclip_seg_ros.models.weights import WeightsError

HEADS = 4
WINDOW = 0.1            # how far an average reaches, as a share of the image's sides
_GROUPS = 8             # of GroupNorm
_ROWS_AT_ONCE = 8         # of the output: few reach few input rows
_WEIGHTS_AT_ONCE = 2**24  # attention weights in one piece, 64 MiB in float32


class AnyUp(nn.Module):
    """The network, under the names of the published weights."""

    def __init__(self, width: int, kernel: int = 5, heads: int = HEADS,
                 window: float = WINDOW) -> None:
        """Build the network with weights to be loaded.

        Args:
            width: channels of queries and keys.
            kernel: side of the filters that read the features.
            heads: of the attention, whose weights are averaged.
            window: reach of the attention as a share of the image's sides.
        """
        super().__init__()
        self.heads, self.window = heads, window
        self.image_encoder = _encoder(nn.Conv2d(3, width, 1, bias=False), width)
        self.query_encoder = _encoder(nn.Conv2d(width, width, 1, bias=False), width)
        self.key_encoder = _encoder(nn.Conv2d(width, width, 1, bias=False), width)
        self.key_features_encoder = _encoder(_Unification(width, kernel), width)
        self.aggregation = _encoder(nn.Conv2d(2 * width, width, 3, padding=1, bias=False,
                                              padding_mode="reflect"), width)
        self.rope = _Rotation(width)
        self.cross_decode = _CrossDecode(width, heads)

    def forward(self, features: Tensor, guidance: Tensor,
                size: tuple[int, int] | None = None) -> Tensor:
        """Upsample, each image alone.

        Args:
            features: (B, C, h, w).
            guidance: (B, 3, H, W) RGB with ImageNet's mean and deviation taken off.
            size: of the output; the guidance's by default.

        Returns:
            (B, C, *size), each value an average of the input's in the same channel.
        """
        size = size or tuple(guidance.shape[-2:])
        encoded = self.rope(self.image_encoder(guidance))
        queries = adaptive_avg_pool2d(self.query_encoder(encoded), size)
        keys = torch.cat([adaptive_avg_pool2d(self.key_encoder(encoded), features.shape[-2:]),
                          self.key_features_encoder(normalize(features, dim=1))], dim=1)
        # One row or one column cannot be mirrored.
        keys = self.aggregation(keys) if min(features.shape[-2:]) > 1 else self._narrow(keys)
        q, k = self.cross_decode(queries, keys)
        return self._attend(q, k, features, size)

    def _narrow(self, keys: Tensor) -> Tensor:
        """Aggregate a grid of one row or column, whose border is its edge repeated."""
        first, *blocks = self.aggregation
        keys = conv2d(pad(keys, (1, 1, 1, 1), mode="replicate"), first.weight)
        return nn.Sequential(*blocks)(keys)

    def _attend(self, q: Tensor, k: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Average the features by q (B, heads, H*W, d) and k (B, heads, h*w, d), row by row.

        An output row reaches the input rows of its window alone; rows with like windows go
        together.
        """
        grid = tuple(features.shape[-2:])
        q, k = q.unflatten(2, size), k.unflatten(2, grid)
        down = reach(size[0], grid[0], self.window)  # on the CPU, which cuts by it
        across = reach(size[1], grid[1], self.window, q.device)
        row = q.shape[0] * self.heads * size[1] * grid[0] * grid[1]
        rows = max(1, min(_ROWS_AT_ONCE, _WEIGHTS_AT_ONCE // row))
        pieces = []
        for first in range(0, size[0], rows):
            reached = down[first:first + rows]
            cells = reached.any(0).nonzero()[:, 0]
            near = slice(int(cells[0]), int(cells[-1]) + 1)
            mask = reached[:, None, near, None].to(q.device) & across[None, :, None]
            scores = q[:, :, first:first + rows].flatten(2, 3) @ k[:, :, near].flatten(2, 3).mT
            scores = scores.masked_fill(~mask.flatten(2).flatten(0, 1), float("-inf"))
            pieces.append(scores.softmax(-1).mean(1) @ features[:, :, near].flatten(2).mT)
        return torch.cat(pieces, dim=1).mT.unflatten(2, size)


def reach(new: int, old: int, window: float, device: torch.device | str = "cpu") -> Tensor:
    """Return which of ``old`` cells of a side each of ``new`` places may draw from, bool.

    In float32, as the published code computes it: where a window ends exactly between two cells,
    rounding decides which of them belong to it.
    """
    centre = (torch.arange(new, device=device, dtype=torch.float32) + 0.5) / new
    first = ((centre - window).clamp(0.0, 1.0) * old).floor()
    end = ((centre + window).clamp(0.0, 1.0) * old).ceil()
    cells = torch.arange(old, device=device)
    return (cells >= first[:, None]) & (cells < end[:, None])


def build_anyup(state: Mapping[str, Tensor], origin: str, heads: int = HEADS,
                window: float = WINDOW) -> AnyUp:
    """Build the network whose sizes and weights a state dict holds, ready for inference.

    Raises:
        WeightsError: these are not weights of AnyUp.
    """
    try:
        basis = state["key_features_encoder.0.basis"]
        network = AnyUp(basis.shape[0], basis.shape[-1], heads, window)
        network.load_state_dict(dict(state))
    except (KeyError, RuntimeError) as error:
        lines = str(error).splitlines()
        raise WeightsError(f"'{origin}' holds no weights of AnyUp ({' '.join(lines[:2]).strip()}); "
                           "give anyup_multi_backbone.pth or anyup_paper.pth of its authors"
                           ) from error
    return network.eval().requires_grad_(False)


class _Residual(nn.Module):
    """Two rounds of norm, SiLU and 1x1 convolution around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [layer for _ in range(2)
                  for layer in (nn.GroupNorm(_GROUPS, width), nn.SiLU(),
                                nn.Conv2d(width, width, 1, bias=False))]
        self.block = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.block(features)


def _encoder(first: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(first, _Residual(width), _Residual(width))


class _Unification(nn.Module):
    """Features of any number of channels to a fixed number, by filters shared by all channels.

    The published weights were trained with the filters' answers read in another order than they are
    written in: answers come channel by channel, the softmax over the filters reads them filter by
    filter. So channels and filters mix, and the result depends on the channels' order.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(width, 1, kernel, kernel))

    def forward(self, features: Tensor) -> Tensor:
        count, (batch, channels, *grid) = self.basis.shape[0], features.shape
        half = self.basis.shape[-1] // 2
        # All channels as images of one channel: what the published grouped convolution computes.
        answers = conv2d(features.reshape(batch * channels, 1, *grid), self.basis, padding=half)
        ones = features.new_ones(1, 1, *grid)
        answers = answers / conv2d(ones, torch.ones_like(self.basis[:1]), padding=half)
        mixed = answers.reshape(batch, count, channels, *grid)
        return mixed.softmax(dim=1).mean(dim=2)


class _Rotation(nn.Module):
    """Rotary position embedding over an image's coordinates, both ends included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.zeros(2, width))

    def forward(self, features: Tensor) -> Tensor:
        y, x = (torch.linspace(0.0, 1.0, side, device=features.device)
                for side in features.shape[-2:])
        angle = (y[:, None, None] * self.freqs[0] + x[:, None] * self.freqs[1]).permute(2, 0, 1)
        first, second = features.chunk(2, dim=1)
        return features * angle.cos() + torch.cat([-second, first], dim=1) * angle.sin()


class _CrossDecode(nn.Module):
    """Project queries and keys; values stay as they are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.cross_attn = nn.ModuleDict({
            "norm_q": _Scale(width), "norm_k": _Scale(width),
            "attention": nn.MultiheadAttention(width, heads, batch_first=True)})

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled q (B, heads, H*W, d) and k (B, heads, h*w, d)."""
        attention = self.cross_attn["attention"]
        weights = attention.in_proj_weight.chunk(3)
        biases = attention.in_proj_bias.chunk(3)
        heads = []
        for name, plane, weight, bias in zip(("norm_q", "norm_k"), (self.conv2d(queries), keys),
                                             weights, biases, strict=False):
            tokens = linear(self.cross_attn[name](plane.flatten(2).mT), weight, bias)
            heads.append(tokens.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2))
        q, k = heads
        return q * q.shape[-1] ** -0.5, k


class _Scale(nn.Module):
    """RMSNorm with float32's own epsilon."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return rms_norm(tokens, tokens.shape[-1:], self.weight, torch.finfo(torch.float32).eps)
