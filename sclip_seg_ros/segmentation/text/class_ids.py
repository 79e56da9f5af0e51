"""The ids that consumers see: which value of a published label image stands for which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

UNLABELLED = 255  # in labels as they are computed, and by default in those that are published
_VALUES = 256     # of a label image


@dataclass(frozen=True)
class ClassIds:
    """Published values of classes and of pixels without one.

    Labels are computed as positions in the vocabulary, 255 for none. A consumer may want others:
    Nav2's semantic nodes keep 0 for pixels without a class.

    Attributes:
        values: of each class, in the vocabulary's order; there may be more of them.
        unlabelled: of a pixel without a class.
    """

    values: tuple[int, ...]
    unlabelled: int = UNLABELLED

    @classmethod
    def of(cls, count: int, values: Sequence[int] = (), unlabelled: int = UNLABELLED) -> ClassIds:
        """Check ids, or number classes.

        Args:
            count: of classes, at most 255.
            values: an id for each class; empty: the lowest that are free, in their order.
            unlabelled: of pixels without a class, 0 to 255.

        Raises:
            ValueError: as many ids as there are not classes, one out of range, given twice, or
                that of unlabelled pixels.
        """
        if not 0 <= unlabelled < _VALUES:
            raise ValueError(f"unlabelled_id={unlabelled} is out of range; give 0 to 255")
        if not values:
            free = [value for value in range(_VALUES) if value != unlabelled]
            return cls(tuple(free[:count]), unlabelled)
        if len(values) != count:
            raise ValueError(f"there are {count} classes and {len(values)} class_ids; give one id "
                             "for each class, in one call with the classes, or no ids at all")
        low, high = (1, _VALUES - 1) if unlabelled == 0 else (0, _VALUES - 1)
        for value in values:
            if value == unlabelled:
                raise ValueError(f"class_ids has {value}, which stands for pixels without a class; "
                                 "give another, or another unlabelled_id")
            if not low <= value <= high:
                raise ValueError(f"class_ids has {value}; give {low} to "
                                 f"{high - (unlabelled == high)}")
            if list(values).count(value) > 1:
                raise ValueError(f"class_ids has {value} twice; give each class an id of its own")
        return cls(tuple(values), unlabelled)

    @cached_property
    def table(self) -> np.ndarray:
        """(256,) uint8, from a label as it is computed to the published one."""
        table = np.full(_VALUES, self.unlabelled, np.uint8)
        table[:len(self.values)] = self.values
        return table

    def publish(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (H, W) uint8 with published values; the same array where all are equal."""
        if self.unlabelled == UNLABELLED and self.values == tuple(range(len(self.values))):
            return labels
        return cv2.LUT(labels, self.table)


POSITIONS = ClassIds(tuple(range(UNLABELLED)))  # published as they are computed
