"""Photographs as training images, with masks from wherever the user has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from sclip_research.training.loftup.mask_files import (
    CocoMasks,
    ComputedMasks,
    FolderMasks,
    mask_file,
)
from sclip_research.training.loftup.masks import LARGEST_FIRST, MaskError
from sclip_research.training.loftup.views import random_view
from sclip_seg_ros.io.images import SUFFIXES, images_below, read_image

LabelMap = Callable[[Path, np.ndarray], np.ndarray]


class Photographs:
    """Random squares of photographs and of their label maps."""

    def __init__(self, paths: Sequence[Path], label_map: LabelMap | None,
                 smallest: float = 0.5) -> None:
        """Join images with what gives their masks.

        Args:
            paths: of the images.
            label_map: path and pixels (H, W, 3) RGB to label map (H, W); None where only views
                are wanted.
            smallest: side of the smallest crop as a share of the image's short side.

        Raises:
            ValueError: no images, or a share outside 0..1.
        """
        if not paths:
            raise ValueError("there are no images to train on; give a folder that holds some "
                             f"({', '.join(SUFFIXES)})")
        if not 0 < smallest <= 1:
            raise ValueError(f"smallest crop of {smallest} is out of range; give more than 0, at "
                             "most 1")
        self._paths, self._label_map, self._smallest = list(paths), label_map, smallest

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self._paths)

    def crop(self, index: int, side: int,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random square, mirrored half of the time, and its label map.

        Raises:
            MaskError: masks that do not fit the image, by name.
            ImageFileError: an image that cannot be read.
        """
        assert self._label_map is not None, "opened without masks"
        path = self._paths[index]
        image = read_image(path, upright=False)  # masks belong to the pixels as stored
        try:
            labels = self._label_map(path, image)
        except MaskError as error:
            raise MaskError(f"'{path}': {error}") from error
        extent = round(min(image.shape[:2]) * rng.uniform(self._smallest, 1.0))
        top, left = (int(rng.integers(0, length - extent + 1)) for length in image.shape[:2])
        area = (slice(top, top + extent), slice(left, left + extent))
        shrinking = cv2.INTER_AREA if extent > side else cv2.INTER_LINEAR
        image = cv2.resize(np.ascontiguousarray(image[area]), (side, side),
                           interpolation=shrinking)
        labels = cv2.resize(np.ascontiguousarray(labels[area]), (side, side),
                            interpolation=cv2.INTER_NEAREST)
        return (image[:, ::-1], labels[:, ::-1]) if rng.random() < 0.5 else (image, labels)

    def view(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return a random part of a photograph, upright, of a size.

        Raises:
            ImageFileError: an image that cannot be read.
        """
        return random_view(read_image(self._paths[index]), size, self._smallest, rng)


def open_unlabelled(images: Path, smallest: float = 0.5) -> Photographs:
    """Open a folder of images for their views alone.

    Args:
        images: folder, searched below too.
        smallest: see :class:`Photographs`.

    Raises:
        ValueError: no images.
    """
    return Photographs(_images(images), None, smallest)


def open_photographs(images: Path, masks: str, order: str = LARGEST_FIRST,
                     smallest: float = 0.5) -> Photographs:
    """Open a folder of images and the masks that belong to them.

    Args:
        images: folder, searched below too.
        masks: one of

            - a folder with, for ``a/b.jpg``, either ``a/b.png`` (values or colours are masks, 0 is
              none), or the folder ``a/b/`` of PNG pictures, one a mask, or ``a/b.json`` (a list of
              RLEs, or SA-1B's ``{"annotations": [{"segmentation": RLE}, ...]}``);
            - a COCO annotation file (JSON) whose segmentations are RLEs or polygons, and whose
              file names are paths below the images' folder, or the ends of these;
            - ``module:function``, which takes an image (H, W, 3) uint8 RGB and returns boolean
              masks (H, W).
        order: see :func:`~sclip_research.training.loftup.masks.paint`.
        smallest: see :class:`Photographs`.

    Raises:
        MaskError: images without masks, all at once before anything starts.
        ValueError: no images, or no such masks.
    """
    paths = _images(images)
    where = Path(masks)
    if where.is_dir():
        _refuse_without(paths, lambda path: mask_file(where, path.relative_to(images)), masks)
        return Photographs(paths, FolderMasks(images, where, order), smallest)
    if where.suffix == ".json":
        labels = CocoMasks(where, images, paths, order)
        _refuse_without(paths, labels.__contains__, masks)
        return Photographs(paths, labels, smallest)
    return Photographs(paths, ComputedMasks(masks, order), smallest)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"images '{folder}' is not a folder; give the folder of the photographs")
    return list(images_below(folder))


def _refuse_without(paths: Sequence[Path], has: Callable[[Path], object], masks: str) -> None:
    """Name the images that have no masks."""
    missing = [path for path in paths if not has(path)]
    if missing:
        shown = ", ".join(f"'{path.name}'" for path in missing[:3])
        raise MaskError(f"{len(missing)} of {len(paths)} images have no masks in '{masks}' "
                        f"({shown}{', ...' if len(missing) > 3 else ''}); make masks for them, or "
                        "move the images away")
