"""Rendered films with the scores of each frame, kept on disk between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sclip_research.scenes.films import Film, film

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.score_map import Axis, ScoreMap
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.figures.provenance import describe_weights

KINDS = ("static", "movers")


@dataclass(frozen=True, eq=False)
class Take:
    """A film with all that is measured on it.

    Attributes:
        words: to look for, in the film's order.
        mover: class of what moves by itself, or None.
        images: (N, H, W, 3) uint8 RGB.
        labels: (N, H, W) uint8, the truth; 255 counts nowhere.
        following: (N, H, W) int32, flat index of the pixel in the next frame that shows the same
            point, -1 where none does.
        scores: of every frame alone.
    """

    words: Vocabulary
    mover: int | None
    images: np.ndarray
    labels: np.ndarray
    following: np.ndarray
    scores: list[ScoreMap]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.images)


def takes(segmentor: SCLIPSegmentor, kind: str, count: int, cache: Path) -> Iterator[Take]:
    """Yield films of one kind, rendered and scored where the cache does not hold them yet.

    Args:
        segmentor: scores the frames, with its settings in force.
        kind: "static" or "movers".
        count: how many.
        cache: folder; what is there was made with the same settings and weights.
    """
    made_of = repr((describe_weights(segmentor.origin), segmentor.pipeline.decided)).encode()
    folder = cache / hashlib.sha256(made_of).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        shown = film(index, moving=kind == "movers")
        words = segmentor.vocabulary(shown.words)
        path = folder / f"{kind}-{index:02d}.npz"
        if not path.is_file():
            _shoot(shown, segmentor, words, path)
        with np.load(path) as kept:
            axes = [Axis(int(length), tuple(map(tuple, spans.tolist())), int(cells))
                    for length, spans, cells in ((kept["size"][k], kept[f"spans{k}"],
                                                  kept["cells"][k]) for k in range(2))]
            yield Take(words, shown.mover, kept["images"], kept["labels"], kept["following"],
                       [ScoreMap(torch.from_numpy(values), *axes) for values in kept["scores"]])


def _shoot(shown: Film, segmentor: SCLIPSegmentor, words: Vocabulary, path: Path) -> None:
    shots = list(shown.shots())
    scores = [segmentor.predict_dense(shot.image, words).score_map for shot in shots]
    axes = scores[0].rows, scores[0].columns
    draft = path.with_suffix(".part.npz")
    np.savez(draft, images=np.stack([shot.image for shot in shots]),
             labels=np.stack([shot.labels for shot in shots]),
             following=np.stack([shot.following for shot in shots]).astype(np.int32),
             scores=np.stack([score.values.numpy() for score in scores]),
             size=[axis.length for axis in axes], cells=[axis.cells for axis in axes],
             spans0=axes[0].spans, spans1=axes[1].spans)
    draft.replace(path)
