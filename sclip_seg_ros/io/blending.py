"""Class colours over an image, with white outlines: on the device that holds it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.palette import lookup_table

_OUTLINE_SHARE = 1 / 480  # thickness of the outlines in image heights; none in tiny images
_OUTLINE_WHITE = 0.7      # share of white in them


def blend(image: np.ndarray | Tensor, labels: np.ndarray | Tensor, colours: np.ndarray,
          alpha: float) -> np.ndarray:
    """Mix class colours into an image; pixels without a class keep the image's colour.

    White outlines tell neighbours of similar colours apart. Tensors on a GPU are mixed there, and
    only the picture comes back; it differs from OpenCV's by one grey level at most.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids, 255 = unlabelled, where the image is.
        colours: (C, 3) uint8 RGB.
        alpha: share of the colours, 0..1.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    thickness, white = outline(len(image), alpha)
    if isinstance(image, Tensor) and image.device.type != "cpu":
        return blend_tensors(image, labels, colours, alpha, thickness, white).cpu().numpy()
    return _blend_arrays(np.asarray(image), np.asarray(labels), colours, alpha, thickness, white)


def outline(height: int, alpha: float) -> tuple[int, float]:
    """Return thickness in pixels and share of white of the outlines in an image so high."""
    return int(height * _OUTLINE_SHARE + 0.5), min(1.0, 2 * alpha) * _OUTLINE_WHITE


def _blend_arrays(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float,
                  thickness: int, white: float) -> np.ndarray:
    painted = cv2.applyColorMap(labels, lookup_table(colours)[:, None])  # far faster than take
    blended = cv2.addWeighted(painted, alpha, image, 1.0 - alpha, 0.0)
    unlabelled = cv2.compare(labels, UNLABELLED, cv2.CMP_EQ)
    cv2.copyTo(np.ascontiguousarray(image), unlabelled, blended)
    if thickness and white:
        kernel = np.ones((thickness + 1, thickness + 1), np.uint8)
        edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, kernel)
        whitened = cv2.convertScaleAbs(blended, alpha=1.0 - white, beta=255 * white)
        cv2.copyTo(whitened, edges, blended)
    return blended


def blend_tensors(image: Tensor, labels: Tensor, colours: np.ndarray, alpha: float,
                  thickness: int, white: float) -> Tensor:
    """Do the same in torch: (H, W, 3) uint8 on the image's device.

    Args:
        image, labels, colours, alpha: as for :func:`blend`.
        thickness: of the outlines, pixels.
        white: share of white in them.
    """
    shares = torch.full((256, 1), alpha)
    shares[UNLABELLED] = 0.0
    table = torch.cat((torch.from_numpy(lookup_table(colours)) * shares, 1.0 - shares), dim=1)
    mixture = table.to(image.device)[labels.int()]  # the colour's part, and the image's share
    blended = image * mixture[..., 3:] + mixture[..., :3]
    if thickness and white:
        blended = torch.where(_edges(labels, thickness)[..., None],
                              blended * (1.0 - white) + 255 * white, blended)
    return blended.round().to(torch.uint8)


def _edges(labels: Tensor, thickness: int) -> Tensor:
    """Return (H, W) bool, true where labels differ in a square one wider than ``thickness``."""
    size = thickness + 1
    before, after = size // 2, size - 1 - size // 2  # as OpenCV anchors a kernel of even size
    padded = pad(labels[None, None].float(), (before, after, before, after), mode="replicate")
    highest, lowest = (sign * max_pool2d(sign * padded, size, stride=1) for sign in (1, -1))
    return (highest != lowest)[0, 0]
