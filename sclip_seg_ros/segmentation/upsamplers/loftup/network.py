"""LoftUp: upsample features by cross-attention from every pixel (Huang et al., ICCV 2025).

Parameter names and shapes are those of the published checkpoint (``channelnorm.*`` and
``upsampler.*``), so that it loads as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.upsamplers.loftup.fourier import FourierFeatures, MinMaxScaler
from sclip_seg_ros.segmentation.upsamplers.loftup.layers import (
    ChannelNorm,
    OutputNorm,
    PixelTransformer,
)

QUERY_CHUNK = 16384
HEADS_KEY = "loftup_heads"  # in a safetensors file's metadata; without it there are 4

_REMEDY = "give the published 'pytorch_model.bin' of haiwen/loftup-clip or one trained like it"
_LAYER = re.compile(r"upsampler\.ca_transformer\.layers\.(\d+)\.")


@dataclass(frozen=True)
class LoftUpSizes:
    """Sizes of a LoftUp network; the defaults are those of every published checkpoint.

    Attributes:
        dimension: channels of the features, D.
        frequencies: of the guidance's Fourier features.
        position_frequencies: of the patch grid's own coordinates.
        heads: of the cross-attention; a state dict does not tell them.
        depth: cross-attention layers.
        hidden: width of the feed-forward networks; D if None.
    """

    dimension: int = 512
    frequencies: int = 20
    position_frequencies: int = 5
    heads: int = 4
    depth: int = 2
    hidden: int | None = None

    @property
    def width(self) -> int:
        """Channels inside the transformer: features and their position."""
        return self.dimension + 4 * self.position_frequencies


class CoordinateUpsampler(nn.Module):
    """LoftUp without its input norm: a pixel's colour and place ask the patches for features."""

    def __init__(self, sizes: LoftUpSizes) -> None:
        """Build the layers under the checkpoint's names."""
        super().__init__()
        width = sizes.width
        self.lr_pe = FourierFeatures(sizes.position_frequencies, colour=False)
        guidance = FourierFeatures(sizes.frequencies, colour=True)
        self.fourier_feat = nn.Sequential(MinMaxScaler(), guidance)
        self.first_conv = nn.Sequential(
            ChannelNorm(guidance.channels),
            nn.Conv2d(guidance.channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.ca_transformer = PixelTransformer(width, sizes.heads,
                                               sizes.hidden or sizes.dimension, sizes.depth)
        self.final_conv = nn.Sequential(nn.Conv2d(width, sizes.dimension, 1),
                                        OutputNorm(sizes.dimension))

    def forward(self, features: Tensor, guidance: Tensor, query_chunk: int | None) -> Tensor:
        """Upsample normalised features to the guidance's size, a chunk of pixels at a time."""
        height, width = guidance.shape[-2:]
        dtype = self.first_conv[1].weight.dtype
        pixels = self.first_conv(self.fourier_feat(guidance).to(dtype)).flatten(2).transpose(1, 2)
        context = torch.cat([features, self.lr_pe(features).to(features.dtype)], dim=1)
        projected = self.ca_transformer.keys_values(context.flatten(2).transpose(1, 2))
        step = pixels.shape[1] if query_chunk is None else max(1, query_chunk // len(pixels))
        rows = [self._project(self.ca_transformer(chunk, projected))
                for chunk in pixels.split(step, dim=1)]
        return torch.cat(rows, dim=2).unflatten(2, (height, width))

    def _project(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, n, width) to output features (B, D, n)."""
        return self.final_conv(pixels.transpose(1, 2).unsqueeze(-1)).squeeze(-1)


class LoftUp(nn.Module):
    """The whole network: input norm and upsampler."""

    def __init__(self, sizes: LoftUpSizes) -> None:
        """Build the layers; :func:`build_loftup` fills them from a checkpoint.

        Raises:
            ValueError: heads that do not divide the transformer's width.
        """
        super().__init__()
        if sizes.width % sizes.heads:
            raise ValueError(f"width {sizes.width} is not a multiple of {sizes.heads} heads; "
                             "choose a number of heads that divides it")
        self.sizes = sizes
        self.channelnorm = ChannelNorm(sizes.dimension)
        self.upsampler = CoordinateUpsampler(sizes)

    def forward(self, features: Tensor, guidance: Tensor,
                query_chunk: int | None = QUERY_CHUNK) -> Tensor:
        """Upsample features to the size of a guidance image.

        Args:
            features: (B, D, h, w), not normalised; any grid.
            guidance: (B, 3, H, W) in float32, any per-channel scale and offset: they cancel.
            query_chunk: output pixels, over the whole batch, that attend at once; None for all.
                Bounds the memory of the transformer, not the result.

        Returns:
            (B, D, H, W) in the dtype of the weights, not L2-normalised.

        Raises:
            ValueError: features or guidance of another shape.
        """
        if features.dim() != 4 or features.shape[1] != self.sizes.dimension:
            raise ValueError(f"features of shape {tuple(features.shape)} do not fit; LoftUp needs "
                             f"(B, {self.sizes.dimension}, h, w)")
        if guidance.dim() != 4 or guidance.shape[:2] != (len(features), 3):
            raise ValueError(f"guidance of shape {tuple(guidance.shape)} does not fit; LoftUp "
                             f"needs ({len(features)}, 3, H, W), one RGB image per feature map")
        if query_chunk is not None and query_chunk < 1:
            raise ValueError(f"query_chunk={query_chunk} must be 1 or more, or None for all")
        features = features.to(self.channelnorm.norm.weight.dtype)
        return self.upsampler(self.channelnorm(features), guidance, query_chunk)


def build_loftup(state: Mapping[str, Tensor], dimension: int, heads: int = 4) -> LoftUp:
    """Build LoftUp from a checkpoint, in evaluation mode and float32, for features of a length.

    Args:
        state: tensors under the published names, see :mod:`.loftup.weights`.
        dimension: length D of the CLIP model's embeddings.
        heads: of the cross-attention, which the tensors do not tell.

    Raises:
        WeightsError: a tensor that is missing, unknown, or of the wrong shape, by name.
    """
    sizes = sizes_of(state, heads)
    if sizes.dimension != dimension:
        raise WeightsError(
            f"LoftUp checkpoint upsamples {sizes.dimension} channels (channelnorm.norm.weight has "
            f"shape ({sizes.dimension},)) but the CLIP model gives {dimension}; {_REMEDY} for "
            "this model, or set use_loftup to false")
    with torch.device("meta"):      # no random weight exists at any time
        network = LoftUp(sizes)
    _refuse_misfits(network.state_dict(), state)
    network.load_state_dict({name: value.float() if value.is_floating_point() else value
                             for name, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def sizes_of(state: Mapping[str, Tensor], heads: int = 4) -> LoftUpSizes:
    """Read a network's sizes off its tensors.

    Raises:
        WeightsError: a telling tensor is missing or has the wrong number of axes.
    """
    layers = [int(match[1]) for match in map(_LAYER.match, state) if match]
    sizes = LoftUpSizes(
        dimension=_side(state, "channelnorm.norm.weight", 0, 1),
        frequencies=_side(state, "upsampler.fourier_feat.1.biases", 2, 3),
        position_frequencies=_side(state, "upsampler.lr_pe.biases", 2, 3),
        heads=heads,
        depth=1 + max(layers, default=0),
        hidden=_side(state, "upsampler.ca_transformer.layers.0.1.net.1.weight", 0, 2))
    if sizes.width % heads:
        raise WeightsError(f"LoftUp checkpoint of width {sizes.width} cannot have {heads} heads; "
                           f"{_REMEDY}")
    return sizes


def _side(state: Mapping[str, Tensor], name: str, axis: int, axes: int) -> int:
    if name not in state:
        raise WeightsError(f"LoftUp checkpoint lacks tensor '{name}'; {_REMEDY}")
    if state[name].dim() != axes:
        raise WeightsError(f"LoftUp checkpoint's '{name}' has shape {tuple(state[name].shape)} "
                           f"where {axes} axes belong; {_REMEDY}")
    return state[name].shape[axis]


def _refuse_misfits(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Name the first tensors that do not fit."""
    problems = [f"'{name}' is missing" for name in wanted if name not in state]
    problems += [f"'{name}' is unknown" for name in state if name not in wanted]
    problems += [f"'{name}' has shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
                 for name, value in wanted.items()
                 if name in state and state[name].shape != value.shape]
    if problems:
        shown = "; ".join(problems[:4]) + (" ..." if len(problems) > 4 else "")
        raise WeightsError(f"LoftUp checkpoint does not fit ({shown}); {_REMEDY}")
