"""Recordings are read up to where they break off, and whole ones as rosbags reads them."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
from recordings import cut, data_file, record, rows, text, write_mcap
from rosbags.rosbag2 import CompressionMode, Reader, ReaderError
from rosbags.rosbag2.storage_mcap import decompress

from sclip_seg_ros.tools.bag.recording.cut_sqlite import CutSqlite
from sclip_seg_ros.tools.bag.recording.linear_mcap import LinearMcap
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError

PACKED = [CompressionMode.NONE, CompressionMode.STORAGE]


def read(path: Path) -> list[tuple[str, str, int, bytes]]:
    """Return all messages, in the form of ``rows``."""
    return [(message.channel.topic, message.channel.kind, message.stamp, bytes(message.data))
            for message in Recording(path).messages()]


def without_index(content: bytes) -> bytes:
    """Return an MCAP file's content without its summary, as recorders tuned for speed write it."""
    summary, = struct.unpack_from("<Q", content, len(content) - 8 - 20)
    return content[:summary] + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + content[:8]


@pytest.mark.parametrize("storage, compression", [
    ("mcap", CompressionMode.NONE), ("mcap", CompressionMode.STORAGE),
    ("mcap", CompressionMode.FILE), ("sqlite3", CompressionMode.NONE),
    ("sqlite3", CompressionMode.MESSAGE)])
def test_whole_recordings_are_read_as_they_are(storage, compression, tmp_path):
    path = record(tmp_path / "bag", storage, compression=compression)
    recording = Recording(path)
    assert read(path) == rows(path)
    assert recording.cuts == [] and recording.storage == storage
    counts = {channel.topic: count for channel, count in recording.counts.items()}
    assert counts["/chatter"] == counts["/front/image_raw"] == 6
    odd, = (channel for channel in recording.channels if channel.topic == "/odd")
    assert odd.digest == "RIHS01_" + "ab" * 32 and "uint8 value" in odd.definition


@pytest.mark.parametrize("compression", PACKED)
def test_reading_without_index_gives_the_same(compression, tmp_path):
    path = record(tmp_path / "bag", "mcap", compression=compression)
    file = data_file(path)
    linear = LinearMcap(file)
    with Reader(file) as reader:
        qos = {item.topic: tuple(item.ext.offered_qos_profiles) for item in reader.connections}
    assert {channel.topic: channel.qos for channel in linear.channels} == qos
    found = [(message.channel.topic, message.channel.kind, message.stamp, message.data)
             for message in linear.messages()]
    assert found == rows(path)


@pytest.mark.parametrize("compression", PACKED)
def test_a_file_cut_anywhere_gives_a_beginning_of_the_messages(compression, tmp_path):
    path = record(tmp_path / "bag", "mcap", frames=2, compression=compression)
    whole, content = rows(path), data_file(path).read_bytes()
    short, lengths = tmp_path / "short.mcap", set()
    for size in range(0, len(content), 97):
        short.write_bytes(content[:size])
        try:
            found = [message.data for message in LinearMcap(short).messages()]
        except Exception as error:
            assert type(error).__name__ == "ReaderError", size
            found = []
        assert found == [row[3] for row in whole[:len(found)]], size
        lengths.add(len(found))
    assert max(lengths) == len(whole)
    assert len(lengths) > 5 or compression is CompressionMode.STORAGE


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_killed_recorders_file_is_read_up_to_the_cut(storage, tmp_path):
    path = record(tmp_path / "bag", storage, frames=60)
    whole = rows(path)
    recording = Recording(cut(path, 0.6))
    found = [(message.channel.topic, message.channel.kind, message.stamp, bytes(message.data))
             for message in recording.messages()]
    assert found == whole[:len(found)]
    assert 0.4 * len(whole) < len(found) < 0.7 * len(whole)
    assert any("cut short" in cut for cut in recording.cuts)
    assert any("metadata.yaml" in cut for cut in recording.cuts)


def test_one_cut_file_of_several_does_not_hide_the_others(tmp_path):
    for index in range(3):
        part = record(tmp_path / f"part{index}", "mcap", frames=40)
        whole = rows(part)
        (tmp_path / "bag").mkdir(exist_ok=True)
        shutil.copy(data_file(part), tmp_path / f"bag/bag_{9 + index}.mcap")
    last = tmp_path / "bag/bag_11.mcap"
    last.write_bytes(last.read_bytes()[:300_000])
    found = read(tmp_path / "bag")
    assert found[:len(whole)] == found[len(whole):2 * len(whole)] == whole
    assert 0 < len(found) - 2 * len(whole) < len(whole)


def test_a_log_that_sqlite_had_not_merged_is_read(tmp_path):
    path = record(tmp_path / "bag", "sqlite3", frames=4)
    (path / "metadata.yaml").unlink()
    file = data_file(path)
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute("INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp "
                     "+ 1000000000, data FROM messages")
    database.commit()
    # What a crash leaves: the two files as they are now.
    shutil.copytree(path, tmp_path / "crashed", ignore=shutil.ignore_patterns("*-shm"))
    database.close()
    recording = Recording(tmp_path / "crashed")
    assert len(list(recording.messages())) == 2 * 4 * 4
    assert any("not closed" in cut for cut in recording.cuts)


def test_a_cut_file_without_messages_is_told_with_what_to_do(tmp_path):
    file = data_file(record(tmp_path / "bag", "sqlite3", frames=1))
    with closing(sqlite3.connect(file)) as database:
        database.execute("DELETE FROM messages")
        database.commit()
    with pytest.raises(ReaderError, match=f"'{file}' holds no message; leave it out"):
        CutSqlite(file)


