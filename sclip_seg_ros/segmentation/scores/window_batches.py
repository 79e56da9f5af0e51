"""The windows of several images, put together so that those of one size share their forwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.scores.windows import Box, cut, stitch, tower_crop, window_boxes
from sclip_seg_ros.segmentation.settings import SegmentorSettings


class WindowBatches:
    """Cut images into windows, and put the windows' scores together again."""

    def __init__(self, images: Sequence[Tensor], settings: SegmentorSettings, patch: int) -> None:
        """Lay the windows.

        Args:
            images: (C, H, W) each, of any sizes.
            settings: where the windows lie, and how many go together at most.
            patch: side of the tower's patches.
        """
        self._images = images
        self._most = settings.window_batch
        self._taper = settings.window_taper
        self._layout = [_boxes((image.shape[1], image.shape[2]), settings, patch)
                        for image in images]

    def __iter__(self) -> Iterator[tuple[list[int], tuple[Tensor, ...]]]:
        """Yield the indices of images with windows of one size, and those windows (N, C, h, w)."""
        alike: dict[tuple[int, int], list[int]] = {}
        for index, boxes in enumerate(self._layout):
            alike.setdefault((boxes[0].bottom - boxes[0].top, boxes[0].right - boxes[0].left),
                             []).append(index)
        for indices in alike.values():
            windows = torch.cat([cut(self._images[index][None], self._layout[index])
                                 for index in indices])
            yield indices, windows.split(self._most)

    def owners(self, indices: Sequence[int]) -> list[int]:
        """Return the image of each window of images, as they were yielded."""
        return [index for index in indices for _ in self._layout[index]]

    def stitch(self, indices: Sequence[int], scores: Tensor) -> dict[int, ScoreMap]:
        """Return each image's scores.

        Args:
            indices: of images, as they were yielded.
            scores: (N, Q, h', w') of all their windows.
        """
        pieces = scores.split([len(self._layout[index]) for index in indices])
        return {index: stitch(piece, self._layout[index], tuple(self._images[index].shape[1:]),
                              self._taper)
                for index, piece in zip(indices, pieces, strict=True)}


def _boxes(size: tuple[int, int], settings: SegmentorSettings, patch: int) -> list[Box]:
    height, width = size
    if settings.inference == "whole":
        return [Box(0, 0, height, width)]
    crop = tower_crop(settings, patch)
    return window_boxes(height, width, crop, min(settings.stride, crop))
