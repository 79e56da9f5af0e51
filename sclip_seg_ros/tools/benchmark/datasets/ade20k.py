"""ADE20K (SceneParsing), validation split, 150 classes.

Layout, of the official archive ADEChallengeData2016:
    images/validation/<id>.jpg   annotations/validation/<id>.png
Label values: 0 other, which counts nowhere; 1..150 classes.
"""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.tools.benchmark.datasets.base import Pictures, beside, without_zero


def open_ade20k(root: Path) -> Pictures:
    """Open ADE20K; wall is class 0."""
    return Pictures(beside(root, "images/validation", "annotations/validation", ".jpg", ".png"),
                    without_zero, 150, profile="ade20k")
