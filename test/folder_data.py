"""A data set of noise in the layout that `sclip-benchmark --dataset folder` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_folder_data(root: Path, images: int, classes: Sequence[str], cell: int = 16) -> Path:
    """Lay out noisy pictures of 3 x 4 cells, each cell of one class; return their folder.

    Args:
        root: an existing folder, to be filled.
        images: how many pictures.
        classes: the lines of classes.txt.
        cell: side of a cell in pixels.
    """
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for index in range(images):
        pixels = rng.integers(0, 256, (3 * cell, 4 * cell, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"images/{index}.png")
        cells = rng.integers(0, len(classes), (3, 4))
        labels = np.kron(cells, np.ones((cell, cell))).astype(np.uint8)
        labels[0, :5] = 255  # of no class: not to be judged
        Image.fromarray(labels).save(root / f"labels/{index}.png")
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root
