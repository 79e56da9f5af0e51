"""How the encodings of ``sensor_msgs/Image`` lie in memory, and how their values become RGB."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

# OpenCV's names of types, as of depth images, however they are written.
_MEASURES = re.compile(r"(8|16|32|64)[USF]C\d*", re.IGNORECASE)


class ImageError(ValueError):
    """An image message cannot be read; the message names the value and the remedy."""


@dataclass(frozen=True)
class Layout:
    """How an encoding lies in memory, and how it becomes RGB.

    Attributes:
        channels: values of a pixel.
        bits: of a value, 8 or 16.
        convert: from (H, W) or (H, W, C) uint8 to (H, W, 3) uint8 RGB.
        subsampling: width and height must be multiples of these.
        rows: rows in memory for two rows of the image; 3 for planar 4:2:0, 6 for planar 4:4:4,
            whose rows of colours are twice as long as those of brightness.
    """

    channels: int
    bits: int
    convert: Callable[[np.ndarray], np.ndarray]
    subsampling: tuple[int, int] = (1, 1)
    rows: int = 2

    @property
    def full_chroma(self) -> bool:
        """Tell planar 4:4:4."""
        return self.rows == 6

    def to_rgb(self, pixels: np.ndarray, encoding: str) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB of uint8 or uint16 pixels.

        Raises:
            ImageError: there are too few of them.
        """
        if pixels.dtype.itemsize == 2:
            pixels = as_bytes(pixels)
        try:
            return self.convert(pixels)
        except cv2.error as error:
            raise ImageError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels of '{encoding}' cannot "
                             f"be converted ({error.err}); publish a larger image") from error


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return the upper eight of those bits that 16-bit pixels use, as uint8.

    Cameras of 10, 12 or 14 bits leave the upper ones of a 16-bit value at zero, and no field of a
    message tells how many they have. So the largest value decides: the bits are 8, 10, 12, 14 or
    16, whichever just hold it.

    Args:
        pixels: (H, W) or (H, W, C) uint16; a fourth channel is not looked at.
    """
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels
    bits = max(8, int(colours.max()).bit_length())
    return (pixels >> (bits + bits % 2 - 8)).astype(np.uint8)


def _convert(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return partial(_cv_convert, code)


def _cv_convert(code: int, pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, code)


def _demosaic(code: int, pixels: np.ndarray) -> np.ndarray:
    if min(pixels.shape) < 3:  # where OpenCV leaves all black, and does not tell
        raise ImageError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels are too few for a Bayer "
                         "mosaic; publish a larger image")
    return cv2.cvtColor(pixels, code)


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


# ITU-R BT.601, 16 to 235, as OpenCV has it for 4:2:0 and 4:2:2; it has none for 4:4:4.
_FROM_YUV = np.array([[255 / 219, 0, 1.402 * 255 / 224],
                      [255 / 219, -0.344136 * 255 / 224, -0.714136 * 255 / 224],
                      [255 / 219, 1.772 * 255 / 224, 0]])
_FROM_YUV = np.hstack([_FROM_YUV, _FROM_YUV @ [[-16], [-128], [-128]]])


def _full_chroma(pixels: np.ndarray) -> np.ndarray:
    return cv2.transform(pixels, _FROM_YUV)


# OpenCV names a Bayer pattern by the second and third pixel of its second row.
_BAYER = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB,
          "gbrg": cv2.COLOR_BayerGR2RGB, "grbg": cv2.COLOR_BayerGB2RGB}
_GRAY, _BGR = _convert(cv2.COLOR_GRAY2RGB), _convert(cv2.COLOR_BGR2RGB)
_RGBA, _BGRA = _convert(cv2.COLOR_RGBA2RGB), _convert(cv2.COLOR_BGRA2RGB)
_UYVY = Layout(2, 8, _convert(cv2.COLOR_YUV2RGB_UYVY), (2, 1))
_YUYV = Layout(2, 8, _convert(cv2.COLOR_YUV2RGB_YUY2), (2, 1))

# The names of sensor_msgs/image_encodings.hpp, and "nv12", which it lacks but drivers use.
LAYOUTS: dict[str, Layout] = {
    "rgb8": Layout(3, 8, _as_is), "bgr8": Layout(3, 8, _BGR),
    "rgba8": Layout(4, 8, _RGBA), "bgra8": Layout(4, 8, _BGRA),
    "rgb16": Layout(3, 16, _as_is), "bgr16": Layout(3, 16, _BGR),
    "rgba16": Layout(4, 16, _RGBA), "bgra16": Layout(4, 16, _BGRA),
    "mono8": Layout(1, 8, _GRAY), "mono16": Layout(1, 16, _GRAY),
    # Raw OpenCV types come from OpenCV programs, whose channel order is blue, green, red.
    "8UC1": Layout(1, 8, _GRAY), "8UC3": Layout(3, 8, _BGR), "8UC4": Layout(4, 8, _BGRA),
    **{f"bayer_{pattern}{bits}": Layout(1, bits, partial(_demosaic, code))
       for pattern, code in _BAYER.items() for bits in (8, 16)},
    "yuv422": _UYVY, "uyvy": _UYVY, "yuv422_yuy2": _YUYV, "yuyv": _YUYV,
    "nv12": Layout(1, 8, _convert(cv2.COLOR_YUV2RGB_NV12), (2, 2), rows=3),
    "nv21": Layout(1, 8, _convert(cv2.COLOR_YUV2RGB_NV21), (2, 2), rows=3),
    "nv24": Layout(1, 8, _full_chroma, rows=6),
}
ENCODINGS = tuple(LAYOUTS)


_USUAL = {name.lower(): name for name in LAYOUTS}


def usual_name(encoding: str) -> str:
    """Return an encoding's usual spelling; some drivers write ``RGB8`` or a blank behind it."""
    return encoding if encoding in LAYOUTS else _USUAL.get(encoding.strip().lower(), encoding)


def is_measure(encoding: str) -> bool:
    """Tell an encoding of depth or other measurements, e.g. ``16UC1``, from those of pictures."""
    return encoding not in LAYOUTS and _MEASURES.fullmatch(encoding) is not None
