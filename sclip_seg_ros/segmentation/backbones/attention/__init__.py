"""Attention rules for CLIP's last block, as pure functions of queries, keys and values.

Every rule takes q, k, v of shape (B, heads, N, d), with the leading tokens (class token, registers,
or none) first among the N = P + h*w, and returns the attended values (B, heads, N, d). The usual
softmax scale d**-0.5 applies.
The rules to choose from are the rows of :data:`ATTENTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.backbones.attention.procrustes import procrustes_pair
from sclip_seg_ros.segmentation.backbones.attention.rfclip import rfclip_tokens, sink_channels
from sclip_seg_ros.segmentation.backbones.attention.scclip import scclip_tokens

# Tokens up to which a CPU holds the weights of attention in bfloat16; its fused kernel is slower.
EXPLICIT_TOKENS = 1024

# Kept at once: each has the square of the grid's cells, 118 MB at short side 1024 (64 x 85).
# A CUDA graph keeps its own (see cuda_graphs.Recording), whatever goes from here.
_BIASES = 4

AttentionRule = Callable[[Tensor, Tensor, Tensor, "tuple[int, int]"], Tensor]


def vanilla(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend as CLIP was trained to: softmax(q k^T) v."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or k.shape[-2] > EXPLICIT_TOKENS:
        return scaled_dot_product_attention(q, k, v)
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v


def correlative(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with SCLIP's correlative self-attention: (softmax(q q^T) + softmax(k k^T)) v.

    The rows of the sum add up to 2; the paper does not average (Wang et al., SCLIP, ECCV 2024,
    eq. 4 and its public code).
    """
    return vanilla(q, q, v) + vanilla(k, k, v)


def query_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with ClearCLIP's self-self attention: softmax(q q^T) v (Lan et al., ECCV 2024)."""
    return vanilla(q, q, v)


def neighbourhood(q: Tensor, k: Tensor, v: Tensor, omega: Tensor) -> Tensor:
    """Attend with NACLIP's rule: softmax(k k^T + omega) v (Hajimiri et al., WACV 2025, eq. 5).

    Args:
        omega: (N, N) additive bias that prefers near patches, see :func:`neighbourhood_bias`.
    """
    return scaled_dot_product_attention(k, k, v, attn_mask=omega.to(q.dtype))


@device_cache(maxsize=_BIASES)
def neighbourhood_bias(height: int, width: int, sigma: float = 5.0,
                       device: torch.device | str = "cpu") -> Tensor:
    """Return NACLIP's Gaussian bias omega between all patches of a grid.

    omega[i, j] = exp(-|p_i - p_j|^2 / (2 sigma^2)) in patch units, zero for the class token.

    Returns:
        (1 + h*w, 1 + h*w) float32, cached per grid: do not write into it.
    """
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device),
                          indexing="ij")
    points = torch.stack([y.flatten(), x.flatten()], dim=1).float()
    squared = (points[:, None] - points[None]).square().sum(-1)
    omega = torch.zeros(1 + height * width, 1 + height * width, device=device)
    omega[1:, 1:] = torch.exp(-squared / (2.0 * sigma**2))
    return omega


def with_leading(matrix: Tensor, leading: int) -> Tensor:
    """Give (..., 1 + n, 1 + n) between a class token and patches another number of leading tokens.

    What more of them there are counts as zero: (..., leading + n, leading + n).
    """
    if leading == 0:
        return matrix[..., 1:, 1:]
    return matrix if leading == 1 else pad(matrix, (leading - 1, 0, leading - 1, 0))


