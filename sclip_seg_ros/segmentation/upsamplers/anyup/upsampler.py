"""AnyUp on stitched scores: once an image, whatever tower they come from.

Its output averages its input, so that class scores can be enlarged instead of the hundreds of
channels they were compared in. Scores tell places apart as well as features do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sclip_seg_ros.common.settings import Settings, number, text
from sclip_seg_ros.models.hub import PIN, obtain_published, pinned_file, split_pin
from sclip_seg_ros.models.weights import read_state_dict
from sclip_seg_ros.segmentation.backbones.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalise,
)
from sclip_seg_ros.segmentation.upsamplers.anyup.network import AnyUp, build_anyup
from sclip_seg_ros.segmentation.upsamplers.interface import FeatureUpsampler
from sclip_seg_ros.segmentation.upsamplers.sizes import resize_guidance, upsampled_size

RELEASE = "release"
FILE_NAME = "anyup_multi_backbone.pth"
URL = f"https://github.com/wimmerth/anyup/releases/download/checkpoint_v2/{FILE_NAME}"
CHECKSUM = "b6cc407da8986c7e5c9098e61f7531767a9aca8fff20a1bc6c99d488e61aac59"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnyUpSettings(Settings):
    """AnyUp upsampling of scores (Wimmer et al., 2025)."""

    factor: float = number(4.0, 1.0, 16.0, "Enlargement of the scores.")
    source: str = text(
        "release", "AnyUp's weights: 'release' for its authors' file for many backbones, or the "
        "path of a file; '...#sha256=<checksum>' pins it.",
        hint="'release' or the path of a file", fixed=True)


class AnyUpUpsampler(FeatureUpsampler):
    """Class scores and their image in, scores on a finer grid out."""

    name, title = "anyup", "AnyUp"
    network: AnyUp

    def __init__(self, settings: AnyUpSettings, network: AnyUp, origin: str = "") -> None:
        """Hold a network with weights."""
        self.settings = settings
        self.network = network
        self.origin = origin

    def size(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, columns) of the output for a patch grid."""
        return upsampled_size(grid, self.settings.factor)

    def with_settings(self, settings: AnyUpSettings) -> AnyUpUpsampler:
        """Return one with the same network and other settings."""
        return AnyUpUpsampler(settings, self.network, self.origin)

    @torch.no_grad()
    def __call__(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Enlarge scores.

        Args:
            features: (B, Q, h, w) scores on the patch grid.
            guidance: (B, 3, H, W) the images they come from, RGB in 0..1.

        Returns:
            (B, Q, H', W') float32, each value an average of the input's for the same word.
        """
        size = self.size(tuple(features.shape[-2:]))
        small = normalise(resize_guidance(guidance, size), IMAGENET_MEAN, IMAGENET_STD)
        return self.network(features.float(), small)


def load_anyup(settings: AnyUpSettings, dimension: int, device: torch.device | str = "cpu",
               cache_dir: str | None = None, backbone: str = "") -> AnyUpUpsampler:
    """Load AnyUp as the settings say; it fits any model.

    Args:
        settings: source of the weights, and the factor.
        dimension: of the model's embeddings; any will do.
        device: where the network runs.
        cache_dir: folder for downloads instead of torch.hub's own.
        backbone: the model's name; any will do.

    Raises:
        WeightsError: weights out of reach, with another checksum than they should have, or no
            weights of AnyUp.
    """
    place, _, pinned = split_pin(settings.source)
    path, sha256 = pinned_file(f"{fetch_anyup(cache_dir)}{PIN}{pinned or CHECKSUM}"
                               if place == RELEASE else settings.source, "anyup.source")
    network = build_anyup(read_state_dict(path), str(path))
    origin = f"{place if place == RELEASE else path} (SHA-256 {sha256})"
    _log.info("AnyUp loaded from %s", origin)
    return AnyUpUpsampler(settings, network.to(device), origin)


def fetch_anyup(cache_dir: str | None = None) -> Path:
    """Return the authors' published file, downloaded once.

    Raises:
        WeightsError: it is out of reach.
    """
    return obtain_published(URL, CHECKSUM, _folder(cache_dir), "AnyUp", f"download {URL} elsewhere "
                            "and give its path as anyup.source, or set use_anyup to false")


def anyup_at_hand(settings: AnyUpSettings, cache_dir: str | None = None) -> bool:
    """Tell whether AnyUp's weights could be loaded without asking a network."""
    return split_pin(settings.source)[0] != RELEASE \
        or (_folder(cache_dir) / FILE_NAME).is_file()


def _folder(cache_dir: str | None) -> Path:
    return Path(cache_dir).expanduser() if cache_dir else Path(torch.hub.get_dir()) / "checkpoints"
