"""Small pictures for a page: image, labels and confidence as data URIs."""

from __future__ import annotations

import base64

import cv2
import numpy as np

WIDTH = 280          # pixels of a thumbnail
UNKNOWN = (96, 96, 96)  # where the truth counts nowhere or no label was given
JPEG_QUALITY = 82


def image_uri(image: np.ndarray) -> str:
    """Return a thumbnail of an RGB image (H, W, 3) uint8 as a JPEG."""
    return _uri(_shrunk(image, cv2.INTER_AREA), ".jpg",
                [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def labels_uri(labels: np.ndarray, colours: np.ndarray) -> str:
    """Return a thumbnail of ids (H, W) in the classes' colours (C, 3); other ids are grey."""
    table = np.full((256, 3), UNKNOWN, np.uint8)
    table[:len(colours)] = colours
    small = _shrunk(np.minimum(labels, 255).astype(np.uint8), cv2.INTER_NEAREST)
    return _uri(table[small], ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9])


def confidence_uri(confidence: np.ndarray) -> str:
    """Return a thumbnail of confidence (H, W) uint8, from dark blue (0) to yellow (1)."""
    coloured = cv2.applyColorMap(_shrunk(confidence, cv2.INTER_AREA), cv2.COLORMAP_CIVIDIS)
    return _uri(coloured[..., ::-1], ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _shrunk(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    if width <= WIDTH:
        return pixels
    return cv2.resize(pixels, (WIDTH, max(1, round(height * WIDTH / width))),
                      interpolation=interpolation)


def _uri(pixels: np.ndarray, ending: str, options: list[int]) -> str:
    done, encoded = cv2.imencode(ending, np.ascontiguousarray(pixels[..., ::-1]), options)
    if not done:
        raise ValueError(f"a picture of shape {pixels.shape} cannot be written as {ending}")
    kind = {".jpg": "jpeg", ".png": "png"}[ending]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"
