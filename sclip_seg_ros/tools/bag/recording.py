"""Open a recording, also one that is cut short, and read its messages one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionMode, Reader, ReaderError

from sclip_seg_ros.tools.bag.channel import Channel, Message
from sclip_seg_ros.tools.bag.cut_sqlite import CutSqlite
from sclip_seg_ros.tools.bag.linear_mcap import LinearMcap

STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
METADATA = "metadata.yaml"


class RecordingError(ValueError):
    """A recording cannot be read; the message says which and what to do."""


class UnindexedError(ReaderError):
    """A file is whole, but rosbags could not bring its messages into the order of their stamps."""


class WholeFile:
    """A recording, or a file of one, that the rosbags library reads."""

    def __init__(self, path: Path) -> None:
        """Open it, and close it again.

        Raises:
            UnindexedError: it has no index.
            ReaderError: it is cut short or damaged.
        """
        self._path = path
        with Reader(path) as reader:
            files = getattr(reader.storage, "storages", [reader.storage])
            if reader.message_count and any(getattr(file, "chunks", None) == [] for file in files):
                raise UnindexedError(f"'{path}' has no index")
            self.channels = [_channel_of(connection) for connection in reader.connections]
            self.counts: Counter[Channel] = Counter()
            for channel, connection in zip(self.channels, reader.connections, strict=True):
                self.counts[channel] += connection.msgcount
            self.compression = CompressionMode[(reader.compression_mode or "none").upper()]

    def messages(self, channels: Collection[Channel]) -> Iterator[Message]:
        """Yield the messages of some channels in the order of their stamps."""
        with Reader(self._path) as reader:
            wanted = {connection.id: channel for connection in reader.connections
                      if (channel := _channel_of(connection)) in channels}
            if not wanted:
                return
            chosen = [item for item in reader.connections if item.id in wanted]
            for connection, stamp, data in reader.messages(chosen):
                yield Message(wanted[connection.id], stamp, data)


class Recording:
    """One recording, whatever its format and condition.

    Attributes:
        path: of its folder or file.
        storage: ``mcap`` or ``sqlite3``.
        channels: its topics.
        counts: messages by channel; without an entry where only reading would tell.
        compression: of its messages or files.
        cuts: one sentence for every file that is cut short; complete once all was read.
    """

    def __init__(self, path: Path) -> None:
        """Find out what there is.

        Raises:
            RecordingError: there is no recording, or none of it can be read.
        """
        self.path = path
        self.cuts: list[str] = []
        self._parts: list[WholeFile | LinearMcap | CutSqlite] = []
        self.files, self.storage = _files_of(path)
        try:
            self._parts = [WholeFile(path)]
        except (ReaderError, FileNotFoundError) as error:
            self._salvage(error)
        self.channels = list(dict.fromkeys(
            channel for part in self._parts for channel in part.channels))
        self.counts: Counter[Channel] = Counter()
        for part in self._parts:
            self.counts += part.counts
        self.compression = getattr(self._parts[0], "compression", CompressionMode.NONE)

    def messages(self, channels: Collection[Channel] | None = None) -> Iterator[Message]:
        """Yield the messages, of all channels or of some, one by one.

        A file that turns out to be damaged while it is read ends there, and is noted in ``cuts``.
        """
        wanted = set(self.channels if channels is None else channels)
        for part in self._parts:
            if isinstance(part, WholeFile):
                try:
                    yield from part.messages(wanted)
                except ReaderError as error:
                    self._note(f"'{self.path}' is damaged, and was read up to there ({error})")
            else:
                yield from (message for message in part.messages() if message.channel in wanted)

    def _salvage(self, error: Exception) -> None:
        """Open the files of a recording one by one, as far as each goes."""
        if self.path.is_dir() and not (self.path / METADATA).is_file():
            self._note(f"'{self.path}' has no {METADATA}: its recorder did not end properly")
        problems = [str(error)]
        for file in self.files:
            try:
                self._parts.append(self._open_file(file))
            except (ReaderError, UnicodeDecodeError, LookupError) as deeper:
                problems.append(str(deeper))
                self._note(f"'{file}' cannot be read ({deeper})")
        if not self._parts:
            raise RecordingError(f"'{self.path}' cannot be read ({problems[-1]}); check that it is "
                                 "a rosbag2 recording")

    def _open_file(self, file: Path) -> WholeFile | LinearMcap | CutSqlite:
        log = Path(f"{file}-wal")
        if log.is_file() and log.stat().st_size:
            self._note(f"'{file}' was not closed; what stands in its log was read, too")
            return CutSqlite(file)
        try:
            return WholeFile(file)
        except UnindexedError:
            return LinearMcap(file)
        except ReaderError:
            part = (LinearMcap if self.storage == "mcap" else CutSqlite)(file)
            self._note(f"'{file}' is cut short, and was read up to the cut")
            return part

    def _note(self, cut: str) -> None:
        if cut not in self.cuts:
            self.cuts.append(cut)


def _files_of(path: Path) -> tuple[list[Path], str]:
    """Return the files of a recording in their order, and their format.

    Raises:
        RecordingError: there are none.
    """
    if not path.exists():
        raise RecordingError(f"'{path}' does not exist; check its path")
    found = sorted((file for file in path.iterdir() if _storage_of(file)), key=_natural) \
        if path.is_dir() else [path]
    storages = {_storage_of(file) for file in found}
    if len(storages) != 1 or "" in storages:
        raise RecordingError(f"'{path}' is no rosbag2 recording; give a folder with {METADATA}, or "
                             f"a file that ends in {' or '.join(STORAGES)}")
    return found, storages.pop()


def _storage_of(file: Path) -> str:
    """Return the format of a file by its name, also of a compressed one; empty if none."""
    name = file.with_suffix("") if file.suffix == ".zstd" else file
    return STORAGES.get(name.suffix, "")


def _natural(path: Path) -> Sequence[tuple[int, str]]:
    """Sort ``bag_10`` behind ``bag_9``."""
    return [(int(part), "") if part.isdecimal() else (0, part)
            for part in re.split(r"(\d+)", path.name)]


def _channel_of(connection: Connection) -> Channel:
    return Channel(connection.topic, connection.msgtype, connection.msgdef.data, connection.digest,
                   tuple(connection.ext.offered_qos_profiles))
