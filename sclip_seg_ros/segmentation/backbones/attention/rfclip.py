"""RF-CLIP: sink channels smoothed after every block, and attention from the keys of all layers.

"Refocusing CLIP for open-vocabulary segmentation" (AAAI 2026), in the form that its published code
runs: patches whose sink channels stand out are mixed with their neighbourhood after each block; the
mean of all layers' tokens says which patches are alike; the last block, without residual and
feed-forward network, attends by the mean of all layers' key-key attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.backbones.attention.similarity import box_sum, cosines, gather_alike

if TYPE_CHECKING:
    from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone

# Published for one model, and a property of its weights alone.
PUBLISHED_SINKS = {"ViT-B-16-quickgelu/openai": (4, 162, 189, 326, 429, 474, 633, 713)}
MIX = 0.4          # alpha: share of the neighbourhood's mean in a patch that is smoothed
STANDS_OUT = 5.0   # sigma: times the mean channel
MOST_SINKS = 8     # as many as are published
_sinks: WeakKeyDictionary[DenseBackbone, Tensor] = WeakKeyDictionary()
_PROBES, _PROBE_CELLS = 4, (2, 4, 8, 16)


def rfclip_tokens(backbone: DenseBackbone, images: Tensor, sinks: Tensor) -> tuple[Tensor, Tensor]:
    """Return projected patch tokens and image embeddings by RF-CLIP, each image alone.

    Args:
        backbone: the image tower.
        images: (B, 3, H, W) normalised.
        sinks: indices of the sink channels, see :func:`find_sink_channels`.

    Returns:
        (B, h*w, D) tokens and (B, D) embeddings in the space of the text embeddings, neither
        normalised.

    Raises:
        ValueError: an image smaller than a patch.
    """
    prefix, depth = backbone.prefix, backbone.depth
    tokens, grid = backbone.start(images)
    attention: Tensor | None = None
    guide = torch.zeros_like(tokens, dtype=torch.float32)
    for index in range(depth - 1):
        tokens, keys = backbone.block_with_keys(index, tokens, grid)
        weights = key_attention(keys, prefix)
        attention = weights if attention is None else attention + weights
        tokens = smooth_sinks(tokens, grid, sinks)
        guide += tokens
    whole = smooth_sinks(backbone.block(depth - 1, tokens, grid), grid, sinks)
    guide = (guide + whole) / depth
    similarity = cosines(guide[:, prefix:])
    merged = sum(_last_block(backbone, branch, similarity, attention, grid)
                 for branch in (tokens, guide.to(tokens.dtype))) / 2
    return backbone.project(merged), backbone.pool(whole)


def smooth_sinks(tokens: Tensor, grid: tuple[int, int], sinks: Tensor) -> Tensor:
    """Mix patches whose sink channels stand out with the mean of their 3x3 neighbourhood.

    Args:
        tokens: (B, P + h*w, W); the leading ones stay.
        grid: (h, w).
        sinks: indices of channels.

    Returns:
        the same shape and dtype.
    """
    if not len(sinks):
        return tokens
    count = grid[0] * grid[1]
    leading, patches = tokens[:, :-count], tokens[:, -count:].float()
    loud = channel_shares(patches)[..., sinks].amax(-1, keepdim=True)
    mixed = (1.0 - MIX) * patches + MIX / 9.0 * box_sum(patches, grid)
    patches = torch.where(loud > STANDS_OUT / patches.shape[-1], mixed, patches)
    return torch.cat([leading, patches.to(tokens.dtype)], dim=1)


def channel_shares(patches: Tensor) -> Tensor:
    """Return each channel's share of its token, counted from the token's lowest channel."""
    above = patches - patches.amin(-1, keepdim=True)
    return above / above.sum(-1, keepdim=True).clamp_min(1e-12)


def key_attention(keys: Tensor, prefix: int) -> Tensor:
    """Return softmax(k k^T) between patches, (B, heads, h*w, h*w).

    The leading tokens take part in the softmax, so that the rows add up to less than 1.
    """
    weights = torch.softmax((keys * keys.shape[-1] ** -0.5) @ keys.transpose(-2, -1), dim=-1)
    return weights[..., prefix:, prefix:]


def sink_channels(backbone: DenseBackbone) -> Tensor:
    """Return the published sink channels of a tower's weights, or find them, once."""
    if backbone not in _sinks:
        _sinks[backbone] = _published_or_found(backbone)
    return _sinks[backbone]


def _published_or_found(backbone: DenseBackbone) -> Tensor:
    published = PUBLISHED_SINKS.get(backbone.name)
    if published is None:
        return find_sink_channels(backbone)
    return torch.tensor(published, device=next(backbone.visual.parameters()).device)


@torch.no_grad()
def find_sink_channels(backbone: DenseBackbone, most: int = MOST_SINKS) -> Tensor:
    """Find the channels that a few patches of an image fill and all others leave empty.

    The published list holds for one set of weights. For others the tower is run on soft blobs of
    colour: a channel counts once for each block after which its largest share of a token stands
    out, and is as many times its mean share. Those that count most often are taken.

    Returns:
        (n,) ascending indices, n <= ``most``; empty where no channel stands out.
    """
    device = next(backbone.visual.parameters()).device
    tokens, grid = backbone.start(_probes(backbone, device))
    counts = torch.zeros(tokens.shape[-1], device=device)
    loudness = torch.zeros_like(counts)
    for index in range(backbone.depth - 1):
        tokens = backbone.block(index, tokens, grid)
        shares = channel_shares(tokens[:, backbone.prefix:].float()).flatten(0, 1)
        largest, mean = shares.amax(0), shares.mean(0)
        counts += (largest > STANDS_OUT / shares.shape[-1]) & (largest > STANDS_OUT * mean)
        loudness += largest
    order = (counts + loudness / backbone.depth).argsort(descending=True)[:most]
    return order[counts[order] > 0].sort().values


def _last_block(backbone: DenseBackbone, tokens: Tensor, similarity: Tensor, others: Tensor,
                grid: tuple[int, int]) -> Tensor:
    """Attend by the keys of all layers, of patches gathered with those that are alike."""
    last, prefix = backbone.depth - 1, backbone.prefix
    gathered = gather_alike(similarity, tokens[:, prefix:], average=False).to(tokens.dtype)
    _, k, v = backbone.queries_keys_values(
        last, torch.cat([tokens[:, :prefix], gathered], dim=1), grid)
    weights = (others + key_attention(k, prefix)) / backbone.depth
    return backbone.merge_heads(last, weights @ v[:, :, prefix:])


def _probes(backbone: DenseBackbone, device: torch.device) -> Tensor:
    """Return soft random blobs of a few sizes, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    side = 14 * backbone.patch_size
    blobs = [interpolate(torch.randn(_PROBES, 3, cells, cells, generator=generator),
                         size=(side, side), mode="bicubic") for cells in _PROBE_CELLS]
    return torch.cat(blobs).to(device)

