"""The proxy's weights in memory: loaded when settings first want them, then kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from sclip_seg_ros.models.devices import DTYPES
from sclip_seg_ros.segmentation.backbones.proxies.towers import Proxy
from sclip_seg_ros.segmentation.backbones.proxies.weights import HUB, load_proxy
from sclip_seg_ros.segmentation.settings import SegmentorSettings


class ProxyStore:
    """Hold the weights that the newest settings named.

    All methods but :meth:`load` are for one thread at a time.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, cache_dir: str | None,
                 beside: Mapping[str, Path] | None = None) -> None:
        """Begin without any weights.

        Args:
            device: where the proxy is to run.
            dtype: the image tower's arithmetic, which is the proxy's where its settings say none.
            cache_dir: folder for downloads instead of the hub's own.
            beside: files of proxies that came along with the model, by name; they are taken
                before the hub is asked.
        """
        self._beside = beside or {}
        self._device, self._dtype, self._cache_dir = device, dtype, cache_dir
        self._kept: tuple[Hashable, Proxy] | None = None

    def key(self, settings: SegmentorSettings) -> Hashable:
        """Return what settings say of the weights; where it is equal, loaded ones serve again."""
        return settings.proxy.model, settings.proxy.source, settings.proxy.precision

    def title(self, settings: SegmentorSettings) -> str:
        """Name what settings want, for people."""
        return settings.proxy.model

    def lacks(self, settings: SegmentorSettings) -> bool:
        """Tell whether :meth:`provide` would have to load weights."""
        return settings.use_proxy \
            and (self._kept is None or self._kept[0] != self.key(settings))

    def load(self, settings: SegmentorSettings) -> Proxy:
        """Load the weights into main memory; for any thread.

        Raises:
            WeightsError: they are out of reach, or do not fit.
        """
        proxy = settings.proxy
        if proxy.source == HUB and proxy.model in self._beside:
            proxy = replace(proxy, source=str(self._beside[proxy.model]))
        return load_proxy(proxy, self._cache_dir)

    def keep(self, settings: SegmentorSettings, loaded: Proxy) -> None:
        """Take over loaded weights, between two images, so that :meth:`provide` finds them."""
        loaded.network.to(self._device, DTYPES.get(settings.proxy.precision, self._dtype))
        loaded.moved()
        self._kept = self.key(settings), loaded

    def provide(self, settings: SegmentorSettings) -> Proxy | None:
        """Return what settings ask for, with its weights loaded where they are not; None if off.

        Raises:
            WeightsError: weights out of reach, or not fitting.
        """
        if not settings.use_proxy:
            return None
        if self.lacks(settings):
            self.keep(settings, self.load(settings))
        assert self._kept is not None
        return self._kept[1]

    def origin(self, settings: SegmentorSettings) -> str | None:
        """Return where the weights in use come from; None where the proxy is off."""
        proxy = self.provide(settings)
        return proxy.origin if proxy else None

    def move(self, device: torch.device) -> None:
        """Bring the weights in use to a device."""
        if self._kept is not None:
            self._kept[1].network.to(device)
            self._kept[1].moved()
