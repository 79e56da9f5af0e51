"""Labels as training data, for a network of one's own: MaskCLIP+'s pseudo-labels.

Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022: what CLIP says about unlabelled
pictures trains a network that is faster or better. The folder is laid out as `sclip-benchmark
--dataset folder` reads it, with a plane of weights besides:

    images/<name>.jpg    labels/<name>.png    weights/<name>.png    classes.txt    training.json
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.palette import lookup_table
from sclip_seg_ros.segmentation.text.vocabulary import VocabularyClass, validate_classes
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.segment.outputs import write_json

FOLDER = "training"  # in the output of the program
_CLASSES = "classes.txt"
_ORIENTATION, _UPRIGHT = 0x0112, 1


class TrainingExport:
    """A folder of pictures with labels and confidence.

    Attributes:
        folder: of the export.
        least: probability below which a pixel is not labelled.
    """

    def __init__(self, folder: Path, least: float, vocabulary: Vocabulary) -> None:
        """Begin, with the list of classes."""
        self.folder = folder
        self.least = least
        self._vocabulary = vocabulary
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _CLASSES).write_text(_lines(vocabulary.classes), encoding="utf-8")

    def write(self, source: Path, name: Path, image: np.ndarray,
              result: SegmentationResult) -> None:
        """Add one picture.

        Args:
            source: its file, copied as it is unless its pixels are stored on their side.
            name: relative path without an ending.
            image: (H, W, 3) uint8 RGB as it was labelled.
            result: of the segmentor.
        """
        labels = np.where(result.confidence < 255.0 * self.least, np.uint8(UNLABELLED),
                          result.labels)
        coloured = Image.fromarray(labels)
        coloured.putpalette(lookup_table(self._vocabulary.colours).tobytes())
        for kind, plane in (("labels", coloured), ("weights", Image.fromarray(result.confidence))):
            plane.save(self._place(kind, name, ".png"))
        if _is_upright(source):
            shutil.copyfile(source, self._place("images", name, source.suffix.lower()))
        else:
            Image.fromarray(image).save(self._place("images", name, ".png"))

    def _place(self, kind: str, name: Path, ending: str) -> Path:
        path = self.folder / kind / name.parent / f"{name.name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def refuse_other_words(folder: Path, classes: Sequence[str]) -> None:
    """Refuse a folder whose labels are ids of other words, which would stand beside the new ones.

    Raises:
        UsageError: it is one.
        OSError: it cannot be read.
    """
    words = folder / _CLASSES
    if not words.is_file() or next((folder / "labels").rglob("*.png"), None) is None:
        return
    if words.read_text(encoding="utf-8", errors="replace") != _lines(validate_classes(classes)):
        raise UsageError(f"'{folder}' holds training data with other words, those of '{words}'; "
                         "their labels would lie beside the new ones: move the folder away, or "
                         "choose another --output")


def _lines(classes: Sequence[VocabularyClass]) -> str:
    """Return the text of a file of classes."""
    return "".join(f"{'|'.join(entry.synonyms)}\n" for entry in classes)


def write_summary(folder: Path, least: float, names: Sequence[str],
                  made_with: dict[str, Any]) -> None:
    """Say what all pictures of an export hold, those of earlier runs included.

    Args:
        folder: of the export.
        least: probability below which a pixel is not labelled.
        names: of the classes.
        made_with: what labels depend on.
    """
    pixels, labelled = 0, np.zeros(len(names), np.int64)
    weights = np.zeros(len(names))
    paths = sorted((folder / "labels").rglob("*.png"))
    for path in paths:
        labels = np.asarray(Image.open(path))
        trust = np.asarray(Image.open(folder / "weights" / path.relative_to(folder / "labels")))
        pixels += labels.size
        counts = np.bincount(labels.ravel(), minlength=UNLABELLED + 1)
        labelled += counts[:len(labelled)]
        weights += np.bincount(labels.ravel(), trust.ravel(),
                               UNLABELLED + 1)[:len(labelled)] / 255.0
    write_json(folder / "training.json", {
        "pictures": len(paths), "least_confidence": least,
        "labelled": round(float(labelled.sum()) / max(pixels, 1), 6),
        "classes": [{"id": index, "name": name, "pixels": int(count),
                     "mean_weight": round(float(weight) / max(int(count), 1), 6)}
                    for index, (name, count, weight) in enumerate(zip(
                        names, labelled, weights, strict=True))],
        "made_with": made_with})


def _is_upright(source: Path) -> bool:
    """Tell whether a file's pixels are stored as they are looked at."""
    with Image.open(source) as image:
        return image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
