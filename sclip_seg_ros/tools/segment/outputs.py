"""Write what the segmentor says about an image or a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.result import unlabelled_share
from sclip_seg_ros.segmentation.text.palette import lookup_table

IMAGE_RESULTS = (".label.png", ".confidence.png", ".overlay.png")


def beside(target: Path, ending: str) -> Path:
    """Return a result's path, e.g. ``photo.label.png``."""
    return target.with_name(target.name + ending)


def write_image_results(target: Path, overlay: np.ndarray, result: SegmentationResult,
                        about: Mapping[str, Any]) -> None:
    """Write label image, confidence, overlay and statistics of one image.

    Args:
        target: path without an ending; its folder is made.
        overlay: (H, W, 3) uint8 RGB.
        result: of the segmentor.
        about: what to say besides in the JSON file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    labels = Image.fromarray(result.labels)
    labels.putpalette(lookup_table(result.vocabulary.colours).tobytes())
    pictures = (labels, Image.fromarray(result.confidence), Image.fromarray(overlay))
    for ending, picture in zip(IMAGE_RESULTS, pictures, strict=True):
        picture.save(beside(target, ending))
    height, width = result.labels.shape
    write_json(beside(target, ".json"), {
        **about, "width": width, "height": height,
        **statistics(result.vocabulary, result.coverage, result.mean_confidence),
        "stage_ms": {stage: round(value, 3) for stage, value in result.stage_ms.items()}})


def read_labels(target: Path) -> np.ndarray | None:
    """Read the label image of one image again, (H, W) uint8; None where there is none."""
    path = beside(target, IMAGE_RESULTS[0])
    if not path.is_file():
        return None
    with Image.open(path) as labels:
        return np.asarray(labels)


def statistics(vocabulary: Vocabulary, coverage: np.ndarray,
               mean_confidence: np.ndarray) -> dict[str, Any]:
    """Describe every class: id, name, colour, share of the pixels, mean probability of those."""
    classes = [{"id": index, "name": name, "colour": vocabulary.colours[index].tolist(),
                "coverage": round(float(coverage[index]), 6),
                "mean_confidence": round(float(mean_confidence[index]), 6)}
               for index, name in enumerate(vocabulary.names)]
    return {"classes": classes, "unlabelled_coverage": round(unlabelled_share(coverage), 6)}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as indented JSON; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json_of(content))


def json_of(content: Mapping[str, Any]) -> bytes:
    """Return an object as indented JSON."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
