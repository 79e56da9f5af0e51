"""Open a recording, also one that is cut short, and read its messages one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import CompressionMode, Reader, ReaderError
from rosbags.rosbag2.reader import zstd

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.io.file_kinds import ZSTD, found_instead
from sclip_seg_ros.tools.bag.recording.channel import Channel, Foreign, Message, kind_of
from sclip_seg_ros.tools.bag.recording.cut_sqlite import CutSqlite
from sclip_seg_ros.tools.bag.recording.files import (
    METADATA,
    Listing,
    RecordingError,
    contents_of,
    files_of,
)
from sclip_seg_ros.tools.bag.recording.linear_mcap import LinearMcap

__all__ = ["METADATA", "Recording", "RecordingError", "UnindexedError", "WholeFile"]


class UnindexedError(ReaderError):
    """A file is whole, but rosbags could not bring its messages into the order of their stamps."""


class WholeFile:
    """A recording, or a file of one, that the rosbags library reads.

    Attributes:
        path: of it.
        channels, counts: of ROS 2's messages.
        foreign: what else is in it, by topic.
        compression: of its messages or files.
        times: when its first and its last message were recorded, in nanoseconds; None if empty.
    """

    def __init__(self, path: Path) -> None:
        """Open it, and close it again.

        Raises:
            UnindexedError: it has no index.
            ReaderError: it is cut short or damaged.
            Exception: whatever rosbags raises on what it did not expect.
        """
        self.path = path
        with Reader(path) as reader:
            files = getattr(reader.storage, "storages", [reader.storage])
            if reader.message_count and any(getattr(file, "chunks", None) == [] for file in files):
                raise UnindexedError(f"'{path}' has no index")
            ours = [item for item in reader.connections if _is_ros_2(item)]
            self.foreign = {
                item.topic: Foreign(_extension(item).serialization_format, item.msgtype)
                for item in reader.connections if not _is_ros_2(item)}
            self.channels = list(dict.fromkeys(map(_channel_of, ours)))
            self.counts: Counter[Channel] = Counter(dict.fromkeys(self.channels, 0))
            for connection in ours:
                self.counts[_channel_of(connection)] += connection.msgcount
            self.compression = CompressionMode[(reader.compression_mode or "none").upper()]
            self.times = (reader.start_time, reader.end_time) if reader.message_count else None

    def messages(self, channels: Collection[Channel], start: int | None = None,
                 stop: int | None = None) -> Iterator[Message]:
        """Yield the messages of some channels, from start to before stop, as their stamps go."""
        with Reader(self.path) as reader:
            wanted = {connection.id: channel for connection in reader.connections
                      if (channel := _channel_of(connection)) in channels
                      and _is_ros_2(connection)}
            if not wanted:
                return
            chosen = [item for item in reader.connections if item.id in wanted]
            for connection, stamp, data in reader.messages(chosen, start, stop):
                yield Message(wanted[connection.id], stamp, data)


class Recording:
    """One recording, whatever its format and condition.

    Attributes:
        path: of its folder or file.
        storage: ``mcap`` or ``sqlite3``.
        channels: its topics with messages of ROS 2.
        counts: messages by channel; without an entry where only reading would tell.
        foreign: topics with other messages, by their name.
        compression: of its messages or files.
        cuts: one sentence for every file that is cut short or missing; complete once all was read.
    """

    def __init__(self, path: Path) -> None:
        """Find out what there is.

        Raises:
            RecordingError: there is no recording, or none of it can be read.
        """
        self.path = path
        self.cuts: list[str] = []
        self._parts: list[WholeFile | LinearMcap | CutSqlite] = []
        try:
            found, self.storage = files_of(path)
            listing = Listing(path, found)
            self.files = listing.files
            for missing in listing.missing:
                self._note(f"'{path / missing}' is missing, though {METADATA} lists it; the other "
                           "files were read")
            for extra in listing.extra:
                self._note(f"'{extra}' is not in {METADATA} beside it, and was left out; give it "
                           "as a recording of its own, or let `ros2 bag reindex` add it")
            self._stand_in = listing.stand_in()  # its folder goes with this object
            self._open(self._stand_in[1] if self._stand_in else path)
        except OSError as error:
            raise self._unreadable(error) from error
        self.channels = list(dict.fromkeys(
            channel for part in self._parts for channel in part.channels))
        self.counts: Counter[Channel] = Counter()
        for part in self._parts:
            self.counts.update(part.counts)  # "+" would drop the zeros
        self.foreign = {topic: what for part in self._parts
                        for topic, what in getattr(part, "foreign", {}).items()}
        self.compression = getattr(self._parts[0], "compression", CompressionMode.NONE)

    @property
    def times(self) -> tuple[int, int] | None:
        """When its first and its last message were recorded, in nanoseconds.

        None where it cannot be read from the middle: it is empty, or read file by file.
        """
        part = self._parts[0]
        return part.times if len(self._parts) == 1 and isinstance(part, WholeFile) else None

    @cached_property
    def contents(self) -> list[tuple[Path, tuple[int, str]]]:
        """Its files, with what tells each from one made anew, however often both are copied.

        Raises:
            RecordingError: they cannot be read.
        """
        try:
            return [(file, contents_of(file)) for file in self.files]
        except OSError as error:
            raise self._unreadable(error) from error

    def count_of(self, channels: Iterable[Channel]) -> int | None:
        """Return how many messages channels have together; None where only reading would tell."""
        total = 0
        for channel in channels:
            count = self.counts.get(channel)
            if count is None:
                return None
            total += count
        return total

    def messages(self, channels: Collection[Channel] | None = None, start: int | None = None,
                 stop: int | None = None) -> Iterator[Message]:
        """Yield the messages, of all channels or of some, one by one.

        A file that turns out to be damaged while it is read loses what is damaged, and is noted in
        ``cuts``. What lies behind the damage comes in the order it was written.

        Args:
            channels: that are wanted; None for all.
            start, stop: nanoseconds, from which on and before which messages were recorded; only
                where there are ``times``.

        Raises:
            RecordingError: the disk cannot be read.
        """
        wanted = set(self.channels if channels is None else channels)
        for part in self._parts:
            seen: Counter[tuple[str, str, int]] = Counter()
            try:
                for message in self._messages(part, wanted, start, stop):
                    seen[_known(message)] += 1
                    yield _unpacked(message)
            except OSError as error:
                raise RecordingError(f"'{self.path}' cannot be read ({error}); check the disk it "
                                     "is on") from error
            except Exception as error:  # also what a decompressor raises
                self._note(f"'{self.path}' is damaged ({first_line(error)}); what can be read of "
                           "it was read")
                if isinstance(part, WholeFile):
                    # A file that is read by itself, or all of a recording.
                    files = [part.path] if part.path in self.files else self.files
                    yield from self._behind_damage(files, wanted, start, stop, seen)

    def _unreadable(self, error: OSError) -> RecordingError:
        return RecordingError(f"'{self.path}' cannot be read ({error}); check its rights and the "
                              "disk it is on")

    def _messages(self, part: WholeFile | LinearMcap | CutSqlite, wanted: Collection[Channel],
                  start: int | None, stop: int | None) -> Iterator[Message]:
        """Yield the messages of a part."""
        if isinstance(part, WholeFile):
            return self._whole(part, wanted, start, stop)
        return (message for message in part.messages() if message.channel in wanted)

    def _behind_damage(self, files: Iterable[Path], wanted: Collection[Channel],
                       start: int | None, stop: int | None,
                       seen: Counter[tuple[str, str, int]]) -> Iterator[Message]:
        """Yield what was not seen yet, file by file, without the index."""
        # Read without rosbags, a channel's definition may be spelt in another way.
        channels = {(channel.topic, channel.kind): channel for channel in wanted}
        for file in files:
            try:
                for message in self._salvaged(file).messages():
                    channel = channels.get((message.channel.topic, message.channel.kind))
                    if channel is None:
                        continue
                    if seen[_known(message)]:
                        seen[_known(message)] -= 1
                    elif ((start is None or message.stamp >= start)
                          and (stop is None or message.stamp < stop)):
                        yield _unpacked(message._replace(channel=channel))
            except Exception:  # nothing more can be had of this file; the damage is noted
                continue

    def _whole(self, part: WholeFile, wanted: Collection[Channel], start: int | None,
               stop: int | None) -> Iterator[Message]:
        """Yield a whole file's messages, and see that as many come as it announces."""
        announced = missing = sum(part.counts[channel] for channel in wanted)
        for message in part.messages(wanted, start, stop):
            missing -= 1
            yield message
        if start is None and stop is None and missing > 0 and not self.cuts:
            raise ReaderError(f"{missing} of {announced} messages are missing")

    def _open(self, path: Path) -> None:
        """Open it as a whole, or else file by file."""
        try:
            self._parts = [WholeFile(path)]
        except Exception as error:  # rosbags raises anything on what it did not expect
            self._salvage(error)

    def _salvage(self, error: Exception) -> None:
        """Open the files of a recording one by one, as far as each goes."""
        if self.path.is_dir() and not (self.path / METADATA).is_file():
            self._note(f"'{self.path}' has no {METADATA}: its recorder did not end properly")
        problem = (f"'{self.path}' cannot be read: {first_line(error)}; check that it is a rosbag2 "
                   "recording")
        for file in self.files:
            try:
                self._parts.append(self._open_file(file))
            except Exception as deeper:
                problem = f"'{file}' cannot be read: {_why_unreadable(file, deeper)}"
                self._note(problem)
        if not self._parts:
            raise RecordingError(problem)

    def _open_file(self, file: Path) -> WholeFile | LinearMcap | CutSqlite:
        log = Path(f"{file}-wal")
        if log.is_file() and log.stat().st_size:
            self._note(f"'{file}' was not closed; what stands in its log was read, too")
            return CutSqlite(file)
        try:
            return WholeFile(file)
        except Exception as error:
            part = self._salvaged(file)
            # A definition in an encoding that rosbags lacks, as recorders write where they have
            # found none, is no cut.
            whole = part.whole if isinstance(part, LinearMcap) else isinstance(error, LookupError)
            if not whole:
                self._note(f"'{file}' is cut short, and was read up to the cut")
            return part

    def _salvaged(self, file: Path) -> LinearMcap | CutSqlite:
        """Open a file that may be damaged."""
        return (LinearMcap if self.storage == "mcap" else CutSqlite)(file)

    def _note(self, cut: str) -> None:
        if cut not in self.cuts:
            self.cuts.append(cut)


