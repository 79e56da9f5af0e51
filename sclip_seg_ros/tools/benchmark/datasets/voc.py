"""PASCAL VOC 2012, validation split: 20 objects with background (VOC21) or without (VOC20).

Layout, of the official archive (VOCdevkit/VOC2012):
    JPEGImages/<id>.jpg   SegmentationClass/<id>.png   ImageSets/Segmentation/val.txt
Labels are palette images: 0 background, 1..20 objects, 255 the rim around objects.
"""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.tools.benchmark.datasets.base import Pictures, listed, same_ids, without_zero


def open_voc21(root: Path) -> Pictures:
    """Open VOC with the background as class 0."""
    return Pictures(_pictures(root), same_ids, 21, profile="voc21")


def open_voc20(root: Path) -> Pictures:
    """Open VOC without background: its pixels count nowhere, aeroplane is class 0."""
    return Pictures(_pictures(root), without_zero, 20, profile="voc20")


def _pictures(root: Path):
    return listed(root, "ImageSets/Segmentation/val.txt", "JPEGImages", "SegmentationClass")
