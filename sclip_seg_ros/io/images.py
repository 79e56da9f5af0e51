"""Image files: which ones names stand for, and their pixels."""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sclip_seg_ros.io.compression import PNG_START, TIFF_STARTS, decompress
from sclip_seg_ros.io.file_kinds import PHOTOS, found_instead, is_no_file
from sclip_seg_ros.io.files import files_below, is_mac_note
from sclip_seg_ros.io.layouts import ImageError

SUFFIXES = PHOTOS
_HEAD = 65536  # bytes in which an animation says that it is one
_WEBP_ANIMATION = 0x02  # of the flags behind VP8X


class ImageFileError(ValueError):
    """There is no such image, or it cannot be read; the message names file and remedy."""


def find_images(names: Sequence[str | Path]) -> list[Path]:
    """Return the images that files, folders and globs name, each once, sorted within a name.

    Raises:
        ImageFileError: a name without images.
    """
    return list(dict.fromkeys(path for name in names for path in _expand(str(name))))


def images_below(folder: Path) -> list[Path]:
    """Return all images in a folder and in those below it, sorted.

    Raises:
        OSError: a folder cannot be read.
    """
    return list(filter(is_image, files_below(folder)))


def is_image(path: Path) -> bool:
    """Tell an image file, or a link that should lead to one, by its ending in any letters."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir() and not is_no_file(path) \
        and not is_mac_note(path)


def read_image(path: str | Path, upright: bool = True) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB.

    The decoder is OpenCV's, which mmsegmentation reads with too: JPEG decoders differ by a grey
    level.

    Args:
        path: of the file.
        upright: turn the image as its orientation tag says. Labels that were made for the pixels
            as they are stored need False.

    Raises:
        ImageFileError: it is missing, cut short or no image.
    """
    try:
        return decompress(Path(path).read_bytes(), upright)
    except OSError as error:
        raise ImageFileError(f"image '{path}' cannot be read ({error.strerror}); check its "
                             "path") from error
    except ImageError as error:
        instead = found_instead(Path(path), "photo")
        raise ImageFileError(
            f"image '{path}' cannot be read ({instead})" if instead else
            f"image '{path}' cannot be read ({error}); copy it again, or convert it to JPEG or "
            "PNG") from error


def holds_more(path: Path) -> bool:
    """Tell an animation or a TIFF file of several pages, of which the first picture alone is read.

    Raises:
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X":
            return bool(head[20] & _WEBP_ANIMATION)
        if head.startswith(PNG_START):
            return b"acTL" in head.partition(b"IDAT")[0]
        if not head.startswith(TIFF_STARTS):
            return False
        order = "<" if head.startswith(b"II") else ">"
        try:
            file.seek(struct.unpack_from(f"{order}I", head, 4)[0])
            entries, = struct.unpack(f"{order}H", file.read(2))
            file.seek(12 * entries, os.SEEK_CUR)
            return any(file.read(4))  # where the next page's description begins
        except struct.error:  # cut short
            return False


def _expand(name: str) -> Iterator[Path]:
    """Yield the images that one name stands for."""
    path = Path(name)
    candidates: Iterable[Path]
    if path.is_dir():
        candidates, problem = files_below(path), "is a folder without images"
    elif not path.exists() and glob.has_magic(name):
        candidates, problem = map(Path, glob.glob(name, recursive=True)), "matches no image"
    else:
        candidates = [path] if path.exists() else []
        problem = "is not an image" if candidates else "does not exist"
    found = sorted(filter(is_image, candidates))
    if not found:
        raise ImageFileError(f"'{name}' {problem}; name images ({' '.join(SUFFIXES)}), folders or "
                             "globs")
    yield from found
