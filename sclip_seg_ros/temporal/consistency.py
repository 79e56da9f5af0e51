"""How steady labels are along the motion of what they label.

Motion is given as ``following`` (H, W): for each pixel of a frame the flat index of the pixel in
the next frame that shows the same point, -1 where that is hidden or outside the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.temporal.flow import follow

NEAR = 1          # pixels: both ends of a motion are rounded by up to half a pixel
ROUND_TRIP = 1.5  # pixels by which a flow there and back may miss its start


class Consistency:
    """Temporal consistency and flips, gathered over pairs of consecutive frames.

    Temporal consistency (TC; Liu et al., "Efficient semantic video segmentation with per-frame
    inference", ECCV 2020, section 4.1) is the mean IoU between a label image and the next one
    brought back along the motion, over the classes that occur in it. Hidden pixels are left out.
    Flips are the share of pixels whose label is found nowhere within NEAR of where they moved to,
    while their true label, where it is known, stays the same. Motion is known to whole pixels:
    without that margin an outline that stands still beside the true one flips as the rounding does.

    Attributes:
        pairs: (C + 1, C + 1), pixels by their label and the next one; the last is "unlabelled".
        counted: pixels whose true label stays.
        flipped: those whose label does not.
        changed: the same without a margin, at the very pixel that they moved to.
    """

    def __init__(self, classes: int) -> None:
        """Start empty; unlabelled pixels are a class of their own."""
        self.pairs = np.zeros((classes + 1, classes + 1), np.int64)
        self.counted = self.flipped = self.changed = 0

    def add(self, labels: np.ndarray, next_labels: np.ndarray, following: np.ndarray,
            truth: np.ndarray | None = None, next_truth: np.ndarray | None = None) -> None:
        """Count one pair of frames.

        Args:
            labels: (h, w) uint8; of all pixels, or of some of them.
            next_labels: (H, W) uint8, of all pixels.
            following: (h, w) of the pixels of ``labels``, see the module.
            truth, next_truth: the true labels of both, or None where they are unknown; pixels
                that are 255 in one of them do not count as flips.
        """
        seen = following >= 0
        place = following[seen]
        classes = len(self.pairs) - 1
        before = np.minimum(labels[seen], classes).astype(np.int64)
        after = np.minimum(next_labels.ravel()[place], classes)
        self.pairs += np.bincount(before * (classes + 1) + after,
                                   minlength=self.pairs.size).reshape(self.pairs.shape)
        counted = np.ones(len(place), bool)
        if truth is not None and next_truth is not None:
            was, now = truth[seen], next_truth.ravel()[place]
            counted = (was == now) & (was != UNLABELLED)
        changed = np.flatnonzero(counted & (before != after))
        self.counted += int(counted.sum())
        self.changed += len(changed)
        self.flipped += int((~_near(before[changed], next_labels, place[changed], classes)).sum())

    @property
    def tc(self) -> float | None:
        """Temporal consistency, 0..1; None without pixels."""
        both = np.diag(self.pairs)
        either = self.pairs.sum(0) + self.pairs.sum(1) - both
        occurring = self.pairs.sum(1) > 0
        return float((both / np.maximum(either, 1))[occurring].mean()) if occurring.any() else None

    @property
    def flips(self) -> float | None:
        """Share of pixels whose label is lost though the true one stays, 0..1; None without any."""
        return self.flipped / self.counted if self.counted else None


def _near(labels: np.ndarray, next_labels: np.ndarray, place: np.ndarray,
          unlabelled: int) -> np.ndarray:
    """Tell of labels (n,) whether they are found near their flat places in (H, W), (n,) bool."""
    height, width = next_labels.shape
    rows, columns = np.divmod(place, width)
    found = np.zeros(len(place), bool)
    for down in range(-NEAR, NEAR + 1):
        for across in range(-NEAR, NEAR + 1):
            there = next_labels[np.clip(rows + down, 0, height - 1),
                                np.clip(columns + across, 0, width - 1)]
            found |= np.minimum(there, unlabelled) == labels
    return found


def measure_following(image: np.ndarray, next_image: np.ndarray) -> np.ndarray:
    """Measure the motion between two frames (H, W, 3) uint8 RGB by optical flow.

    Pixels whose flow forth and back does not lead to where they started are taken for hidden.

    Returns:
        (H, W) int64, see the module.
    """
    grey, next_grey = (cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) for pixels in (image, next_image))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward, backward = dis.calc(grey, next_grey, None), dis.calc(next_grey, grey, None)
    height, width = grey.shape
    rows, columns = np.indices((height, width))
    column = np.rint(columns + forward[..., 0]).astype(np.int64)
    row = np.rint(rows + forward[..., 1]).astype(np.int64)
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen &= np.linalg.norm(forward + follow(backward, forward), axis=-1) <= ROUND_TRIP
    return np.where(seen, row * width + column, -1)
