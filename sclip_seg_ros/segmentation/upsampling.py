"""Enlarge dense features before they meet the text: LoftUp, or plain bilinear interpolation."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from sclip_seg_ros.models.upsampler import BILINEAR, read_loftup, resolve_source
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.contracts import PUBLISHED, FeatureContract, stated_names
from sclip_seg_ros.segmentation.loftup import HEADS_KEY, LoftUp, build_loftup
from sclip_seg_ros.segmentation.settings import LoftUpSettings

_log = logging.getLogger(__name__)


def adaptive_factor(grid: tuple[int, int]) -> float:
    """Choose the upsampling factor from the smaller side s of the patch grid.

    ========  ============  =============  ======
    s < 14    14 <= s < 28  28 <= s <= 56  s > 56
    4.0       3.0           2.0            1.5
    ========  ============  =============  ======

    The smaller side decides, because it is the one that runs out of detail first.
    """
    side = min(_checked(grid))
    if side < 14:
        return 4.0
    if side < 28:
        return 3.0
    return 2.0 if side <= 56 else 1.5


def upsampled_size(grid: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return (rows, columns) of a grid enlarged by a factor, each rounded to nearest, half up.

    Raises:
        ValueError: an empty grid or a factor below 1.
    """
    if not 1.0 <= factor < math.inf:
        raise ValueError(f"upsampling factor {factor} is out of range; give 1 or more")
    rows, columns = (math.floor(side * factor + 0.5) for side in _checked(grid))
    return rows, columns


def upsample_bilinear(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate (B, D, h, w) to (B, D, *size); corners are not aligned."""
    return interpolate(features, size=size, mode="bilinear", align_corners=False)


class Upsampler:
    """Features and their image in, larger features of length 1 out.

    Attributes:
        network: LoftUp, or None for bilinear interpolation.
        settings: how much to enlarge.
        contract: the features the network was trained on.
        stated: the parts of the contract that the checkpoint itself states; the rest is assumed.
        fallback: why there is no network though there should be; None where all is as asked.
    """

    def __init__(self, settings: LoftUpSettings, network: LoftUp | None,
                 fallback: str | None = None, contract: FeatureContract = PUBLISHED,
                 stated: frozenset[str] = frozenset()) -> None:
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
        self.contract = contract
        self.stated = stated
        self.fallback = fallback

    def factor(self, grid: tuple[int, int]) -> float:
        """Return the factor for a patch grid: adaptive or fixed, as the settings say."""
        return adaptive_factor(grid) if self.settings.adaptive else self.settings.factor

    def size(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, columns) of the output for a patch grid."""
        return upsampled_size(grid, self.factor(grid))

    def with_settings(self, settings: LoftUpSettings) -> Upsampler:
        """Return an upsampler with the same network and other settings."""
        return Upsampler(settings, self.network, self.fallback, self.contract, self.stated)

    @torch.no_grad()
    def __call__(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Upsample dense features, in the tower's arithmetic but for what needs float32.

        Args:
            features: (B, D, h, w), not normalised; half precision makes LoftUp compute in it.
            guidance: (B, 3, H, W) the images they come from, any per-channel scale and offset.

        Returns:
            (B, D, H', W') of length 1 along D, in the dtype of ``features``.
        """
        size = self.size(tuple(features.shape[-2:]))
        if self.network is None:
            larger = upsample_bilinear(features.float(), size)
        else:
            half = features.dtype != torch.float32
            with torch.autocast(features.device.type, features.dtype if half else None,
                                enabled=half):
                larger = self.network(features, resize_guidance(guidance, size))
        return normalize(larger.float(), dim=1).to(features.dtype)


def make_upsampler(settings: LoftUpSettings, dimension: int,
                   device: torch.device | str = "cpu",
                   cache_dir: str | None = None, backbone: str = "") -> Upsampler:
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
        return Upsampler(settings, None)
    try:
        weights = read_loftup(resolve_source(settings.source, backbone), cache_dir=cache_dir)
        contract = FeatureContract.from_metadata(weights.metadata)
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
        return Upsampler(settings, None, fallback=str(error))
    _log.info("LoftUp loaded from %s", weights.origin)
    return Upsampler(settings, network.to(device), contract=contract, stated=stated)


def resize_guidance(guidance: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (B, 3, H, W) to the output grid in float32, bilinear with antialiasing."""
    return interpolate(guidance.float(), size=size, mode="bilinear", align_corners=False,
                       antialias=True)


def stated_heads(metadata: Mapping[str, str]) -> int:
    """Read the number of heads, which no tensor tells, from a checkpoint's metadata.

    Raises:
        WeightsError: it is no number.
    """
    text = metadata.get(HEADS_KEY, "4")
    if not text.isdecimal() or int(text) < 1:
        raise WeightsError(f"LoftUp checkpoint states {HEADS_KEY}='{text}', which is no number of "
                           "heads; train or download it again")
    return int(text)


def _checked(grid: tuple[int, int]) -> tuple[int, int]:
    if min(grid) < 1:
        raise ValueError(f"patch grid {tuple(grid)} is empty; enlarge the image")
    return grid
