"""Load the weights of a stage beside the frame path."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.upsampling import Upsampler

_LOG = logging.getLogger(__name__)


class WeightsLoader:
    """Load LoftUp's weights in a thread while frames are labelled without them.

    From the internet they may take minutes. All methods belong to the frame path.
    """

    def __init__(self, segmentor: SCLIPSegmentor) -> None:
        """Load for a segmentor."""
        self._segmentor = segmentor
        self._loading: dict[tuple[str, bool], Future[Upsampler]] = {}

    def provide(self, settings: SegmentorSettings | None) -> bool:
        """Give the segmentor the weights of settings, or begin to load them.

        Args:
            settings: that lack weights; None where nothing is lacking.

        Returns:
            Whether the segmentor has them now.

        Raises:
            WeightsError: they could not be loaded; the next call tries again.
        """
        if settings is None:
            return True
        key = settings.loftup.source, settings.loftup.allow_fallback
        if key not in self._loading:
            self._loading[key] = self._begin(settings)
        if not self._loading[key].done():
            return False
        self._segmentor.keep(self._loading.pop(key).result())
        return True

    def forget(self) -> None:
        """Do without what is being loaded: it is no longer asked for."""
        self._loading.clear()

    def _begin(self, settings: SegmentorSettings) -> Future[Upsampler]:
        _LOG.info("loading LoftUp's weights; frames are labelled without it meanwhile")
        loaded: Future[Upsampler] = Future()
        # A daemon: a download that nobody waits for any more does not keep the process alive.
        threading.Thread(target=_load, args=(self._segmentor, settings, loaded), name="weights",
                         daemon=True).start()
        return loaded


def _load(segmentor: SCLIPSegmentor, settings: SegmentorSettings,
          loaded: Future[Upsampler]) -> None:
    try:
        loaded.set_result(segmentor.load_weights(settings))
    except BaseException as error:  # for the frame path to raise
        loaded.set_exception(error)
