"""Enlarge dense features before they meet the text: LoftUp, or plain bilinear interpolation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.common.settings import Settings, choice, number, switch, text
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.upsamplers.feature_contract import (
    CONTRACTS,
    PUBLISHED,
    FeatureContract,
    stated_names,
)
from sclip_seg_ros.segmentation.upsamplers.interface import FeatureUpsampler
from sclip_seg_ros.segmentation.upsamplers.loftup.network import HEADS_KEY, LoftUp, build_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import (
    BILINEAR,
    published_contract,
    read_loftup,
    resolve_source,
)
from sclip_seg_ros.segmentation.upsamplers.sizes import (
    checked_grid,
    resize_guidance,
    upsample_bilinear,
    upsampled_size,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoftUpSettings(Settings):
    """LoftUp upsampling (Huang et al., ICCV 2025)."""

    adaptive: bool = switch(True, "Choose LoftUp's factor from the grid's size.")
    factor: float = number(2.0, 1.0, 16.0, "Enlargement where it is not adaptive.")
    contract: str = choice("auto", CONTRACTS, "Features that LoftUp is fed: 'value', 'attended', "
                           "'plain', or as it was trained.")
    source: str = text(
        "auto", "LoftUp's weights: 'embedded', 'hub', 'torch-hub', 'hub:siglip2' and the like, the "
        "path of a checkpoint, 'bilinear' for interpolation without any, or 'auto' for the model's "
        "own. "
        "'hub@<commit>' pins a download, '...#sha256=<checksum>' any file.",
        hint="'auto', 'embedded', 'hub', 'torch-hub', 'bilinear' or the path of a checkpoint",
        fixed=True)
    allow_fallback: bool = switch(False, "Enlarge bilinearly, with a warning and a mark in the "
                                  "status, where LoftUp cannot be loaded.", shared=True)

    @classmethod
    def implied(cls, changes: dict[str, Any]) -> dict[str, Any]:
        """Return changes with the adaptive factor off where one is named and that is not."""
        return {"adaptive": False, **changes} if "factor" in changes else changes

    def effective(self) -> LoftUpSettings:
        """Return the settings with the factor at its default where the grid's size decides."""
        return replace(self, factor=self.own()["factor"].default) if self.adaptive else self


def adaptive_factor(grid: tuple[int, int]) -> float:
    """Choose the upsampling factor from the smaller side s of the patch grid.

    ========  ============  =============  ======
    s < 14    14 <= s < 28  28 <= s <= 56  s > 56
    4.0       3.0           2.0            1.5
    ========  ============  =============  ======

    The smaller side decides, because it is the one that runs out of detail first.
    """
    side = min(checked_grid(grid))
    if side < 14:
        return 4.0
    if side < 28:
        return 3.0
    return 2.0 if side <= 56 else 1.5


