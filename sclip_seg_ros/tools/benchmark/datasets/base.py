"""What every data set gives: images with their truth, read only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sclip_seg_ros.io.files import files_below
from sclip_seg_ros.io.images import ImageFileError, read_image
from sclip_seg_ros.tools.figures.metrics import IGNORE


class DatasetError(ValueError):
    """A data set is not where or as it should be; the message names the path."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its truth.

    Attributes:
        name: unique within the data set.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8 or uint16 class ids; 255 counts nowhere.
        classes: what to look for in this image; empty where the data set has one list for all.
        seconds: when it was taken, of a film's frame.
        following: (H, W), the flat index of the pixel in the next frame that shows the same point,
            -1 where none does; None where that is not known.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    classes: tuple[str, ...] = ()
    seconds: float = 0.0
    following: np.ndarray | None = None


class Dataset(Protocol):
    """A data set as the benchmark sees it.

    Attributes:
        profile: the profile with its settings and words; empty for none.
        classes: words of the classes in the order of the ids; empty where the profile has them or
            every image brings its own.
        class_count: how many ids the truth may hold; 0 where every image brings its own classes.
    """

    @property
    def profile(self) -> str:
        """Name of the profile."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def class_count(self) -> int:
        """Number of classes."""

    def choose(self, count: int | None) -> Sequence[int]:
        """Return the indices of the images to measure: all, or `count` of them."""

    def name(self, index: int) -> str:
        """Return the name of an image."""

    def load(self, index: int) -> Sample:
        """Read one image with its truth."""


@dataclass(frozen=True)
class Picture:
    """Where an image and its label image lie."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class Pictures:
    """A data set of image files with label images, read one by one.

    Attributes:
        pictures: where they lie.
        decode: turns a label image into class ids with 255 for what counts nowhere.
        class_count: how many ids there are.
        profile, classes: see `Dataset`.
    """

    pictures: tuple[Picture, ...]
    decode: Callable[[np.ndarray], np.ndarray]
    class_count: int
    profile: str = ""
    classes: tuple[str, ...] = ()

    def choose(self, count: int | None) -> Sequence[int]:
        """Return all indices, or `count` spread evenly: file lists are sorted by place or time."""
        return spread(range(len(self.pictures)), count)

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self.pictures[index].name

    def load(self, index: int) -> Sample:
        """Read one image with its truth.

        Raises:
            DatasetError: a file is missing or broken, sizes differ, or an id has no class.
        """
        picture = self.pictures[index]
        image, truth = read_rgb(picture.image), self.decode(read_ids(picture.labels))
        if image.shape[:2] != truth.shape:
            raise DatasetError(f"'{picture.labels}' is {_size(truth)} but its image is "
                               f"{_size(image)}; labels must have the image's size")
        beyond = truth[(truth >= self.class_count) & (truth != IGNORE)]
        if beyond.size:
            raise DatasetError(f"'{picture.labels}' holds id {beyond.max()}, but there are "
                               f"{self.class_count} classes; convert the labels as "
                               "docs/reproducing.md says")
        return Sample(picture.name, image, truth)


def spread(items: Sequence[Any], count: int | None) -> Sequence[Any]:
    """Return all items, or `count` of them spread evenly."""
    if count is None or count >= len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]


def same_ids(labels: np.ndarray) -> np.ndarray:
    """Take label values as class ids; 255 counts nowhere."""
    return labels


def without_zero(labels: np.ndarray) -> np.ndarray:
    """Drop class 0 and count the others from 0 (mmsegmentation's `reduce_zero_label`)."""
    return np.where((labels == 0) | (labels == IGNORE), IGNORE, labels - 1).astype(labels.dtype)


def listed(root: Path, ids: str, images: str, labels: str) -> tuple[Picture, ...]:
    """Find the JPEG images and PNG labels that a list file names, as PASCAL VOC has them."""
    path = expect_file(root, ids)
    expect_folder(root, images)
    expect_folder(root, labels)
    names = path.read_text(encoding="utf-8").split()
    return found((Picture(name, root / images / f"{name}.jpg", root / labels / f"{name}.png")
                  for name in names), path)


def beside(root: Path, images: str, labels: str, image_end: str | tuple[str, ...],
           label_end: str) -> tuple[Picture, ...]:
    """Find images below one folder and their labels at the same place below another."""
    folder, label_folder = expect_folder(root, images), expect_folder(root, labels)
    ends = (image_end,) if isinstance(image_end, str) else image_end
    pictures = []
    for path in files_below(folder):
        end = next((end for end in ends if path.name.lower().endswith(end.lower())), None)
        if end is None:
            continue
        name = path.relative_to(folder).as_posix()[:-len(end)]
        pictures.append(Picture(name, path, label_folder / f"{name}{label_end}"))
    return found(pictures, f"{folder} (*{' *'.join(ends)})")


def found(pictures, place: object) -> tuple[Picture, ...]:
    """Return the pictures, or say what is missing: any at all, or the first one's files."""
    pictures = tuple(pictures)
    if not pictures:
        raise DatasetError(f"'{place}' names no image; see docs/reproducing.md for the layout")
    for path in (pictures[0].image, pictures[0].labels):
        if not path.is_file():
            raise DatasetError(f"'{path}' does not exist; see docs/reproducing.md for the layout")
    return pictures


def expect_folder(root: Path, relative: str) -> Path:
    """Return a folder of the layout.

    Raises:
        DatasetError: it does not exist.
    """
    if not (root / relative).is_dir():
        raise DatasetError(f"folder '{root / relative}' does not exist; give as --data-root the "
                           f"folder that holds {relative}")
    return root / relative


def expect_file(root: Path, relative: str) -> Path:
    """Return a file of the layout.

    Raises:
        DatasetError: it does not exist.
    """
    if not (root / relative).is_file():
        raise DatasetError(f"file '{root / relative}' does not exist; give as --data-root the "
                           f"folder that holds {relative}")
    return root / relative


def read_rgb(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: it is missing or no image.
    """
    try:
        return read_image(path)
    except ImageFileError as error:
        raise DatasetError(str(error)) from error


def read_ids(path: Path) -> np.ndarray:
    """Read the stored values of a label image: (H, W) uint8 or uint16.

    Raises:
        DatasetError: it is missing, no image, or has several channels.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(image)  # of a palette image the indices, which OpenCV cannot give
    except OSError as error:
        raise DatasetError(f"'{path}' is missing or no readable image; copy it again") from error
    if values.ndim != 2:
        raise DatasetError(f"'{path}' has {values.shape[2]} channels; labels are images of one "
                           "channel, whose values are class ids")
    return values if values.dtype == np.uint8 else values.astype(np.uint16)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} pixels"
