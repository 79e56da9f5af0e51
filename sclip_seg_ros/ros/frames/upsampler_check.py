"""One look at whether an upsampler helps, where it was trained on other features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.upsampler_check import check_one


class UpsamplerCheck:
    """Check the first frame that a doubtful one has labelled, and warn of what was found."""

    def __init__(self, segmentor: SCLIPSegmentor, quality: QualityControl, logger) -> None:
        """Begin without doubts."""
        self._segmentor = segmentor
        self._quality = quality
        self._logger = logger
        self._checked: tuple[str, ...] = ()

    def look(self, image: np.ndarray, vocabulary: Vocabulary,
             before: Callable[[], object] = lambda: None) -> None:
        """Check an image if the features have come to differ; costs two forwards, once.

        Args:
            image: (H, W, 3) uint8 RGB, of a frame already published.
            vocabulary: it was labelled with.
            before: called before anything is computed.
        """
        pipeline = self._quality.pipeline
        departures = pipeline.departures
        if not departures or departures == self._checked:
            return
        self._checked = departures
        before()
        report = check_one(self._segmentor, image, vocabulary, pipeline.settings)
        if report.use is not True:
            self._logger.warning(
                f"{report.upsampler} is in doubt ({'; '.join(departures)}), and on this image: "
                f"{report.verdict}; look closer with sclip-check-upsampler")
