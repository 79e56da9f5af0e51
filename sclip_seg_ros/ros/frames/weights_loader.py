"""Load the weights of stages beside the frame path."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from typing import Any, Protocol

from sclip_seg_ros.segmentation import SegmentorSettings

_LOG = logging.getLogger(__name__)


class Store(Protocol):
    """Weights of a stage in memory; see :mod:`sclip_seg_ros.segmentation.pipeline`."""

    def lacks(self, settings: SegmentorSettings) -> bool: ...
    def title(self, settings: SegmentorSettings) -> str: ...
    def key(self, settings: SegmentorSettings) -> Hashable: ...
    def load(self, settings: SegmentorSettings) -> Any: ...
    def keep(self, settings: SegmentorSettings, loaded: Any) -> None: ...


class WeightsLoader:
    """Load weights in a thread while frames are labelled without them.

    From the internet they may take minutes. All methods belong to the frame path.
    """

    def __init__(self, *stores: Store) -> None:
        """Load into stores."""
        self._stores = stores
        self._loading: dict[Hashable, Future[Any]] = {}

    def provide(self, settings: SegmentorSettings | None) -> bool:
        """Give the stores the weights of settings, or begin to load them.

        Args:
            settings: that lack weights; None where nothing is lacking.

        Returns:
            Whether the stores have them now.

        Raises:
            WeightsError: they could not be loaded; the next call tries again.
        """
        if settings is None:
            return True
        lacking = [store for store in self._stores if store.lacks(settings)]
        return all([self._has(store, settings) for store in lacking])  # all of them begin

    def _has(self, store: Store, settings: SegmentorSettings) -> bool:
        key = store.key(settings)
        if key not in self._loading:
            self._loading[key] = self._begin(store, settings)
        if not self._loading[key].done():
            return False
        store.keep(settings, self._loading.pop(key).result())
        return True

    def forget(self) -> None:
        """Do without what is being loaded: it is no longer asked for."""
        self._loading.clear()

    def _begin(self, store: Store, settings: SegmentorSettings) -> Future[Any]:
        _LOG.info("loading %s's weights; frames are labelled without it meanwhile",
                  store.title(settings))
        loaded: Future[Any] = Future()
        # A daemon: a download that nobody waits for any more does not keep the process alive.
        threading.Thread(target=_load, args=(store, settings, loaded), name="weights",
                         daemon=True).start()
        return loaded


def _load(store: Store, settings: SegmentorSettings, loaded: Future[Any]) -> None:
    try:
        loaded.set_result(store.load(settings))
    except BaseException as error:  # for the frame path to raise
        loaded.set_exception(error)
