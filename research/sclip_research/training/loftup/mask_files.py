"""Where an image's masks come from: files, a COCO annotation file, or a function of the user's."""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from sclip_research.training.loftup.masks import MaskError, decode_rle, from_indices, paint
from sclip_seg_ros.common.text import shortened

MaskFunction = Callable[[np.ndarray], Sequence[np.ndarray]]


class FolderMasks:
    """Masks in files beside the images, or in a folder like theirs."""

    def __init__(self, images: Path, masks: Path, order: str) -> None:
        """Remember the two folders and the painting order."""
        self._images, self._masks, self._order = images, masks, order

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        """Read one image's label map."""
        found, size = mask_file(self._masks, path.relative_to(self._images)), image.shape[:2]
        if found is None:
            raise MaskError(f"there are no masks for it in '{self._masks}'; make some")
        if found.is_dir():
            pictures = [_read_mask(file) for file in sorted(found.glob("*.png"))]
            flat = [x.any(axis=2) if x.ndim == 3 else x != 0 for x in pictures]
            return paint(flat, size, self._order)
        if found.suffix == ".json":
            return paint([_segment(item, size) for item in _segments(found)], size, self._order)
        return from_indices(_read_mask(found), size)


class CocoMasks:
    """Masks of one COCO annotation file, by the images' paths."""

    def __init__(self, path: Path, images: Path, paths: Sequence[Path], order: str) -> None:
        """Read the file and find each image's entry.

        Raises:
            MaskError: no COCO annotations, or several that may be meant for an image.
        """
        self._order = order
        try:
            coco = json.loads(path.read_text(encoding="utf-8"))
            names = {entry["id"]: PurePosixPath(entry["file_name"]) for entry in coco["images"]}
            segments: dict[object, list] = {key: [] for key in names}
            for entry in coco["annotations"]:
                segments[entry["image_id"]].append(entry["segmentation"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MaskError(f"'{path}' holds no COCO annotations ({error!r}); give a file with "
                            "'images' and 'annotations'") from error
        try:
            self._segments = {image: segments[key]
                              for image, key in _entries(images, paths, names).items()}
        except MaskError as error:
            raise MaskError(f"'{path}': {error}") from error

    def __contains__(self, path: Path) -> bool:
        """Tell whether the file knows an image."""
        return path in self._segments

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        """Paint one image's label map."""
        size = image.shape[:2]
        return paint([_segment(item, size) for item in self._segments[path]], size, self._order)


class ComputedMasks:
    """Masks of a function that the user names, such as one that runs SAM."""

    def __init__(self, name: str, order: str) -> None:
        """Import ``module:function``.

        Raises:
            ValueError: there is no such function.
        """
        module, _, function = name.partition(":")
        try:
            self._function: MaskFunction = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"masks '{name}' are neither a folder, nor a JSON file, nor "
                             f"module:function ({error}); give one of these") from error
        self._name, self._order = name, order

    def __reduce__(self) -> tuple:
        """Let another process import the function anew."""
        return ComputedMasks, (self._name, self._order)

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        """Compute one image's label map."""
        return paint(list(self._function(image)), image.shape[:2], self._order)


def mask_file(masks: Path, relative: Path) -> Path | None:
    """Return the file, or folder of files, with an image's masks."""
    stem = masks / relative.with_suffix("")
    candidates = (stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".json"))
    return next((file for file in candidates if file.is_file()), stem if stem.is_dir() else None)


def _entries(images: Path, paths: Sequence[Path],
             names: Mapping[object, PurePosixPath]) -> dict[Path, object]:
    """Pair images with the entries of a COCO file.

    Entry and image belong together when they have the same path below the images' folder, or
    when one of the two paths is the end of the other: annotation files name folders that are not
    there, or leave out such that are.

    Raises:
        MaskError: an image with two entries, or an entry with two images.
    """
    by_name: dict[str, list[object]] = defaultdict(list)
    for key, name in names.items():
        by_name[name.name].append(key)
    pairs: dict[Path, object] = {}
    owners: dict[object, Path] = {}
    for path in paths:
        place = path.relative_to(images).parts
        fitting = [key for key in by_name[path.name] if _ends_alike(names[key].parts, place)]
        exact = [key for key in fitting if names[key].parts == place]
        fitting = exact or fitting
        if len(fitting) > 1:
            raise MaskError(f"'{names[fitting[0]]}' and '{names[fitting[1]]}' may both mean "
                            f"'{path}'; write paths relative to '{images}'")
        for key in fitting:
            if key in owners:
                raise MaskError(f"'{names[key]}' may mean '{owners[key]}' and '{path}'; write "
                                f"paths relative to '{images}'")
            pairs[path], owners[key] = key, path
    return pairs


def _ends_alike(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Tell whether one of two paths is the end of the other."""
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]


def _read_mask(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise MaskError(f"mask '{path}' cannot be read; copy it again")
    return picture[..., :3] if picture.ndim == 3 else picture  # opacity is not a mask


def _segments(path: Path) -> list:
    """Read the segmentations of one image from its own JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [entry["segmentation"] for entry in content["annotations"]] \
            if isinstance(content, dict) else list(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MaskError(f"'{path}' holds no list of RLE masks ({error!r}); write them again") \
            from error


def _segment(item: object, size: tuple[int, int]) -> np.ndarray:
    """Turn one COCO segmentation, RLE or polygons, into a mask."""
    if isinstance(item, dict):
        return decode_rle(item)
    mask = np.zeros(size, np.uint8)
    try:
        polygons = [np.asarray(ring, np.float32).reshape(-1, 2) for ring in item]
    except (TypeError, ValueError) as error:
        raise MaskError(f"segmentation {shortened(item, 60)} is neither an RLE nor polygons; write "
                        "{'size': [height, width], 'counts': ...} or lists of x, y, x, y, ...") \
            from error
    cv2.fillPoly(mask, [np.round(ring).astype(np.int32) for ring in polygons], 1)
    return mask.astype(bool)
