"""A data set of your own.

Layout:
    images/**/<name>.jpg (or .png, .tif, ...)   labels/**/<name>.png   classes.txt
Label values are line numbers of classes.txt, counted from 0 without comments; 255 counts nowhere.
classes.txt has one class a line, synonyms separated by commas or '|'.
"""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.io.images import SUFFIXES
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.tools.benchmark.datasets.base import (
    Pictures,
    beside,
    expect_file,
    same_ids,
)


def open_folder(root: Path) -> Pictures:
    """Open a folder with images, labels and a list of classes."""
    pictures = beside(root, "images", "labels", SUFFIXES, ".png")
    classes = tuple(read_vocabulary(expect_file(root, "classes.txt")))
    return Pictures(pictures, same_ids, len(classes), classes=classes)
