"""Where the pixels of a frame came from: optical flow between small grey copies.

All flow here is backward: for every pixel of the newer frame, (x, y) in pixels from it to where the
same point was seen in the older frame. Flows of consecutive frames compose to the flow from any
earlier frame, so that scores are resampled once, however old they are.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

PIXELS = 320 * 240  # of the small copy, at most; a flow of more is slower, and no better for labels
BLUR = 5            # pixels, side of the box in which two copies are compared
SMALLEST = 12       # pixels along the longer side, below which OpenCV looks for no motion
STOP = 2.0          # factor by which a camera may change its exposure from frame to frame
LOOKALIKE = 15.0    # grey levels by which pixels differ that hardly show the same


def small_grey(image: np.ndarray) -> np.ndarray:
    """Shrink an RGB image (H, W, 3) uint8 to a grey copy (h, w) uint8 of at most PIXELS pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, (PIXELS / (height * width)) ** 0.5)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 0.5:  # of a large image not every pixel need be looked at: a third of the time
        image = cv2.resize(image, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA),
                        cv2.COLOR_RGB2GRAY)


class OpticalFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's, with its buffers kept."""

    def __init__(self) -> None:
        """Set up OpenCV's "fast" preset one scale finer, without its variational refinement.

        On rendered films that is worth 0.5 points of mIoU, and 1.4 of what moves by itself
        (benchmarks/results/temporal.md); the refinement would take as long again for nothing.
        """
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setFinestScale(1)
        self._dis.setVariationalRefinementIterations(0)

    def __call__(self, newer: np.ndarray, older: np.ndarray) -> np.ndarray:
        """Return the backward flow (h, w, 2) float32 between two grey copies (h, w) uint8."""
        if max(newer.shape) < SMALLEST:
            return np.zeros((*newer.shape, 2), np.float32)
        return self._dis.calc(newer, older, None)


def compose(newer: np.ndarray, older: np.ndarray) -> np.ndarray:
    """Return the flow over two steps.

    Args:
        newer: (h, w, 2) flow from now to a frame between.
        older: (h, w, 2) flow from that frame to an earlier one; what lies outside the picture
            moves as its rim does.
    """
    return newer + follow(older, newer)


def follow(plane: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return an older frame's plane (h, w, ...) as the newer one sees it, bilinearly.

    Outside the picture the plane goes on as at its rim.
    """
    return cv2.remap(plane, _pixels(flow.shape[:2]) + flow, None, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def agreement(newer: np.ndarray, older: np.ndarray, flow: np.ndarray,
              gate: float) -> np.ndarray:
    """Tell how well every pixel looks like where it came from: exp(-(difference / gate)^2).

    The difference is that of the grey levels in a box of BLUR pixels, so that noise counts little,
    and with the older picture brought to the newer one's exposure, so that a camera that changes
    it loses nothing.

    Args:
        newer, older: (h, w) uint8.
        flow: (h, w, 2), backward.
        gate: grey levels.

    Returns:
        (h, w) float32 in 0..1.
    """
    difference = cv2.absdiff(newer, exposed_as(newer, follow(older, flow)))
    return cv2.LUT(cv2.blur(difference, (BLUR, BLUR)), _gates(gate))


def resemblance(newer: np.ndarray, older: np.ndarray, flow: np.ndarray) -> float:
    """Return the mean agreement, 0..1, of two frames (h, w) uint8 that a backward flow links.

    It tells a cut: of rendered films it is above 0.85 even 4 frames apart, and across cuts between
    them at most 0.56. Every fourth pixel each way is looked at.
    """
    there = _pixels(newer.shape)[::4, ::4] + flow[::4, ::4]
    moved = cv2.remap(older, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    here = np.ascontiguousarray(newer[::4, ::4])
    difference = cv2.absdiff(here, exposed_as(here, moved)).astype(np.float32)
    return float(np.exp(-np.square(difference / LOOKALIKE)).mean())


def exposed_as(newer: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return a picture (h, w) uint8 with the exposure of another of the same scene.

    Exposure is the median ratio of their pixels: what moves, or is covered, is outvoted. Beyond
    STOP they do not show the same light, and in the dark anything would look like anything.
    """
    step = max(1, newer.shape[0] // 30)
    now, then = (picture[::step, ::step].astype(np.float32) + 1 for picture in (newer, moved))
    return cv2.convertScaleAbs(moved, alpha=float(np.clip(np.median(now / then), 1 / STOP, STOP)))


@lru_cache(maxsize=8)
def _gates(gate: float) -> np.ndarray:
    """Return the agreement of all differences, (256,) float32; do not write into it."""
    return np.exp(-np.square(np.arange(256, dtype=np.float32) / np.float32(gate)))


@lru_cache(maxsize=8)
def _pixels(shape: tuple[int, int]) -> np.ndarray:
    """Return the (x, y) of every pixel, (h, w, 2) float32; do not write into it."""
    rows, columns = np.indices(shape, dtype=np.float32)
    return np.stack([columns, rows], axis=-1)