def _known(message: Message) -> tuple[str, str, int]:
    """Return by what a message is known again, whoever reads it."""
    return message.channel.topic, message.channel.kind, message.stamp


def _unpacked(message: Message) -> Message:
    """Unpack a message; where metadata.yaml is lost, nothing else tells. CDR begins with a zero."""
    if bytes(message.data[:4]) != ZSTD:
        return message
    return message._replace(data=zstd.decompress(message.data))


def _why_unreadable(file: Path, error: Exception) -> str:
    """Say why a file cannot be read, with the remedy that fits."""
    if not os.access(file, os.R_OK):
        return "there is no right to read it; check its owner and rights"
    return found_instead(file, "recording") or \
        f"{first_line(error)}; check that it is a rosbag2 recording"


def _is_ros_2(connection: Connection) -> bool:
    return _extension(connection).serialization_format == "cdr" and "/" in connection.msgtype


def _extension(connection: Connection) -> ConnectionExtRosbag2:
    """Return what a topic has in ROS 2's recordings alone, the only ones that are opened here."""
    if not isinstance(connection.ext, ConnectionExtRosbag2):
        raise ReaderError(f"topic '{connection.topic}' is one of ROS 1")
    return connection.ext


def _channel_of(connection: Connection) -> Channel:
    return Channel(connection.topic, kind_of(connection.msgtype), connection.msgdef.data,
                   connection.digest, tuple(_extension(connection).offered_qos_profiles))
