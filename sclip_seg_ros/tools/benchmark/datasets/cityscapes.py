"""Cityscapes, validation split, 19 classes.

Layout, of the official archives after cityscapesScripts' createTrainIdLabelImgs:
    leftImg8bit/val/<city>/<id>_leftImg8bit.png   gtFine/val/<city>/<id>_gtFine_labelTrainIds.png
Label values: 0..18 classes, 255 nothing.
"""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.tools.benchmark.datasets.base import Pictures, beside, same_ids


def open_cityscapes(root: Path) -> Pictures:
    """Open Cityscapes; road is class 0."""
    return Pictures(beside(root, "leftImg8bit/val", "gtFine/val", "_leftImg8bit.png",
                           "_gtFine_labelTrainIds.png"),
                    same_ids, 19, profile="cityscapes")
