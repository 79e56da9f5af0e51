"""How the semantic cloud is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sclip_seg_ros.geometry.cloud import Thinning
from sclip_seg_ros.segmentation import Vocabulary

_NOT = "-"  # before a class that is left out


@dataclass(frozen=True)
class PointOptions:
    """What the parameters ``points.…`` say, checked.

    Attributes:
        tolerance: nanoseconds between an image and its depth, at most.
        thinning: which points are kept.
        classes: names of classes whose points are kept, or with "-" before it, left out.
        class_colours: whether points have their class's colour, not the camera's.
    """

    tolerance: int = 20_000_000
    thinning: Thinning = field(default_factory=Thinning)
    classes: tuple[str, ...] = ()
    class_colours: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PointOptions:
        """Take them from parsed values of all parameters.

        Raises:
            ValueError: values that do not go together.
        """
        organised = values["points.invalid"] == "keep"
        voxel = values["points.voxel"]
        if organised and voxel:
            raise ValueError(f"points.voxel={voxel:g} leaves no rows of points, which "
                             "points.invalid='keep' has; set points.voxel to 0, or "
                             "points.invalid to 'drop'")
        return cls(round(values["points.tolerance_ms"] * 1e6),
                   Thinning(values["points.stride"], voxel, organised), values["points.classes"],
                   values["points.colours"] == "classes")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes named, kept or left out."""
        return tuple(name.removeprefix(_NOT) for name in self.classes)

    def table(self, vocabulary: Vocabulary) -> np.ndarray | None:
        """Return (256,) uint8, 1 for published labels whose points are kept; None for all.

        Where classes to keep are named, pixels without a class are left out; else they stay.
        """
        if not self.classes:
            return None
        kept = [name for name in self.classes if not name.startswith(_NOT)]
        out = [name.removeprefix(_NOT) for name in self.classes if name.startswith(_NOT)]
        table = np.zeros(256, np.uint8) if kept else np.ones(256, np.uint8)
        for value, name in zip(vocabulary.class_ids, vocabulary.names, strict=True):
            table[value] = (not kept or name in kept) and name not in out
        return table