class LoftUpUpsampler(FeatureUpsampler):
    """LoftUp, or bilinear interpolation where that is asked for or allowed in its place.

    Attributes:
        network: LoftUp, or None for bilinear interpolation.
        settings: how much to enlarge.
    """

    name, title = "loftup", "LoftUp"

    def __init__(self, settings: LoftUpSettings, network: LoftUp | None,
                 fallback: str | None = None, contract: FeatureContract = PUBLISHED,
                 stated: frozenset[str] = frozenset(), origin: str = "") -> None:
        """Hold a network, or the reason why bilinear interpolation stands in for it.

        Raises:
            ValueError: neither of the two, or both, or a fallback that the settings forbid.
        """
        excused = bool(fallback) or settings.source == BILINEAR
        if (network is None) != excused:
            raise ValueError("an upsampler needs a LoftUp network or the reason why it has none; "
                             "give one of the two")
        if fallback and not settings.allow_fallback:
            raise ValueError(f"LoftUp is missing ({fallback}) and loftup.allow_fallback is false; "
                             "set it to true to accept bilinear interpolation")
        self.network = network
        self.settings = settings
        self.contract = contract if network is not None else None
        self.stated = stated
        self.origin = origin
        self.fallback = fallback

    @property
    def layer(self) -> str | None:
        """What LoftUp is fed: what its checkpoint was trained on, unless the settings say else."""
        if self.contract is None:
            return None
        return self.contract.layer if self.settings.contract == "auto" else self.settings.contract

    def factor(self, grid: tuple[int, int]) -> float:
        """Return the factor for a patch grid: adaptive or fixed, as the settings say."""
        return adaptive_factor(grid) if self.settings.adaptive else self.settings.factor

    def size(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, columns) of the output for a patch grid."""
        return upsampled_size(grid, self.factor(grid))

    def with_settings(self, settings: LoftUpSettings) -> LoftUpUpsampler:
        """Return an upsampler with the same network and other settings."""
        return LoftUpUpsampler(settings, self.network, self.fallback, self.contract or PUBLISHED,
                               self.stated, self.origin)

    @torch.no_grad()
    def __call__(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Upsample dense features, in the tower's arithmetic but for what needs float32.

        Args:
            features: (B, D, h, w), not normalised; half precision makes LoftUp compute in it.
            guidance: (B, 3, H, W) the images they come from, any per-channel scale and offset.

        Returns:
            (B, D, H', W') of length 1 along D, in the dtype of ``features``.
        """
        return normalize(self._enlarged(features, guidance).float(), dim=1).to(features.dtype)

    @torch.no_grad()
    def enlarge(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Upsample features that another layer is to read: with the mean and scale they had.

        LoftUp gives features as its input norm makes them. That norm is undone by each place's own
        mean and deviation, which are interpolated.

        Returns:
            (B, D, H', W') in the dtype of ``features``.
        """
        larger = self._enlarged(features, guidance).float()
        if self.network is None:
            return larger.to(features.dtype)
        norm, size = self.network.channelnorm.norm, tuple(larger.shape[-2:])
        deviation, mean = torch.std_mean(features.float(), dim=1, correction=0, keepdim=True)
        scale, shift = (value.float()[:, None, None] for value in (norm.weight, norm.bias))
        plain = (larger - shift) / torch.where(scale == 0, torch.ones_like(scale), scale)
        return (plain * upsample_bilinear(deviation, size)
                + upsample_bilinear(mean, size)).to(features.dtype)

    def _enlarged(self, features: Tensor, guidance: Tensor) -> Tensor:
        size = self.size(tuple(features.shape[-2:]))
        if self.network is None:
            return upsample_bilinear(features.float(), size)
        half = features.dtype != torch.float32
        with torch.autocast(features.device.type, features.dtype if half else None,
                            enabled=half):
            return self.network(features, resize_guidance(guidance, size))


def load_loftup(settings: LoftUpSettings, dimension: int, device: torch.device | str = "cpu",
                cache_dir: str | None = None, backbone: str = "") -> LoftUpUpsampler:
    """Load LoftUp as the settings say, or fall back if, and only if, they allow it.

    Args:
        settings: source of the weights, factor, and whether bilinear may stand in.
        dimension: length D of the CLIP model's embeddings.
        device: where the network runs.
        cache_dir: folder for downloads instead of the hub's own.
        backbone: the CLIP model's name, by which "auto" chooses, and which a checkpoint that
            states its backbone must have; empty if unknown.

    Raises:
        WeightsError: weights out of reach or unfit, and no fallback allowed.
    """
    if settings.source == BILINEAR:
        return LoftUpUpsampler(settings, None)
    try:
        source = resolve_source(settings.source, backbone)
        weights = read_loftup(source, cache_dir=cache_dir)
        contract = FeatureContract.from_metadata(weights.metadata,
                                                 published_contract(source, backbone))
        stated = stated_names(weights.metadata)
        if backbone and "backbone" in stated and contract.backbone != backbone:
            raise WeightsError(f"LoftUp from {weights.origin} was trained for "
                               f"'{contract.backbone}', not for '{backbone}'; give one that "
                               "sclip-train-loftup made for this model, or set use_loftup to false")
        network = build_loftup(weights.state, dimension, stated_heads(weights.metadata))
    except WeightsError as error:
        if not settings.allow_fallback:
            raise
        _log.warning("LoftUp could not be loaded, bilinear interpolation stands in: %s", error)
        return LoftUpUpsampler(settings, None, fallback=str(error))
    _log.info("LoftUp loaded from %s", weights.origin)
    return LoftUpUpsampler(settings, network.to(device), contract=contract, stated=stated,
                           origin=weights.origin)


def stated_heads(metadata: Mapping[str, str]) -> int:
    """Read the number of heads, which no tensor tells, from a checkpoint's metadata.

    Raises:
        WeightsError: it is not a number.
    """
    text = metadata.get(HEADS_KEY, "4")
    if not text.isdecimal() or int(text) < 1:
        raise WeightsError(f"LoftUp checkpoint states {HEADS_KEY}='{text}', which is not a number "
                           "of heads; train or download it again")
    return int(text)
