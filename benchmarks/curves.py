"""How time and memory grow with the image, the number of classes and the number of cameras."""

from __future__ import annotations

from typing import Any

from benchmarks.configurations import VGA, Configuration, Model, image
from benchmarks.measuring import own

SIZES = ((240, 320), VGA, (720, 1280), (1080, 1920), (1440, 2560))
CLASSES = (2, 8, 20, 50, 100, 150)
CAMERAS = (1, 2, 4)


def curves(model: Model, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Measure the pipeline along each axis, the others at 480x640, 20 classes and one camera."""
    segmentor, twenty = model.fast, model.words(20)
    segmentor.settings = Configuration().settings(segmentor.precision)
    picture = image(*VGA)
    return {
        "area": [{"size": list(size), "pixels": size[0] * size[1],
                  **own(segmentor, [image(*size)], twenty, rounds)} for size in SIZES],
        "classes": [{"classes": count,
                     **own(segmentor, [picture], model.words(count), rounds)}
                    for count in CLASSES],
        "cameras": [{"cameras": count, **own(segmentor, [picture] * count, twenty, rounds)}
                    for count in CAMERAS],
    }
