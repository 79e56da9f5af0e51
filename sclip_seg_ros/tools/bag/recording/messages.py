"""Serialised messages to images, and results to serialised messages; without ROS."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype, Qos, QosTime
from rosbags.interfaces import QosDurability as Durability
from rosbags.interfaces import QosHistory as History
from rosbags.interfaces import QosLiveliness as Liveliness
from rosbags.interfaces import QosReliability as Reliability
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.geometry.cloud import FIELDS
from sclip_seg_ros.io.encodings import ImageError, decode, unpack
from sclip_seg_ros.models.resources import PACKAGE, message_files
from sclip_seg_ros.segmentation.result import unlabelled_share
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.tools.bag.recording.channel import Channel, Message

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CLOUD, CAMERA_INFO = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/CameraInfo"
SUMMARY = f"{PACKAGE}/msg/ClassConfidenceArray"
EVIDENCE = f"{PACKAGE}/msg/Evidence"
VOCABULARY = f"{PACKAGE}/msg/Vocabulary"
_DEPTH = 5  # of the node's per-frame outputs
_NO_DIGEST = "RIHS01_" + 64 * "0"
_FOREVER = QosTime(9223372036, 854775807)  # the longest that fits, as recorders write it


@cache
def _types() -> Typestore:
    """Read the definitions once a process; what rosbags compiles for them is kept with them."""
    types = get_typestore(Stores.LATEST)
    own: dict[str, Any] = {}
    for path in message_files():
        text = path.read_text(encoding="utf-8")
        own |= get_types_from_msg(text, f"{PACKAGE}/msg/{path.stem}")
    types.register(own)
    return types


@cache
def _definition(kind: str) -> str:
    """Return the definition of a message type; empty if it is none of the standard's."""
    types = _types()
    return types.generate_msgdef(kind, ros_version=2)[0] if kind in types.fielddefs else ""


@lru_cache(maxsize=256)
def _digest(kind: str, definition: str) -> str:
    """Return the RIHS01 hash of a message type; zeros where its definition does not tell it."""
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, kind))
        return store.hash_rihs01(kind)
    except (TypesysError, LookupError, ValueError):
        return _NO_DIGEST


