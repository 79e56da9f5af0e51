"""Read an MCAP file from front to back, without index and footer, as far as it goes.

Layout of the format: https://mcap.dev/spec. A recorder that is killed leaves files without an end
behind, one that is tuned for speed such without an index, and programs that are not ROS add
channels of their own, which the rosbags library stumbles over. Foxglove's mcap library drops a
last chunk that is cut, passes over zeros, and takes up to four times as long.
"""

from __future__ import annotations

import io
import os
import struct
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import parse_qos
from rosbags.rosbag2.storage_mcap import decompress, read_bytes, read_string

from sclip_seg_ros.io.file_kinds import MCAP
from sclip_seg_ros.tools.bag.recording.channel import Channel, Foreign, Message, kind_of

# Of the format's codes those that are looked at; 0 is none of them.
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
# Encodings of the schemas of its messages; "unknown" where the recorder found no definition.
_ROS_2 = ("ros2msg", "ros2idl", "omgidl", "unknown", "")
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence number, log time, publish time
_CHUNK_HEAD = struct.Struct("<QQQI")    # first and last time, size, checksum


class LinearMcap:
    """The records of a file up to where it breaks off, in the order they were written.

    Attributes:
        channels: of ROS 2's messages.
        counts: of their messages.
        foreign: what else is in the file, by topic: what its messages are, e.g. "protobuf".
        whole: whether the file has its end, and everything before it can be read; known for good
            once all was read.
    """

    def __init__(self, path: Path) -> None:
        """Look through the file once, for its channels and the number of messages.

        Raises:
            ReaderError: it is not an MCAP file, or holds no message of ROS 2 up to where it breaks
                off.
        """
        self._path = path
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, Channel] = {}
        self.foreign: dict[str, Foreign] = {}
        self.whole = _has_end(path)
        counts: Counter[int] = Counter()
        for code, body in self._records():
            if code == _MESSAGE:
                counts[_MESSAGE_HEAD.unpack_from(body)[0]] += 1
                continue
            try:
                self._learn(code, body)
            except Exception:  # damaged: names that are none, or a profile that is no YAML
                self.whole = False
        if not any(number in self._channels for number in counts):
            others = ", ".join(f"'{topic}' ({what})" for topic, what in self.foreign.items())
            raise ReaderError(f"'{path}' " + (
                f"holds no message of ROS 2, but of others: {others}" if others else
                "holds no message" if self.whole else "breaks off before its first message"))
        self.channels = list(dict.fromkeys(self._channels.values()))
        self.counts: Counter[Channel] = Counter(dict.fromkeys(self.channels, 0))
        for number, count in counts.items():
            if number in self._channels:
                self.counts[self._channels[number]] += count

    def messages(self) -> Iterator[Message]:
        """Yield the messages."""
        for code, body in self._records():
            if code == _MESSAGE:
                number, _, stamp, _ = _MESSAGE_HEAD.unpack_from(body)
                if number in self._channels:
                    yield Message(self._channels[number], stamp, body[_MESSAGE_HEAD.size:])

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """Yield code and body of schemas, channels and messages, those in chunks included."""
        with open(self._path, "rb") as file:
            if file.read(len(MCAP)) != MCAP:
                raise ReaderError(f"'{self._path}' is not an MCAP file")
            ended = False
            for code, body in _walk(file, os.fstat(file.fileno()).st_size):
                if code == _FOOTER:
                    ended = True
                elif code != _CHUNK:
                    yield code, body
                else:
                    content = _content(body)
                    if content is None \
                            or not (yield from _walk(io.BytesIO(content), len(content))):
                        self.whole = False  # the next chunk may be readable all the same
            if not ended:
                self.whole = False

    def _learn(self, code: int, body: bytes) -> None:
        """Remember a schema or a channel."""
        fields = io.BytesIO(body)
        if code == _SCHEMA:
            number, = struct.unpack("<H", fields.read(2))
            self._schemas[number] = (read_string(fields), read_string(fields),
                                     read_bytes(fields).decode(errors="replace"))
        elif code == _CHANNEL:
            number, schema = struct.unpack("<HH", fields.read(4))
            topic, encoding = read_string(fields), read_string(fields)
            name, language, definition = self._schemas.get(schema, ("", "", ""))
            if encoding != "cdr" or language not in _ROS_2 or not name:
                self.foreign[topic] = Foreign(encoding or language or "of an unknown kind", name)
                return
            metadata, entries = io.BytesIO(read_bytes(fields)), {}
            while metadata.tell() < len(metadata.getbuffer()):
                key = read_string(metadata)
                entries[key] = read_string(metadata)
            qos = parse_qos(entries.get("offered_qos_profiles", ""))
            self._channels[number] = Channel(topic, kind_of(name), definition,
                                             entries.get("topic_type_hash", ""), tuple(qos))


def _has_end(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-min(len(MCAP), os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.tell() > 0 and file.read() == MCAP


def _walk(stream: BinaryIO, size: int) -> Generator[tuple[int, bytes], None, bool]:
    """Yield the records of a stream; of one that is cut short, only an unpacked chunk's part.

    A disk that lost power leaves zeros where something should have been written; there it ends.

    Returns:
        Whether the stream consists of records to its last byte.
    """
    while len(head := stream.read(9)) == 9:
        code, length = head[0], struct.unpack_from("<Q", head, 1)[0]
        whole = stream.tell() + length <= size
        if not code or code == _MESSAGE and length < _MESSAGE_HEAD.size:
            return False
        if code in (_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK) and (whole or code == _CHUNK):
            yield code, stream.read(length if whole else size - stream.tell())
        elif whole:
            stream.seek(length, os.SEEK_CUR)
        if not whole:
            return False
    return not head


def _content(chunk: bytes) -> bytes | None:
    """Return the records of a chunk, those that are there of a cut one; None if unreadable."""
    fields = io.BytesIO(chunk)
    try:
        _, _, size, checksum = _CHUNK_HEAD.unpack(fields.read(_CHUNK_HEAD.size))
        compression = read_string(fields)
        packed_size, = struct.unpack("<Q", fields.read(8))
        packed = fields.read(packed_size)
        if not compression and len(packed) < packed_size:
            return packed
        return decompress(packed, compression, size, checksum)
    except Exception:  # each compressor has an error class of its own
        return None
