"""Class-agnostic masks: what they look like, and how overlapping ones share an image.

A label map (H, W) int32 names the mask that owns each pixel, 1..M, and 0 where none lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

LARGEST_FIRST = "largest-first"
AS_LISTED = "as-listed"
ORDERS = (LARGEST_FIRST, AS_LISTED)


class MaskError(ValueError):
    """Masks and images do not match, or a mask cannot be read; the message says which."""


def paint(masks: Sequence[np.ndarray] | np.ndarray, size: tuple[int, int],
          order: str = LARGEST_FIRST) -> np.ndarray:
    """Lay masks over each other; a pixel belongs to the last one that covers it.

    Args:
        masks: M boolean masks (H, W).
        size: (H, W) of the image.
        order: "largest-first" paints by descending area, so that a part keeps its own mask and
            the whole gets the rest (equal areas in the order given); "as-listed" trusts the list.

    Returns:
        Label map; numbers follow the painting.

    Raises:
        MaskError: a mask of another size.
        ValueError: an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"order='{order}' is unknown; choose one of {', '.join(ORDERS)}")
    for mask in masks:
        if np.shape(mask) != tuple(size):
            raise MaskError(f"a mask of {_extent(np.shape(mask))} pixels lies on an image of "
                            f"{_extent(size)}; make the masks from the same images")
    masks = [np.asarray(mask, bool) for mask in masks]
    if order == LARGEST_FIRST:
        masks.sort(key=lambda mask: -int(mask.sum()))
    labels = np.zeros(size, np.int32)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels


def from_indices(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turn a picture whose values are masks into a label map.

    Args:
        picture: (H, W) integer ids or (H, W, C) colours; 0, or black, is not a mask.
        size: (H, W) of the image.

    Raises:
        MaskError: another size.
    """
    if picture.shape[:2] != tuple(size):
        raise MaskError(f"a mask picture of {_extent(picture.shape[:2])} pixels lies on an image "
                        f"of {_extent(size)}; make the masks from the same images")
    if picture.ndim == 3:
        picture = picture.astype(np.int64) @ (256 ** np.arange(picture.shape[2]))
    values, labels = np.unique(picture, return_inverse=True)
    return (labels.reshape(size) + (values[0] != 0)).astype(np.int32)


def decode_rle(rle: Mapping[str, object]) -> np.ndarray:
    """Decode COCO's run-length encoding, compressed (text) or not (list of runs).

    Runs alternate between outside and inside, down the columns. A compressed run is written in
    digits of 5 bits, lowest first, each with a flag for "more" and an offset of 48; from the
    fourth on, runs are differences from the one two before (pycocotools, maskApi).

    Args:
        rle: ``{"size": [height, width], "counts": ...}``.

    Returns:
        (H, W) bool.

    Raises:
        MaskError: runs that do not fill the size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = list(counts) if isinstance(counts, (list, tuple)) else _runs(counts)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MaskError(f"an RLE mask cannot be decoded ({error!r}); give COCO's "
                        "{'size': [height, width], 'counts': ...}") from error
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise MaskError(f"an RLE mask's runs cover {sum(runs)} pixels, its size {width}x{height} "
                        f"has {height * width}; write the masks again")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _runs(counts: object) -> list[int]:
    """Decode compressed runs."""
    text = counts if isinstance(counts, bytes) else str(counts).encode("ascii")
    runs: list[int] = []
    for value in _numbers(text):
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def _numbers(text: bytes) -> Iterable[int]:
    """Yield the signed numbers of a compressed encoding."""
    value = shift = 0
    for byte in text:
        digit = byte - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            yield value - (1 << shift) if digit & 0x10 else value
            value = shift = 0
    if shift:
        raise ValueError("the last run is cut short")


def _extent(size: Sequence[int]) -> str:
    """Spell (H, W) as people do."""
    return "x".join(str(side) for side in reversed(tuple(size)))