class Codec:
    """The message types of the standard and of this package's own definitions."""

    def __init__(self) -> None:
        """Read the definitions."""
        self.types = _types()

    def read_image(self, message: Message) -> tuple[np.ndarray, Any]:
        """Return the (H, W, 3) uint8 RGB pixels of an image message, and its header.

        Raises:
            ImageError: it cannot be read; DepthError: it is not a picture.
        """
        content = self._unpack(message)
        return _pixels_of(content, message.channel.kind), content.header

    def check_image(self, message: Message) -> None:
        """Raise what :meth:`read_image` would."""
        _pixels_of(self._unpack(message), message.channel.kind)

    def image(self, pixels: np.ndarray, encoding: str, header: Any) -> bytes:
        """Return (H, W) or (H, W, 3) uint8 pixels as a message."""
        height, width = pixels.shape[:2]
        return self._pack(IMAGE, header=header, height=height, width=width, encoding=encoding,
                          step=width * (pixels.size // (height * width)),
                          data=np.ascontiguousarray(pixels).reshape(-1))

    def cloud(self, points: np.ndarray, is_dense: bool, header: Any) -> bytes:
        """Return (h, w) points of ``geometry.cloud.POINT`` as a message."""
        height, width = points.shape
        fields = [self._make("sensor_msgs/msg/PointField", name=name, offset=offset,
                             datatype=datatype, count=1) for name, offset, datatype in FIELDS]
        return self._pack(CLOUD, header=header, height=height, width=width, fields=fields,
                          point_step=points.itemsize, row_step=width * points.itemsize,
                          data=np.ascontiguousarray(points).reshape(-1).view(np.uint8),
                          is_dense=is_dense)

    def summary(self, vocabulary: Vocabulary, coverage: np.ndarray, mean_confidence: np.ndarray,
                header: Any) -> bytes:
        """Summarise every class in one image; fields of the running node alone stay empty."""
        classes = [
            self._make(f"{PACKAGE}/msg/ClassConfidence", class_id=value, class_name=name,
                       mean_confidence=float(mean), coverage=float(share))
            for value, name, mean, share in zip(vocabulary.class_ids, vocabulary.names,
                                                mean_confidence, coverage, strict=True)]
        return self._pack(SUMMARY, header=header, vocabulary_version=vocabulary.version,
                          unlabelled_id=vocabulary.ids.unlabelled,
                          unlabelled_coverage=unlabelled_share(coverage), classes=classes,
                          evidence=self._make(EVIDENCE, keyframe=True))

    def vocabulary(self, vocabulary: Vocabulary) -> bytes:
        """Describe a vocabulary, with the empty header of one before its first image."""
        classes = [
            self._make(f"{PACKAGE}/msg/VocabularyClass", id=value, name=entry.name,
                       synonyms=list(entry.synonyms), colour=colour)
            for value, entry, colour in zip(vocabulary.class_ids, vocabulary.classes,
                                            vocabulary.colours, strict=True)]
        background = -1 if vocabulary.background is None \
            else vocabulary.ids.values[vocabulary.background]
        return self._pack(VOCABULARY, version=vocabulary.version, background_id=background,
                          unlabelled_id=vocabulary.ids.unlabelled, classes=classes)

    def definition(self, kind: str) -> str:
        """Return the definition of a message type; empty if it is none of the standard's."""
        return _definition(kind)

    def digest(self, kind: str, definition: str) -> str:
        """Return the RIHS01 hash of a message type; zeros where its definition does not tell it."""
        return _digest(kind, definition)

    def channel(self, topic: str, kind: str, latched: bool = False) -> Channel:
        """Return a channel for messages of ours, with the node's quality of service."""
        durability = Durability.TRANSIENT_LOCAL if latched else Durability.VOLATILE
        depth = 1 if latched else _DEPTH
        qos = Qos(History.KEEP_LAST, depth, Reliability.RELIABLE, durability, _FOREVER, _FOREVER,
                  Liveliness.AUTOMATIC, _FOREVER, False)
        return Channel(topic, kind, self.definition(kind), self.types.hash_rihs01(kind), (qos,))

    def read(self, message: Message) -> Any:
        """Return a message's content.

        Raises:
            ImageError: it cannot be read.
        """
        return self._unpack(message)

    def _unpack(self, message: Message) -> Any:
        kind = message.channel.kind
        try:
            return self.types.deserialize_cdr(message.data, kind)
        except Exception as error:  # of any kind, depending on where the bytes go wrong
            raise ImageError(f"message cannot be read as {kind} ({first_line(error)})") from error

    def _pack(self, kind: str, **values: Any) -> bytes:
        return bytes(self.types.serialize_cdr(self._make(kind, **values), kind))

    def _make(self, kind: str, **values: Any) -> Any:
        """Return a message with some fields set and the others at zero."""
        fields = {name: values[name] if name in values else self._zero(description)
                  for name, description in self.types.fielddefs[kind][1]}
        return self.types.types[kind](**fields)

    def _zero(self, description: tuple[Nodetype, Any]) -> Any:
        """Return the value of a field that nothing was said about."""
        node, detail = description
        if node == Nodetype.NAME:
            return self._make(detail)
        if node == Nodetype.BASE:
            return {"string": "", "bool": False}.get(detail[0], 0)
        (inner, kind), length = detail
        if inner == Nodetype.BASE and kind[0] != "string":
            return np.zeros(length if node == Nodetype.ARRAY else 0, kind[0])
        return [self._zero((inner, kind)) for _ in range(length if node == Nodetype.ARRAY else 0)]


def _pixels_of(content: Any, kind: str) -> np.ndarray:
    return (decode if kind == COMPRESSED else unpack)(content)
