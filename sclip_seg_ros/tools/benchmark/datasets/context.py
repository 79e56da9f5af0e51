"""PASCAL Context, validation split: 59 classes with background (Context60) or without (Context59).

Layout, of VOCdevkit/VOC2010 after mmsegmentation's tools/dataset_converters/pascal_context.py:
    JPEGImages/<id>.jpg   SegmentationClassContext/<id>.png   ImageSets/SegmentationContext/val.txt
Label values: 0 background, 1..59 classes, 255 nothing.
"""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.tools.benchmark.datasets.base import Pictures, listed, same_ids, without_zero


def open_context60(root: Path) -> Pictures:
    """Open PASCAL Context with the background as class 0."""
    return Pictures(_pictures(root), same_ids, 60, profile="context60")


def open_context59(root: Path) -> Pictures:
    """Open PASCAL Context without background: its pixels count nowhere."""
    return Pictures(_pictures(root), without_zero, 59, profile="context59")


def _pictures(root: Path):
    return listed(root, "ImageSets/SegmentationContext/val.txt", "JPEGImages",
                  "SegmentationClassContext")
