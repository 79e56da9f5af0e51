"""Compressed images: what a message's ``format`` says, and the pixels of JPEG and PNG data."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from sclip_seg_ros.io.layouts import LAYOUTS, ImageError, as_bytes, is_measure, usual_name

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Between compressed pixels neither a stuffed zero nor a restart is a marker.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
TIFF_STARTS = (b"II*\0", b"MM\0*")
PNG_START, PNG_END = b"\x89PNG\r\n", b"IEND"
_TAIL = 4096  # bytes searched for the end marker; some cameras pad their JPEG images


@dataclass(frozen=True)
class CompressedFormat:
    """What ``format`` of sensor_msgs/CompressedImage says; each may be left out.

    image_transport writes ``<encoding>; <codec> compressed <order>``, drivers often the codec
    alone.

    Attributes:
        encoding: of the image before it was compressed, e.g. ``bayer_rggb8``.
        codec: e.g. ``jpeg``, ``png``, ``compressedDepth``.
        order: encoding of what was compressed, e.g. ``bgr8``; the decoder takes all for blue first.
    """

    encoding: str = ""
    codec: str = ""
    order: str = ""

    @classmethod
    def parse(cls, text: str) -> CompressedFormat:
        """Take a format apart; names that are known get their usual spelling."""
        encoding, given, rest = text.partition(";")
        if not given:
            encoding, rest = "", text
        encoding, words = _usual(encoding.strip()), [_usual(word) for word in rest.split()]
        if words and not encoding and (words[0] in LAYOUTS or is_measure(words[0])):
            encoding = words.pop(0)  # drivers that say the encoding alone
        codec = words[0] if words else ""
        order = words[2] if words[1:2] == ["compressed"] and len(words) > 2 else ""
        return cls(encoding, codec, order)

    @property
    def is_depth(self) -> bool:
        """Tell depth and other measurements, which are not pictures."""
        return is_measure(self.encoding) or self.codec == "compressedDepth"

    @property
    def tells_a_picture(self) -> bool:
        """Tell an encoding that pictures alone have; a PNG image of grey may be depth otherwise."""
        return self.encoding in LAYOUTS or self.is_bayer

    @property
    def is_bayer(self) -> bool:
        """Tell a mosaic of colours."""
        return self.encoding.startswith("bayer_")

    @property
    def tells_colours(self) -> bool:
        """Tell an encoding whose pixels had colours before they were compressed."""
        layout = LAYOUTS.get(self.encoding)
        return layout is not None and (layout.channels > 1 or layout.rows > 2)

    @property
    def red_first(self) -> bool:
        """Tell colours that were compressed as if red were blue."""
        return self.order.startswith("rgb")


_WORDS = {word.lower(): word for word in ("compressed", "compressedDepth")}


def _usual(word: str) -> str:
    return _WORDS.get(word.lower()) or usual_name(word)


def is_jpeg_or_png(data: memoryview | bytes) -> bool:
    """Tell JPEG and PNG from anything else by the first bytes."""
    return bytes(data[:8]).startswith((JPEG_START, PNG_START))


def decompress(data: memoryview | bytes, upright: bool) -> np.ndarray:
    """Decompress an image file to (H, W, 3) uint8 RGB.

    Args:
        data: of any format that OpenCV reads. Of 16-bit values the upper of the bits in use are
            taken, see :func:`~sclip_seg_ros.io.layouts.as_bytes`.
        upright: for photos: turn the image as its orientation tag says, and allow a film or other
            pictures behind it, as phones append.

    Raises:
        ImageError: no image, one that is cut short or damaged, or pixels of no supported type.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    pixels = _decode(data, flags if upright else flags | cv2.IMREAD_IGNORE_ORIENTATION, upright)
    return cv2.cvtColor(as_bytes(pixels) if pixels.dtype == np.uint16 else pixels,
                        cv2.COLOR_BGR2RGB)


def decompress_as_stored(data: memoryview | bytes) -> np.ndarray:
    """Decompress an image to (H, W), or (H, W, 3 or 4) with blue first, uint8 or uint16.

    Labels belong to the pixels as sent, so an orientation tag does not turn the image.

    Raises:
        ImageError: as :func:`decompress`.
    """
    return _decode(data, cv2.IMREAD_UNCHANGED, appended=False)


def _decode(data: memoryview | bytes, flags: int, appended: bool) -> np.ndarray:
    head = bytes(data[:8])
    # The decoder would fill the missing rows of a JPEG image with grey and not tell.
    complete = not (head.startswith(JPEG_START) and not _is_whole_jpeg(data, appended)
                    or head.startswith(PNG_START) and not _is_whole_png(data))
    pixels = _imdecode(np.frombuffer(data, np.uint8), flags) if complete else None
    if head.startswith(TIFF_STARTS):
        _check_tiff(data)
    if pixels is None:
        raise ImageError(f"image of {len(data)} bytes is cut short or damaged")
    return pixels


def _imdecode(data: np.ndarray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def _check_tiff(data: memoryview | bytes) -> None:
    """Refuse types of pixels that TIFF files alone have; a damaged file is left to the decoder."""
    pixels = _imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is not None and pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"image has pixels of type {pixels.dtype}, which is not supported; "
                         "convert it to 8 or 16 bits a channel")


def _is_whole_jpeg(data: memoryview | bytes, appended: bool) -> bool:
    """Find the end marker: near the end, or, with something appended, where the image ends."""
    if JPEG_END in bytes(data[-_TAIL:]):
        return True
    if not appended:
        return False
    data, position = bytes(data), 2
    while found := _JPEG_MARKER.search(data, position):
        marker, position = found[1], found.end()
        if marker == JPEG_END[1:]:
            return True
        if position + 2 > len(data):
            return False
        # A segment names its length; pixels follow a scan's, up to the next marker.
        position += struct.unpack_from(">H", data, position)[0]
    return False


def _is_whole_png(data: memoryview | bytes) -> bool:
    """Compare a PNG file's checksums; OpenCV would print about a wrong one on its own."""
    position = 8
    while position + 12 <= len(data):
        length, = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or struct.unpack_from(">I", data, end)[0] != zlib.crc32(
                data[position + 4:end]):
            return False
        if data[position + 4:position + 8] == PNG_END:
            return True
        position = end + 4
    return False