def test_a_whole_file_without_index_is_not_called_cut(tmp_path):
    path = record(tmp_path / "bag", "mcap")
    expected, file = rows(path), data_file(path)
    file.write_bytes(without_index(file.read_bytes()))
    recording = Recording(path)
    assert [(message.channel.topic, bytes(message.data)) for message in recording.messages()] \
        == [(row[0], row[3]) for row in expected]
    assert recording.cuts == []


def with_checksums(content: bytes) -> bytes:
    """Return an MCAP file's content with the checksums of chunks that ROS's recorder writes."""
    content, at = bytearray(content), 8
    while at < len(content) - 8:
        code, length = struct.unpack_from("<BQ", content, at)
        if code == 6:  # first and last time, size, checksum, compression, packed size
            _, _, size, _, letters = struct.unpack_from("<QQQII", content, at + 9)
            name, packed = at + 41, at + 41 + letters + 8
            plain = decompress(bytes(content[packed:at + 9 + length]),
                               content[name:name + letters].decode(), size, 0)
            struct.pack_into("<I", content, at + 9 + 24, crc32(plain))
        at += 9 + length
    return bytes(content)


@pytest.mark.parametrize("compression", PACKED)
def test_a_damaged_chunk_costs_its_own_messages(compression, tmp_path):
    """One bad sector near the front; rosbags reads nothing beyond it."""
    path = record(tmp_path / "bag", "mcap", frames=180, compression=compression)
    whole, file = rows(path), data_file(path)
    content = bytearray(with_checksums(file.read_bytes()))
    content[len(content) // 8] ^= 255
    file.write_bytes(content)
    recording = Recording(path)
    found = [(message.channel.topic, message.channel.kind, message.stamp, bytes(message.data))
             for message in recording.messages()]
    assert found == whole[-len(found):]  # what lies behind the first chunk, each once
    assert 0.4 * len(whole) < len(found) < 0.8 * len(whole)
    problem, = recording.cuts
    assert problem.startswith(f"'{path}' is damaged (") \
        and problem.endswith("what can be read of it was read")
    # Of a stretch of time as well.
    start, stop = whole[-40][2], whole[-8][2]
    assert [message.stamp for message in Recording(path).messages(None, start, stop)] == \
        [stamp for _, _, stamp, _ in found if start <= stamp < stop]


def test_a_damaged_file_of_several_gives_no_message_twice(tmp_path):
    """Without metadata.yaml each file is read by itself."""
    path = record(tmp_path / "bag", "mcap", frames=180, compression=CompressionMode.STORAGE)
    file = data_file(path)
    shutil.copy(data_file(record(tmp_path / "later", "mcap", frames=3)), path / "later.mcap")
    (path / "metadata.yaml").unlink()
    content = bytearray(with_checksums(file.read_bytes()))
    content[len(content) // 8] ^= 255
    file.write_bytes(content)
    later = rows(tmp_path / "later")
    found = read(path)
    assert len(found) > 100
    assert all(found.count(row) == 1 for row in later if row[1].startswith("std_msgs"))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [9, 64, 4096])
def test_zeros_in_place_of_messages_are_told(chunked, size, tmp_path):
    """What a disk that lost power leaves, in files without index, whose end is there."""
    if chunked:
        file = data_file(record(tmp_path / "bag", "mcap", frames=3))
        content = without_index(file.read_bytes())
    else:
        file = write_mcap(tmp_path / "drive.mcap", [("/chatter", "cdr", "std_msgs/msg/String",
                                                     "ros2msg")],
                          [(0, 10 ** 9 + index, text(f"message {index}" + "." * 2000))
                           for index in range(9)])
        content = file.read_bytes()
    file.write_bytes(content)
    whole = [message.data for message in LinearMcap(file).messages()]
    at = content.index(b"message 2") - 8 - 22 - 9  # length, CDR's head, the record's own head
    assert content[at] == 5  # a message's code
    file.write_bytes(content[:at] + bytes(size) + content[at + size:])
    recording = Recording(file)
    found = [message.data for message in recording.messages()]
    assert found == whole[:len(found)] and 2 <= len(found) < len(whole)
    assert recording.cuts == [f"'{file}' is cut short, and was read up to the cut"]


def test_a_damaged_name_costs_its_own_topic(tmp_path):
    """In a file without index, where nothing repeats it, and without checksums."""
    path = record(tmp_path / "bag", "mcap", frames=3)
    whole, file = rows(path), data_file(path)
    content = bytearray(without_index(file.read_bytes()))
    content[content.index(b"/chatter")] = 255  # no UTF-8
    file.write_bytes(content)
    recording = Recording(file)
    found = [(message.channel.topic, message.channel.kind, message.stamp, message.data)
             for message in recording.messages()]
    assert found == [row for row in whole if row[0] != "/chatter"] and len(found) == 9
    assert recording.cuts == [f"'{file}' is cut short, and was read up to the cut"]


@pytest.mark.parametrize("name, content", [("notes.txt", b"words"), ("bag.mcap", b"rubbish"),
                                           ("bag.mcap", b""), ("bag.db3", b"rubbish" * 99)])
def test_what_is_no_recording_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=name):
        Recording(tmp_path / name)


def test_a_folder_without_recording_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="not a rosbag2 recording"):
        Recording(tmp_path)
    with pytest.raises(RecordingError, match="does not exist"):
        Recording(tmp_path / "none")
