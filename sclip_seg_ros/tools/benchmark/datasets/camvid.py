"""CamVid, 11 classes, at the usual 480x360 pixels.

Layout:
    images/<id>.png   labels/<id>.png
Label values: 0..10 in the order of config/vocabularies/camvid.txt; 11 unlabelled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sclip_seg_ros.tools.benchmark.datasets.base import Pictures, beside
from sclip_seg_ros.tools.metrics import IGNORE

UNLABELLED = 11


def open_camvid(root: Path) -> Pictures:
    """Open CamVid; sky is class 0."""
    return Pictures(beside(root, "images", "labels", ".png", ".png"), without_unlabelled, 11,
                    profile="camvid")


def without_unlabelled(labels: np.ndarray) -> np.ndarray:
    """Let unlabelled pixels count nowhere."""
    return np.where(labels == UNLABELLED, IGNORE, labels).astype(labels.dtype)
