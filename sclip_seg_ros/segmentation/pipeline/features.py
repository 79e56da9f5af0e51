"""Between an image and its scores: the picture on the device, and what the tower saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from sclip_seg_ros.segmentation.backbones.preprocessing import resize
from sclip_seg_ros.segmentation.scores.window_batches import WindowBatches


@dataclass(frozen=True, eq=False)
class Picture:
    """An image on the device.

    Attributes:
        original: (3, H, W) uint8 RGB, at the size that labels are decided at.
        source: (3, H', W') uint8 RGB, as it came.
        size: (h, w) it is worked on at.
        antialias: of the resizing to it.
    """

    original: Tensor
    source: Tensor
    size: tuple[int, int]
    antialias: bool

    @cached_property
    def working(self) -> Tensor:
        """(3, h, w) float32 RGB in 0..1, made when it is first asked for."""
        return resize(self.source, self.size, self.antialias)


@dataclass(frozen=True, eq=False)
class Features:
    """What the image tower saw of some pictures; scored against any words, at any time.

    Attributes:
        batches: how the pictures' windows lie.
        parts: indices of pictures with windows of one size, and the features of those windows,
            (N, D, h', w') of length 1 along D, in as many pieces as there were forwards.
        overviews: (P, D) embeddings of the pictures as a whole, where the settings want them.
    """

    batches: WindowBatches
    parts: Iterable[tuple[list[int], Iterable[Tensor]]]
    overviews: Tensor | None = None

    def overviews_of(self, windows: Sequence[int]) -> Tensor | None:
        """Return the overview of the picture that each window belongs to."""
        return None if self.overviews is None else self.overviews[list(windows)]


class KeptFeatures:
    """Features that can be scored again later, if they are not too large to be kept.

    Pass :attr:`passing` to :meth:`Pipeline.score`; afterwards :attr:`features` has what went by.
    """

    def __init__(self, features: Features, most_bytes: int) -> None:
        """Keep at most so many bytes of features that are made as they are asked for."""
        self.passing = replace(features, parts=self._pass(features))
        self._features = features
        self._left = most_bytes
        self._kept: list[tuple[list[int], list[Tensor]]] = []

    @property
    def features(self) -> Features | None:
        """What went by; None where it was too large."""
        return replace(self._features, parts=self._kept) if self._left >= 0 else None

    def _pass(self, features: Features) -> Iterator[tuple[list[int], Iterator[Tensor]]]:
        for indices, pieces in features.parts:
            kept: list[Tensor] = []
            self._kept.append((indices, kept))
            yield indices, self._pass_pieces(pieces, kept)

    def _pass_pieces(self, pieces: Iterable[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
        for piece in pieces:
            self._left -= piece.nbytes
            if self._left >= 0:
                kept.append(piece)
            else:
                self._kept.clear()
            yield piece
