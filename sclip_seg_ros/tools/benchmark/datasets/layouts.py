"""The layouts of folders that data sets are read in, each with the values of its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sclip_seg_ros.io.images import SUFFIXES
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.tools.benchmark.datasets.base import (
    Picture,
    Pictures,
    beside,
    expect_file,
    listed,
    same_ids,
    without_zero,
)
from sclip_seg_ros.tools.figures.metrics import IGNORE

CAMVID_UNLABELLED = 11


def open_folder(root: Path) -> Pictures:
    """Open a data set of your own.

    Layout:
        images/**/<name>.jpg (or .png, .tif, ...)   labels/**/<name>.png   classes.txt
    Label values are line numbers of classes.txt, counted from 0 without comments; 255 counts
    nowhere. classes.txt has one class a line, synonyms separated by commas or '|'.
    """
    pictures = beside(root, "images", "labels", SUFFIXES, ".png")
    classes = tuple(read_vocabulary(expect_file(root, "classes.txt")))
    return Pictures(pictures, same_ids, len(classes), classes=classes)


def open_voc21(root: Path) -> Pictures:
    """Open PASCAL VOC 2012, validation split: 20 objects, and the background as class 0.

    Layout, of the official archive (VOCdevkit/VOC2012):
        JPEGImages/<id>.jpg   SegmentationClass/<id>.png   ImageSets/Segmentation/val.txt
    Labels are palette images: 0 background, 1..20 objects, 255 the rim around objects.
    """
    return Pictures(_voc(root), same_ids, 21, profile="voc21")


def open_voc20(root: Path) -> Pictures:
    """Open VOC without background: its pixels count nowhere, aeroplane is class 0."""
    return Pictures(_voc(root), without_zero, 20, profile="voc20")


def open_context60(root: Path) -> Pictures:
    """Open PASCAL Context, validation split: 59 classes, and the background as class 0.

    Layout, of VOCdevkit/VOC2010 after mmsegmentation's tools/dataset_converters/pascal_context.py:
        JPEGImages/<id>.jpg   SegmentationClassContext/<id>.png
        ImageSets/SegmentationContext/val.txt
    Label values: 0 background, 1..59 classes, 255 nothing.
    """
    return Pictures(_context(root), same_ids, 60, profile="context60")


def open_context59(root: Path) -> Pictures:
    """Open PASCAL Context without background: its pixels count nowhere."""
    return Pictures(_context(root), without_zero, 59, profile="context59")


def open_ade20k(root: Path) -> Pictures:
    """Open ADE20K (SceneParsing), validation split, 150 classes; wall is class 0.

    Layout, of the official archive ADEChallengeData2016:
        images/validation/<id>.jpg   annotations/validation/<id>.png
    Label values: 0 other, which counts nowhere; 1..150 classes.
    """
    return Pictures(beside(root, "images/validation", "annotations/validation", ".jpg", ".png"),
                    without_zero, 150, profile="ade20k")


def open_cityscapes(root: Path) -> Pictures:
    """Open Cityscapes, validation split, 19 classes; road is class 0.

    Layout, of the official archives after cityscapesScripts' createTrainIdLabelImgs:
        leftImg8bit/val/<city>/<id>_leftImg8bit.png
        gtFine/val/<city>/<id>_gtFine_labelTrainIds.png
    Label values: 0..18 classes, 255 nothing.
    """
    return Pictures(beside(root, "leftImg8bit/val", "gtFine/val", "_leftImg8bit.png",
                           "_gtFine_labelTrainIds.png"),
                    same_ids, 19, profile="cityscapes")


def open_camvid(root: Path) -> Pictures:
    """Open CamVid, 11 classes, at the usual 480x360 pixels; sky is class 0.

    Layout:
        images/<id>.png   labels/<id>.png
    Label values: 0..10 in the order of config/vocabularies/camvid.txt; 11 unlabelled.
    """
    return Pictures(beside(root, "images", "labels", ".png", ".png"), _without_unlabelled, 11,
                    profile="camvid")


def _voc(root: Path) -> tuple[Picture, ...]:
    return listed(root, "ImageSets/Segmentation/val.txt", "JPEGImages", "SegmentationClass")


def _context(root: Path) -> tuple[Picture, ...]:
    return listed(root, "ImageSets/SegmentationContext/val.txt", "JPEGImages",
                  "SegmentationClassContext")


def _without_unlabelled(labels: np.ndarray) -> np.ndarray:
    """Let CamVid's unlabelled pixels count nowhere."""
    return np.where(labels == CAMVID_UNLABELLED, IGNORE, labels).astype(labels.dtype)
