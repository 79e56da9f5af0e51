"""A result as one binary message: a JSON header, and the planes as JPEG and PNG.

    4 bytes   length of the header, big-endian
    header    UTF-8 JSON; its "parts" name the planes, with type and length, in their order
    planes    one after another

The browser paints the labels itself, so that colours, outlines and the wiper cost no round trip.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from sclip_seg_ros.segmentation.result import unlabelled_share
from sclip_seg_ros.studio.labelled import Labelled
from sclip_seg_ros.studio.workbench import Shown

LONGEST_SIDE = 1280  # pixels shown; larger pictures are shrunk for the page alone
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class Parcel:
    """One result, encoded when it is first asked for; for several browsers and threads."""

    def __init__(self, shown: Shown, serial: int) -> None:
        """Hold a result."""
        self.shown = shown
        self.serial = serial
        self._parts: dict[tuple[str, ...], bytes] = {}
        self._lock = threading.Lock()

    def message(self, camera: bool, heat: str = "") -> bytes:
        """Return the message for one browser.

        Args:
            camera: whether it lacks the picture itself.
            heat: class whose probabilities it wants to see; empty for none.
        """
        labelled, pinned = self.shown.labelled, self.shown.pinned
        parts = [("camera", "image/jpeg")] if camera else []
        parts += [("labels", "image/png"), ("confidence", "image/jpeg")]
        if pinned is not None:
            parts.append(("pinned", "image/png"))
        planes = [(name, kind, self._encoded(name)) for name, kind in parts]
        if heat in labelled.names:
            planes.append(("heat", "image/jpeg", self._encoded("heat", heat)))
        header = {
            **self._header(), "heat": heat if heat in labelled.names else "",
            "parts": [{"name": name, "type": kind, "length": len(data)}
                      for name, kind, data in planes]}
        text = json.dumps(header).encode()
        return b"".join((len(text).to_bytes(4, "big"), text, *(data for _, _, data in planes)))

    def _header(self) -> dict[str, Any]:
        shown, labelled, pinned = self.shown, self.shown.labelled, self.shown.pinned
        height, width = labelled.labels.shape
        return {
            "kind": "shown", "serial": self.serial, "source": shown.source, "index": shown.index,
            "name": labelled.frame.name, "seconds": labelled.frame.seconds, "size": [width, height],
            **_described(labelled), "status": dict(labelled.status),
            "notes": list(labelled.notes), "differ": shown.differ,
            "pinned": None if pinned is None else _described(pinned)}

    def _encoded(self, name: str, of: str = "") -> bytes:
        with self._lock:
            if (name, of) not in self._parts:
                self._parts[name, of] = self._encode(name, of)
            return self._parts[name, of]

    def _encode(self, name: str, of: str) -> bytes:
        labelled = self.shown.labelled
        if name == "camera":
            pixels = cv2.cvtColor(np.asarray(labelled.frame.image), cv2.COLOR_RGB2BGR)
            return _bytes(".jpg", _shrunk(pixels, cv2.INTER_AREA), _JPEG)
        if name == "confidence":
            return _bytes(".jpg", _shrunk(labelled.confidence, cv2.INTER_AREA), _JPEG)
        if name == "heat":
            plane = labelled.probabilities.plane(labelled.names.index(of))
            return _bytes(".jpg", plane, _JPEG)
        side = self.shown.pinned if name == "pinned" else labelled
        assert side is not None
        return _bytes(".png", _shrunk(side.labels, cv2.INTER_NEAREST), _PNG)


def _described(labelled: Labelled) -> dict[str, Any]:
    return {
        "legend": [{"name": name, "colour": colour, "coverage": round(float(share), 6),
                    "confidence": round(float(mean), 4)}
                   for name, colour, share, mean in zip(
                       labelled.names, labelled.colours.tolist(), labelled.coverage,
                       labelled.mean_confidence, strict=True)],
        "unlabelled": round(unlabelled_share(labelled.coverage), 6),
        "stage_ms": _rounded(labelled.stage_ms), "ms": round(sum(labelled.stage_ms.values()), 1),
        "kept": list(labelled.kept)}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}


def _shrunk(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    share = LONGEST_SIDE / max(height, width)
    if share >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(pixels, size, interpolation=interpolation)


def _bytes(ending: str, pixels: np.ndarray, options: list[int]) -> bytes:
    done, data = cv2.imencode(ending, pixels, options)
    assert done  # of uint8 pixels it always is
    return data.tobytes()
