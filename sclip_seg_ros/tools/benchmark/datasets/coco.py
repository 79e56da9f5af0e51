"""COCO-Stuff 164k and 10k (171 classes), and COCO-Object (80 and background).

Layout of the validation split of 2017, of mmsegmentation's coco_stuff164k after its
tools/dataset_converters/coco_stuff164k.py:
    images/val2017/<id>.jpg   annotations/val2017/<id>_labelTrainIds.png
Label values: 0..79 things, 80..170 stuff, 255 nothing.

COCO-Object reads annotations/val2017/<id>_instanceTrainIds.png, which the converter of GroupViT
(in SCLIP's repository datasets/cvt_coco_object.py) writes: 0 background, 1..80 things. Where there
are none, it takes the labels of COCO-Stuff and does what that converter does: things move up by
one, and all the rest is background, unlabelled pixels too.

Layout of COCO-Stuff 10k, test split, of mmsegmentation's coco_stuff10k after its
tools/dataset_converters/coco_stuff10k.py:
    images/test2014/<id>.jpg   annotations/test2014/<id>_labelTrainIds.png
Label values: 0 unlabelled, which counts nowhere; 1..171 the classes of COCO-Stuff 164k in their
order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sclip_seg_ros.tools.benchmark.datasets.base import (
    Pictures,
    beside,
    expect_folder,
    same_ids,
    without_zero,
)

THINGS = 80
_IMAGES, _LABELS = "images/val2017", "annotations/val2017"
_STUFF_END, _OBJECT_END = "_labelTrainIds.png", "_instanceTrainIds.png"


def open_coco_stuff(root: Path) -> Pictures:
    """Open COCO-Stuff 164k."""
    return Pictures(beside(root, _IMAGES, _LABELS, ".jpg", _STUFF_END), same_ids, 171,
                    profile="coco_stuff")


def open_coco_stuff10k(root: Path) -> Pictures:
    """Open COCO-Stuff 10k; person is class 0."""
    return Pictures(beside(root, "images/test2014", "annotations/test2014", ".jpg", _STUFF_END),
                    without_zero, 171, profile="coco_stuff10k")


def open_coco_object(root: Path) -> Pictures:
    """Open COCO-Object, converted or straight from COCO-Stuff."""
    converted = any(expect_folder(root, _LABELS).glob(f"*{_OBJECT_END}"))
    end, decode = (_OBJECT_END, same_ids) if converted else (_STUFF_END, things_alone)
    return Pictures(beside(root, _IMAGES, _LABELS, ".jpg", end), decode, THINGS + 1,
                    profile="coco_object")


def things_alone(labels: np.ndarray) -> np.ndarray:
    """Turn labels of COCO-Stuff into those of COCO-Object."""
    return np.where(labels < THINGS, labels + 1, 0).astype(np.uint8)
