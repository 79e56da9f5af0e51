"""Make recordings as a robot leaves them behind: whole, cut short, with odd topics."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

ROOT = Path(__file__).resolve().parents[1]
TYPES = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000  # nanoseconds
FRONT, REAR, DEPTH = "/front/image_raw", "/rear/image_raw/compressed", "/front/depth"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FOREVER = QosTime(9223372036, 854775807)
SENSOR = Qos(QosHistory.KEEP_LAST, 5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, FOREVER,
             FOREVER, QosLiveliness.AUTOMATIC, FOREVER, False)
Row = tuple[str, str, int, bytes]


def header(index: int, frame: str = "camera") -> Any:
    """Return a header with a stamp of its own."""
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=100 + index, nanosec=7 * index)
    return TYPES.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def picture(index: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Return a noisy RGB picture, each index another one."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def raw(pixels: np.ndarray, index: int, encoding: str = "bgr8", frame: str = "camera") -> bytes:
    """Serialise an image; RGB pixels are stored blue first."""
    stored = np.ascontiguousarray(pixels[..., ::-1] if encoding == "bgr8" else pixels)
    step = stored.nbytes // stored.shape[0]
    message = TYPES.types[IMAGE](header(index, frame), *stored.shape[:2], encoding, 0, step,
                                 stored.reshape(-1).view(np.uint8))
    return bytes(TYPES.serialize_cdr(message, IMAGE))


def png(pixels: np.ndarray, index: int) -> bytes:
    """Serialise a compressed image."""
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    return packed(data, "bgr8; png compressed bgr8", index)


def packed(data: bytes, form: str, index: int) -> bytes:
    """Serialise a compressed image of any content."""
    message = TYPES.types[COMPRESSED](header(index, "rear_camera"), form,
                                      np.frombuffer(data, np.uint8))
    return bytes(TYPES.serialize_cdr(message, COMPRESSED))


def record_rows(path: Path, rows: Sequence[tuple[str, str, bytes | None]],
                storage: str = "mcap") -> Path:
    """Record messages in this order, a tenth of a second apart; None announces a topic alone."""
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        known: dict[str, Any] = {}
        for index, (topic, kind, data) in enumerate(rows):
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            if data is not None:
                writer.write(known[topic], START + index * 10**8, data)
    return path


def text(words: str) -> bytes:
    """Serialise a string."""
    return bytes(TYPES.serialize_cdr(TYPES.types["std_msgs/msg/String"](words),
                                     "std_msgs/msg/String"))


def record(path: Path, storage: str, frames: int = 6, cameras: Sequence[str] = (FRONT,),
           compression: CompressionMode = CompressionMode.NONE,
           images: dict[int, bytes] | None = None) -> Path:
    """Record cameras beside text, depth and a message type that nobody else knows.

    Args:
        path: of the folder.
        storage: "mcap" or "sqlite3".
        frames: images a camera.
        cameras: FRONT, REAR.
        compression: as rosbags has it.
        images: serialised images of the front camera to record instead, by index.
    """
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        odd = writer.add_connection("/odd", "nobody_msgs/msg/Odd", msgdef="uint8 value\n",
                                    rihs01="RIHS01_" + "ab" * 32)
        chat = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=TYPES)
        front = writer.add_connection(FRONT, IMAGE, typestore=TYPES,
                                      offered_qos_profiles=[SENSOR]) if FRONT in cameras else None
        rear = writer.add_connection(REAR, COMPRESSED, typestore=TYPES) \
            if REAR in cameras else None
        depth = writer.add_connection(DEPTH, IMAGE, typestore=TYPES)
        for index in range(frames):
            now = START + index * 100_000_000
            writer.write(chat, now, text(f"message {index}"))
            if front:
                data = (images or {}).get(index) or raw(picture(index), index)
                writer.write(front, now + 10, data)
            if rear:
                writer.write(rear, now + 20, png(picture(100 + index), index))
            writer.write(depth, now + 30, raw(np.zeros((2, 2), np.uint16), index, "16UC1"))
            writer.write(odd, now + 40, bytes([0, 1, 0, 0, index % 256]))
    return path


def rows(path: Path) -> list[Row]:
    """Return all messages of a recording: topic, type, stamp, data."""
    with Reader(path) as reader:
        return [(connection.topic, connection.msgtype, stamp, bytes(data))
                for connection, stamp, data in reader.messages()]


def data_file(path: Path) -> Path:
    """Return the only file with messages of a recording."""
    file, = (item for item in path.iterdir() if item.suffix in (".mcap", ".db3"))
    return file


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a recording's file, and no metadata, as a killed recorder does."""
    file = data_file(path)
    content = file.read_bytes()
    file.write_bytes(content[:int(share * len(content))])
    (path / "metadata.yaml").unlink()
    return path


def write_mcap(path: Path, channels: Sequence[tuple[str, str, str, str]],
               messages: Sequence[tuple[int, int, bytes]], profile: str = "ros2") -> Path:
    """Write an MCAP file as programs do that are not ROS: without chunks and index.

    Args:
        path: of the file.
        channels: topic, encoding of its messages, their type, encoding of its schema.
        messages: index of the channel, time in nanoseconds, content.
        profile: of the file.
    """
    def text(value: str | bytes) -> bytes:
        content = value.encode() if isinstance(value, str) else value
        return struct.pack("<I", len(content)) + content

    def entry(code: int, body: bytes) -> bytes:
        return struct.pack("<BQ", code, len(body)) + body

    magic = b"\x89MCAP0\r\n"
    parts = [magic, entry(1, text(profile) + text("none"))]
    for number, (topic, encoding, kind, language) in enumerate(channels):
        known = encoding == "cdr" and kind in TYPES.fielddefs
        definition = TYPES.generate_msgdef(kind, ros_version=2)[0] if known else b"\xff"
        parts += [entry(3, struct.pack("<H", number + 1) + text(kind) + text(language)
                        + text(definition)),
                  entry(4, struct.pack("<HH", number, number + 1) + text(topic) + text(encoding)
                        + text(""))]
    parts += [entry(5, struct.pack("<HIQQ", number, 0, stamp, stamp) + content)
              for number, stamp, content in messages]
    parts += [entry(15, bytes(4)), entry(2, bytes(20)), magic]
    path.write_bytes(b"".join(parts))
    return path