@dataclass(frozen=True)
class Attention:
    """A rule of the last block's attention, and a row of :data:`ATTENTIONS`.

    With S = left right^T d^-0.5 of each comparison, the values are attended to by the sum of
    softmax(S + bias). ResCLIP changes S and the sum, whichever row it is. A method that changes
    more than this gives the tokens itself; ResCLIP cannot go with it.

    Attributes:
        source: where the rule is published.
        compared: what is compared with what, a softmax each: pairs of the letters q, k and v;
            empty for a method that gives the tokens itself.
        pair: returns the two sides of one comparison more, (B, heads, N, d'), given q, k, the
            number of leading tokens, and the values of ``settings``; None where there is none.
        bias: returns the (1 + h*w, 1 + h*w) float32, a class token first, that is added to S of a
            grid (h, w) on a device, given the values of ``settings``; None where nothing is.
        settings: names of the settings that the pair, the bias, or the tokens depend on.
        tokens: returns the projected patch tokens (B, h*w, D) of a backbone and normalised images
            (B, 3, H, W), given the values of ``settings`` and what ``prepare`` returned; None for
            a rule of the last block.
        embedding: returns the image embeddings (B, D) of a backbone and normalised images, where
            the method has its own; None for CLIP's.
        prepare: returns what has to be found out about a backbone before the first image; None
            where nothing has.
    """

    source: str
    compared: tuple[str, ...] = ()
    pair: Callable[..., tuple[Tensor, Tensor]] | None = None
    bias: Callable[..., Tensor] | None = None
    settings: tuple[str, ...] = ()
    tokens: Callable[..., Tensor] | None = None
    prepare: Callable[[Any], Any] | None = None
    embedding: Callable[[Any, Tensor], Tensor] | None = None

    def bias_for(self, grid: tuple[int, int], device: torch.device, options: Mapping[str, Any],
                 leading: int = 1) -> Tensor | None:
        """Return the bias for a grid, with those of the settings that ``options`` holds.

        ``leading`` is the number of tokens before the patches, between which nothing is added.
        """
        if self.bias is None:
            return None
        return with_leading(self.bias(grid, device, *self._values(options)), leading)

    def tokens_of(self, backbone: Any, images: Tensor, options: Mapping[str, Any],
                  prepared: Any = None) -> Tensor:
        """Return the patch tokens of a method that gives them itself."""
        assert self.tokens is not None
        found = () if self.prepare is None else (prepared,)
        return self.tokens(backbone, images, *self._values(options), *found)

    def _values(self, options: Mapping[str, Any]) -> list[Any]:
        return [options[name] for name in self.settings if name in options]

    def pairs(self, q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any],
              leading: int = 1) -> list[tuple[Tensor, Tensor]]:
        """Return what is compared with what, with those of the settings that ``options`` holds."""
        sides = {"q": q, "k": k, "v": v}
        found = [(sides[pair[0]], sides[pair[1]]) for pair in self.compared]
        if self.pair is not None:
            found.append(self.pair(q, k, leading, *self._values(options)))
        return found


def _neighbourhood_bias(grid: tuple[int, int], device: torch.device, sigma: float = 5.0) -> Tensor:
    return neighbourhood_bias(*grid, sigma, device)


def _own_values(backbone: Any, images: Tensor) -> Tensor:
    """Have each patch attend to itself alone, as CLIPSelf trains it to."""
    return backbone.last_block(backbone.penultimate(images), lambda q, k, v, grid: v,
                               class_token=False)


def _refocused(backbone: Any, images: Tensor, sinks: Tensor) -> Tensor:
    return rfclip_tokens(backbone, images, sinks)[0]


def _refocused_embedding(backbone: Any, images: Tensor) -> Tensor:
    return rfclip_tokens(backbone, images, sink_channels(backbone))[1]


def _values(backbone: Any, images: Tensor) -> Tensor:
    return backbone.value_tokens(backbone.penultimate(images), class_token=False)


