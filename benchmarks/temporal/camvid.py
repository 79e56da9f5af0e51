"""CamVid's true labels carried over some frames of a real drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.temporal.measures import iou_of
from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.segmentation.scores.decoding.decoding import decode
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.temporal import Memory, TemporalSettings
from sclip_seg_ros.tools.benchmark.datasets.base import read_ids
from sclip_seg_ros.tools.figures.metrics import confusion_table

CAMVID = Path(__file__).resolve().parents[3] / "shared/data/camvid"
CLASSES = 11   # the twelfth value is "unlabelled", and counts nowhere
INTERVAL = 1 / 15


def carried(root: Path, frames: int, settings: TemporalSettings,
            held: bool = False) -> dict[str, float]:
    """Carry the labels of each frame over some frames, and compare them with the truth there.

    Args:
        root: folder with ``images`` and ``labels`` of consecutive frames.
        frames: over how many.
        settings: of the memory.
        held: keep the labels where they are instead.

    Returns:
        ``miou`` over all pairs together, a share, and the share of pixels left ``unlabelled``.
    """
    paths = sorted((root / "images").glob("*.png"))
    images = [read_image(path) for path in paths]
    truths = [read_ids(root / "labels" / path.name) for path in paths]
    table = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for start in range(len(paths) - frames):
        labels = truths[start]
        if not held:
            labels = _carry(images[start:start + frames + 1], labels, settings)
        truth = np.where(truths[start + frames] < CLASSES, truths[start + frames], 255)
        table += confusion_table(labels, truth, CLASSES)
    return {"miou": float(np.nanmean(iou_of(table))),
            "unlabelled": float(table[:, CLASSES].sum() / table.sum())}


def _carry(images: list[np.ndarray], labels: np.ndarray, settings: TemporalSettings) -> np.ndarray:
    memory = Memory(settings)
    one_hot = np.eye(CLASSES + 1, dtype=np.float32)[np.minimum(labels, CLASSES)].transpose(2, 0, 1)
    for index, image in enumerate(images):
        memory.observe(image, index * INTERVAL)
        if index == 0:
            memory.fuse(ScoreMap.of(torch.from_numpy(np.ascontiguousarray(one_hot))), "truth")
    evidence = memory.evidence("truth")
    found, confidence = decode(evidence.scores, torch.arange(CLASSES + 1), 10.0, labels.shape)
    return evidence.settle(found.numpy(), confidence.mul(255).to(torch.uint8).numpy())[0]
