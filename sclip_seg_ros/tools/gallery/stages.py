"""What each stage does to the labels of one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.segmentation import Vocabulary
from sclip_seg_ros.tools.figures.configurations import PLAIN, Row
from sclip_seg_ros.tools.gallery.sheet import Tile

_ALONE = (PLAIN, "loftup", "resclip", "pamr", "densecrf")
_TOGETHER = ("all", "resclip+pamr+densecrf")  # the first that can run
SHOWN = (*_ALONE, *_TOGETHER)
_ALPHA = 0.6


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Choose the stages alone, and all that the model has together; those that can run."""
    able = {row.configuration.key: row for row in rows if row.pipeline}
    together = next((key for key in _TOGETHER if key in able), None)
    return [able[key] for key in (*_ALONE, together) if key in able]


def stage_tiles(rows: Sequence[Row], image: np.ndarray,
                vocabulary: Vocabulary) -> list[Tile]:
    """Segment the image with every row; say how many labels differ from the plain method's."""
    tiles, plain = [], None
    for row in shown_rows(rows):
        row.able.warm_up([image.shape[:2]], vocabulary)
        [result] = row.able.predict([image], vocabulary)
        note = f"{sum(result.stage_ms.values()):.0f} ms"
        if plain is None:
            plain = result.labels
        else:
            note = f"{(result.labels != plain).mean():.1%} of the labels changed, {note}"
        painted = overlay_of(image, result.labels, vocabulary, result.coverage, _ALPHA,
                             legend=row.configuration.key == PLAIN)
        tiles.append(Tile(painted, row.configuration.title, note))
    return tiles
