"""The upsampler's weights in memory: loaded when settings first want them, then shared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from weakref import WeakSet

import torch
from torch import nn

from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS, FeatureUpsampler, upsampler_of

MODELS_OWN = ("auto", "release")  # sources that a file beside the model stands in for


class UpsamplerStore:
    """Hold the weights that the newest settings named.

    All methods but :meth:`load` are for one thread at a time.
    """

    def __init__(self, backbone: str, dimension: int, device: torch.device,
                 cache_dir: str | None, beside: Mapping[str, Path] | None = None) -> None:
        """Begin without any weights.

        Args:
            backbone: the CLIP model's name, by which the source "auto" chooses.
            dimension: length D of its embeddings.
            device: where the network is to run.
            cache_dir: folder for downloads instead of the hub's own.
            beside: files of upsamplers that came along with the model, by kind.
        """
        self._beside = beside or {}
        self._backbone = backbone
        self._dimension = dimension
        self._device = device
        self._cache_dir = cache_dir
        self._kept: dict[str, FeatureUpsampler] = {}  # by the tower whose features they enlarge
        # Also those of a pipeline still in use after others were kept, and refused.
        self._networks: WeakSet[nn.Module] = WeakSet()

    def lacks(self, settings: SegmentorSettings) -> bool:
        """Tell whether :meth:`provide` would have to load weights."""
        name = upsampler_of(settings)
        if name is None:
            return False
        kept, kind = self._kept.get(self._fed(settings)), UPSAMPLERS[name]
        return kept is None or kept.name != name \
            or kind.weights(kept.settings) != kind.weights(getattr(settings, kind.group))

    def title(self, settings: SegmentorSettings) -> str:
        """Name what settings want, for people."""
        return UPSAMPLERS[_named(settings)].title

    def key(self, settings: SegmentorSettings) -> Hashable:
        """Return what settings say of the weights, and whether others may stand in for them."""
        name = _named(settings)
        wanted = getattr(settings, UPSAMPLERS[name].group)
        return (name, UPSAMPLERS[name].weights(wanted), self._fed(settings),
                getattr(wanted, "allow_fallback", False))

    def at_hand(self, settings: SegmentorSettings) -> bool:
        """Tell whether loading what settings want is worth a try, see :class:`UpsamplerKind`.

        Raises:
            ValueError: no upsampler is on.
        """
        name = _named(settings)
        kind = UPSAMPLERS[name]
        return name in self._beside or kind.at_hand(getattr(settings, kind.group), self._cache_dir)

    def load(self, settings: SegmentorSettings) -> FeatureUpsampler:
        """Load the weights that settings lack into main memory; for any thread.

        Raises:
            WeightsError: they are out of reach, or do not fit.
        """
        name = _named(settings)
        kind = UPSAMPLERS[name]
        group = getattr(settings, kind.group)
        fed = self._fed(settings)
        dimension = PROXIES[fed].width if fed in PROXIES else self._dimension
        own = self._beside.get(name) if fed == self._backbone else None
        if own is None or getattr(group, "source", "") not in MODELS_OWN:
            return kind.load(group, dimension, "cpu", self._cache_dir, fed)
        found = kind.load(replace(group, source=str(own)), dimension, "cpu", self._cache_dir, fed)
        return found.with_settings(group)

    def keep(self, settings: SegmentorSettings, upsampler: FeatureUpsampler) -> None:
        """Take over loaded weights, between two images, so that :meth:`provide` finds them."""
        if upsampler.network is not None:
            upsampler.network.to(self._device)
            self._networks.add(upsampler.network)
        self._kept[self._fed(settings)] = upsampler

    def _fed(self, settings: SegmentorSettings) -> str:
        """Name the tower whose features are enlarged: the model, or the proxy beside it."""
        name = upsampler_of(settings)
        of_proxy = settings.use_proxy and name is not None and not UPSAMPLERS[name].of_scores
        return settings.proxy.model if of_proxy else self._backbone

    def provide(self, settings: SegmentorSettings) -> FeatureUpsampler | None:
        """Return what settings ask for, with its weights loaded where they are not; None if off.

        Raises:
            WeightsError: weights out of reach, or not fitting.
        """
        name = upsampler_of(settings)
        if name is None:
            return None
        if self.lacks(settings):
            self.keep(settings, self.load(settings))
        kept = self._kept[self._fed(settings)]
        return kept.with_settings(getattr(settings, UPSAMPLERS[name].group))

    def forget_fallback(self) -> None:
        """Have missing weights looked for again when they are next wanted."""
        self._kept = {fed: kept for fed, kept in self._kept.items() if not kept.fallback}

    def move(self, device: torch.device) -> None:
        """Bring the weights in use to a device."""
        for network in self._networks:
            network.to(device)


def _named(settings: SegmentorSettings) -> str:
    name = upsampler_of(settings)
    if name is None:
        raise ValueError("no upsampler is on, so that there are no weights to load; switch one on")
    return name
