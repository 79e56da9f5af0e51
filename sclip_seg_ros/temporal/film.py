"""Label the frames of a film, each helped by those before."""

from __future__ import annotations

import numpy as np

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult, Vocabulary
from sclip_seg_ros.temporal.evidence import Memory
from sclip_seg_ros.temporal.settings import TemporalSettings


class FilmSegmentor:
    """Label frame after frame of one camera, where there is time for scores of every one.

    Attributes:
        memory: what is carried from frame to frame; None where ``enabled`` is false.
    """

    def __init__(self, segmentor: SCLIPSegmentor, vocabulary: Vocabulary,
                 settings: TemporalSettings | None = None,
                 label_size: tuple[int, int] | None = None) -> None:
        """Begin a film.

        Args:
            segmentor: with the settings and the model of all its frames.
            vocabulary: the words of all its frames.
            settings: how frames help one another.
            label_size: (H, W) that labels are decided at; None for that of the images.
        """
        settings = settings or TemporalSettings()
        self.memory = Memory(settings) if settings.enabled else None
        self._pipeline = segmentor.pipeline
        self._vocabulary = vocabulary
        self._label_sizes = [label_size]

    def __call__(self, image: np.ndarray, stamp: float) -> SegmentationResult:
        """Label the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: seconds; a step back or a leap begins anew, as a cut or another size does.

        Raises:
            ValueError: an image that cannot be used, or scores that are not numbers.
        """
        if self.memory is None:
            return self._pipeline.predict([image], self._vocabulary,
                                          label_sizes=self._label_sizes)[0]
        pipeline, words = self._pipeline, self._vocabulary.to(self._pipeline.device)
        watch = pipeline.stopwatch()
        pictures = pipeline.read([image], watch, self._label_sizes)
        scores, = pipeline.score(pipeline.look(pictures, words, watch), words, watch)
        with watch.stage("temporal"):
            self.memory.observe(np.asarray(image), stamp)
            self.memory.fuse(scores, words.version)
            evidence = self.memory.evidence(words.version)
            assert evidence is not None  # of the scores that it was given just now
        return pipeline.label(pictures, [evidence.scores], words, watch)[0]

    def state(self) -> bytes:
        """Pack what is carried on to the next frame, for :meth:`resume`."""
        return b"" if self.memory is None else self.memory.pack()

    def resume(self, state: bytes) -> None:
        """Go on as the film segmentor that packed a state would, to the bit."""
        if self.memory is not None:
            self.memory.unpack(state, self._vocabulary.version)
