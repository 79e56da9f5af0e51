"""A picture with its labels, as the page shows it, wherever they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from sclip_seg_ros.segmentation.result import SegmentationResult
from sclip_seg_ros.segmentation.scores.decoding.decoding import class_probabilities
from sclip_seg_ros.segmentation.scores.score_map import enlargement
from sclip_seg_ros.segmentation.text.vocabulary import VocabularyClass

HEAT_SIDE = 160  # cells along the longer side of a heat map; the browser smooths between them


class Probabilities(Protocol):
    """How probable every class is, at a pixel and over the picture."""

    def at(self, x: int, y: int) -> np.ndarray:
        """Return (C,) at a pixel of the picture."""

    def plane(self, index: int) -> np.ndarray:
        """Return 255 x one class's probability, (h, w) uint8, the picture's shape but smaller."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        key: tells frames apart, from whatever source.
        name: for people, e.g. a file's name below its folder.
        image: (H, W, 3) uint8 RGB.
        seconds: of a film or recording, from its beginning; 0 for photos.
        path: of a picture that is a file of its own.
    """

    key: tuple[Any, ...]
    name: str
    image: np.ndarray
    seconds: float = 0.0
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Labelled:
    """A frame with its labels.

    Attributes:
        frame: the picture.
        labels: (H, W) uint8 positions in ``classes``; 255 = no class.
        confidence: (H, W) uint8, 255 x probability of the winning class.
        classes: with their synonyms.
        colours: (C, 3) uint8 RGB.
        coverage, mean_confidence: (C,) float32.
        probabilities: of all classes.
        stage_ms: milliseconds by stage, those of kept features among them.
        kept: stages whose work was kept from before, and was not done again.
        notes: what a person must know about these figures, in sentences.
        status: of a live node, for people: name to text.
    """

    frame: Frame
    labels: np.ndarray
    confidence: np.ndarray
    classes: tuple[VocabularyClass, ...]
    colours: np.ndarray
    coverage: np.ndarray
    mean_confidence: np.ndarray
    probabilities: Probabilities
    stage_ms: Mapping[str, float]
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    status: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(entry.name for entry in self.classes)

    def under(self, x: int, y: int, best: int = 5) -> dict[str, Any]:
        """Describe one pixel: its label, and its best words with their probabilities.

        Raises:
            ValueError: it lies outside.
        """
        height, width = self.labels.shape
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"pixel ({x}, {y}) is outside the picture of {width}x{height}")
        values = self.probabilities.at(x, y)[:len(self.classes)]  # negative words come behind
        order = np.argsort(-values, kind="stable")[:best]
        label = int(self.labels[y, x])
        return {"x": x, "y": y, "label": self.names[label] if label < len(self.names) else None,
                "words": [{"name": self.names[index], "probability": float(values[index])}
                          for index in order]}


class OfScores:
    """Probabilities from the scores of a segmentor's result, exact at every pixel."""

    def __init__(self, result: SegmentationResult) -> None:
        """Keep a result's scores."""
        self._scores = result.score_map
        self._query_class = result.vocabulary.query_class
        self._scale = result.logit_scale
        self._size = result.labels.shape

    @torch.inference_mode()
    def at(self, x: int, y: int) -> np.ndarray:
        """Return (C,) at a pixel."""
        scores, device = self._scores, self._scores.values.device
        row = enlargement(scores.rows, self._size[0], device)[y]
        column = enlargement(scores.columns, self._size[1], device)[x]
        found = torch.einsum("a,aqb,b->q", row, scores.values, column)
        return class_probabilities(found, self._query_class, self._scale).cpu().numpy()

    @torch.inference_mode()
    def plane(self, index: int) -> np.ndarray:
        """Return 255 x one class's probability."""
        height, width = self._size
        share = min(1.0, HEAT_SIDE / max(height, width))
        grid = max(1, round(height * share)), max(1, round(width * share))
        scores = self._scores.dense(grid, antialias=True)
        values = class_probabilities(scores, self._query_class, self._scale)[index]
        return (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


class OfGrid:
    """Probabilities from a small grid, as a node publishes them."""

    def __init__(self, grid: np.ndarray, size: tuple[int, int]) -> None:
        """Keep (h, w, C) uint8, 255 x probability, of a picture of a size (H, W)."""
        self._grid = grid
        self._size = size

    def at(self, x: int, y: int) -> np.ndarray:
        """Return (C,) of the cell that a pixel lies in."""
        rows, columns = self._grid.shape[:2]
        cell = self._grid[y * rows // self._size[0], x * columns // self._size[1]]
        return cell.astype(np.float32) / 255

    def plane(self, index: int) -> np.ndarray:
        """Return 255 x one class's probability."""
        return np.ascontiguousarray(self._grid[..., index])


def differing(first: np.ndarray, first_names: tuple[str, ...], second: np.ndarray,
              second_names: tuple[str, ...]) -> float:
    """Return the share of the pixels whose labels have different names.

    Args:
        first, second: (H, W) uint8 labels, 255 = no class; brought to the first's size.
        first_names, second_names: of their classes.
    """
    if second.shape != first.shape:
        second = cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_NEAREST)
    number = {name: index for index, name in enumerate(dict.fromkeys((*first_names,
                                                                      *second_names)))}
    tables = []
    for names in (first_names, second_names):
        table = np.full(256, -1, np.int32)
        table[:len(names)] = [number[name] for name in names]
        tables.append(table)
    return float(np.mean(tables[0][first] != tables[1][second]))