ATTENTIONS: dict[str, Attention] = {
    "sclip": Attention("SCLIP, Wang et al., ECCV 2024, eq. 4", ("qq", "kk")),
    "vanilla": Attention("CLIP as it was trained", ("qk",)),
    "clearclip": Attention("ClearCLIP, Lan et al., ECCV 2024", ("qq",)),
    "naclip": Attention("NACLIP, Hajimiri et al., WACV 2025, eq. 5", ("kk",),
                        bias=_neighbourhood_bias, settings=("naclip_sigma",)),
    "pearl": Attention("PEARL, CVPR 2026: keys turned towards the queries", pair=procrustes_pair,
                       settings=("pearl_alpha",)),
    "cliptrase": Attention("CLIPtrase, Shao et al., ECCV 2024", ("qq", "kk", "vv")),
    "maskclip": Attention("MaskCLIP, Zhou et al., ECCV 2022: values alone", tokens=_values),
    "scclip": Attention("SC-CLIP, Bai et al., 2024", tokens=scclip_tokens),
    "rfclip": Attention("RF-CLIP, AAAI 2026", tokens=_refocused, prepare=sink_channels,
                        embedding=_refocused_embedding),
    "clipself": Attention("CLIPSelf, Wu et al., ICLR 2024", tokens=_own_values),
}


AUTO = "auto"   # the rule that suits the model, see :func:`automatic_attention`
# Where CLIP's own weights come from; the published scores hold for these, not for others.
_CLIP_ORIGIN = re.compile(r"^ViT-[^/]*/(openai|metaclip|laion|datacomp|commonpool|dfn)")


def automatic_attention(model: str, last_block_only: bool, usual: str) -> str:
    """Return the rule that suits a model.

    For CLIP's own weights that is SC-CLIP, whose published mean over eight data sets is 43.9 mIoU
    with OpenAI's ViT-B/16 (SCLIP 38.2, NACLIP 39.4). RF-CLIP's 44.2 include changes to the texts,
    tuned for each data set, that are a switch of their own (use_image_words), and it takes longer.
    CLIPSelf's weights, known by their file's name, were trained for dense tokens without attention
    in the last block. All other models get what is usual for their family; the embedded one was
    trained with SCLIP's rule and fails with the others.

    Args:
        model: name of the model and its weights, e.g. "ViT-B-16-quickgelu/openai".
        last_block_only: a rule that only changes the last block's attention, as ResCLIP needs.
        usual: rule of the tower's family, see :attr:`.backbone.DenseBackbone.usual_attention`.
    """
    if last_block_only:
        return usual
    if "clipself" in model.lower():
        return "clipself"
    return "scclip" if _CLIP_ORIGIN.match(model) else usual


def last_block_rules() -> tuple[str, ...]:
    """Return the names of the rules that only compare queries, keys and values."""
    return tuple(name for name, row in ATTENTIONS.items() if row.tokens is None)


def last_block_attention(name: str) -> Attention:
    """Return the row of a rule that only compares queries, keys and values.

    Raises:
        ValueError: an unknown name, or a method that gives the tokens itself.
    """
    if name not in ATTENTIONS:
        raise ValueError(f"attention '{name}' is unknown; choose one of {', '.join(ATTENTIONS)}")
    if ATTENTIONS[name].tokens is not None:
        raise ValueError(f"attention '{name}' changes more than the last block's attention, which "
                         f"is needed here; choose one of {', '.join(last_block_rules())}")
    return ATTENTIONS[name]


def attention_rule(name: str, options: Mapping[str, Any] | None = None) -> AttentionRule:
    """Return a rule as a function of queries, keys, values and grid.

    Args:
        name: the method whose last block is wanted.
        options: values of settings, e.g. ``{"naclip_sigma": 5.0}``; others are left alone.

    Raises:
        ValueError: an unknown name, or a method that gives the tokens itself.
    """
    row, options = last_block_attention(name), options or {}

    def rule(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        leading = q.shape[-2] - grid[0] * grid[1]
        bias = row.bias_for(grid, q.device, options, leading)
        pairs = row.pairs(q, k, v, options, leading)
        if bias is None:
            attended = [vanilla(left, right, v) for left, right in pairs]
        else:
            attended = [scaled_dot_product_attention(left, right, v, attn_mask=bias.to(q.dtype))
                        for left, right in pairs]
        return sum(attended[1:], attended[0])

    return rule
