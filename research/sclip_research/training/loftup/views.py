"""Random parts of pictures, of a camera's proportions; no masks are needed for them."""

from __future__ import annotations

import cv2
import numpy as np


def random_view(image: np.ndarray, size: tuple[int, int], smallest: float,
                rng: np.random.Generator) -> np.ndarray:
    """Cut a random part out of a picture, mirrored half of the time.

    Args:
        image: (H, W, 3) uint8.
        size: (rows, columns) wanted; the part has their proportions.
        smallest: of the part, as a share of the largest that the picture holds.

    Returns:
        (rows, columns, 3) uint8.
    """
    largest = min(image.shape[0] / size[0], image.shape[1] / size[1])
    scale = largest * rng.uniform(smallest, 1.0)
    extent = [max(1, min(round(side * scale), length))
              for side, length in zip(size, image.shape[:2], strict=True)]
    top, left = (int(rng.integers(0, length - part + 1))
                 for length, part in zip(image.shape[:2], extent, strict=True))
    part = np.ascontiguousarray(image[top:top + extent[0], left:left + extent[1]])
    resampling = cv2.INTER_AREA if extent[0] > size[0] else cv2.INTER_LINEAR
    part = cv2.resize(part, size[::-1], interpolation=resampling)
    return part[:, ::-1] if rng.random() < 0.5 else part
