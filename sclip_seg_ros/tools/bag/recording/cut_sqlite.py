"""Read an SQLite recording that lacks its end, or was not closed, as far as it goes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import parse_qos

from sclip_seg_ros.tools.bag.recording.channel import Channel, Message


class CutSqlite:
    """The messages of a file up to where it breaks off, in the order they were written."""

    def __init__(self, path: Path) -> None:
        """Read the topics.

        Raises:
            ReaderError: it is not a recording, or breaks off before its topics.
        """
        self._path = path
        try:
            connection = self._connect()
            try:
                self._topics = _read_topics(connection)
                first = connection.execute("SELECT id FROM messages ORDER BY id").fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise ReaderError(f"'{path}' is not a recording, or breaks off before its first "
                              f"message ({error})") from error
        if first is None:
            raise ReaderError(f"'{path}' holds no message; leave it out")
        self.channels = list(dict.fromkeys(self._topics.values()))
        self.counts: Counter[Channel] = Counter()  # only reading all of them would tell

    def messages(self) -> Iterator[Message]:
        """Yield the messages."""
        connection = self._connect()
        try:
            for topic, stamp, data in connection.execute(
                    "SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
                if topic in self._topics:
                    yield Message(self._topics[topic], stamp, data)
        except sqlite3.DatabaseError:
            return  # here it breaks off
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        # What a recorder that was killed had not yet moved from the log to the file still counts;
        # reading that log needs locks, which a file alone can do without.
        log = Path(f"{self._path}-wal")
        lock = "" if log.is_file() and log.stat().st_size else "&immutable=1"
        connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro{lock}", uri=True)
        # Without it SQLite refuses a file shorter than its first page says.
        connection.execute("PRAGMA writable_schema = ON")
        return connection


def _read_topics(connection: sqlite3.Connection) -> dict[int, Channel]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
    wanted = ", ".join(name if name in columns else "''" for name in
                       ("offered_qos_profiles", "type_description_hash"))
    definitions = {}
    if connection.execute("PRAGMA table_info(message_definitions)").fetchone():
        definitions = dict(connection.execute(
            "SELECT topic_type, encoded_message_definition FROM message_definitions"))
    return {number: Channel(name, kind, definitions.get(kind, ""), digest or "",
                            tuple(parse_qos(qos)))
            for number, name, kind, qos, digest in connection.execute(
                f"SELECT id, name, type, {wanted} FROM topics ORDER BY id")}
