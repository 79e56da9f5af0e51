"""What is given as a recording is looked at: missing files, odd names, other things."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from bag_program import segment
from recordings import (
    FRONT,
    IMAGE,
    START,
    TYPES,
    data_file,
    picture,
    raw,
    record,
    rows,
    write_mcap,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer

from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError

NOTE = b"\0\x05\x16\x07\0\2\0\0Mac OS X        " + bytes(99)


def split(folder: Path, storage: str, compression: CompressionMode) -> list[Path]:
    """Record in two files with one metadata.yaml, as `ros2 bag record --max-bag-size` does."""
    parts = [record(folder.with_name(f"{folder.name}{index}"), storage, frames=3,
                    compression=compression) for index in range(2)]
    folder.mkdir()
    whole = yaml.safe_load((parts[0] / "metadata.yaml").read_text())
    names = []
    for index, part in enumerate(parts):
        [file] = [file for file in part.iterdir() if file.name != "metadata.yaml"]
        names.append(file.name.replace(part.name, f"{folder.name}_{index}"))
        shutil.copy(file, folder / names[-1])
    information = whole["rosbag2_bagfile_information"]
    information["relative_file_paths"], information["files"] = names, []
    (folder / "metadata.yaml").write_text(yaml.safe_dump(whole))
    return [folder / name for name in names]


def read(path: Path) -> tuple[Recording, list[tuple[str, int, bytes]]]:
    """Return a recording and its messages."""
    recording = Recording(path)
    return recording, [(message.channel.topic, message.stamp, bytes(message.data))
                       for message in recording.messages()]


def expected(path: Path) -> list[tuple[str, int, bytes]]:
    """Return the messages as rosbags reads them."""
    return [(topic, stamp, data) for topic, _, stamp, data in rows(path)]


@pytest.mark.parametrize("storage, compression", [
    ("mcap", CompressionMode.NONE), ("mcap", CompressionMode.FILE),
    ("sqlite3", CompressionMode.NONE), ("sqlite3", CompressionMode.FILE),
    ("sqlite3", CompressionMode.MESSAGE)])
def test_a_missing_file_is_named_and_the_others_read(storage, compression, tmp_path):
    files = split(tmp_path / "drive", storage, compression)
    assert read(tmp_path / "drive")[0].cuts == []
    files[0].unlink()
    recording, found = read(tmp_path / "drive")
    assert found == expected(tmp_path / "drive1")
    [cut] = recording.cuts
    assert cut.startswith(f"'{files[0]}' is missing") and recording.files == files[1:]


def test_a_file_that_metadata_does_not_list_is_named(tmp_path):
    path = record(tmp_path / "drive", "mcap", frames=2)
    shutil.copy(data_file(path), path / "other.mcap")
    recording, found = read(path)
    assert len(found) == 8
    [cut] = recording.cuts
    assert f"'{path / 'other.mcap'}' is not in metadata.yaml" in cut


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_playing_a_packed_recording_leaves_unpacked_is_not_extra(storage, tmp_path):
    """`ros2 bag play` unpacks each file beside the packed one, and leaves it there."""
    path = record(tmp_path / "drive", storage, frames=2, compression=CompressionMode.FILE)
    before = read(path)[1]
    plain = record(tmp_path / "plain", storage, frames=2)
    [packed] = path.glob("*.zstd")
    shutil.copy(data_file(plain), packed.with_suffix(""))
    recording, found = read(path)
    assert len(before) == 8 and found == before and recording.cuts == []


def test_a_renamed_recording_is_whole(tmp_path):
    path = record(tmp_path / "drive", "mcap", frames=2)
    before = expected(path)
    data_file(path).rename(path / "renamed.mcap")
    recording, found = read(path)
    assert found == before and recording.cuts == []


@pytest.mark.parametrize("name", ["100%25.db3", "what?.db3", "take#2.db3"])
@pytest.mark.parametrize("alone", [True, False])
def test_names_of_sqlite_files_are_no_uris(name, alone, tmp_path):
    path = record(tmp_path / "drive", "sqlite3", frames=2)
    before = read(path)[1]
    path = path.rename(tmp_path / "a%20folder")
    file = data_file(path)
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(file.name, name))
    file.rename(path / name)
    recording, found = read(path / name if alone else path)
    assert len(before) == 8 and found == before and recording.cuts == []


def test_notes_of_macs_are_no_files_of_a_recording(tmp_path):
    path = record(tmp_path / "drive", "mcap", frames=2)
    (path / f"._{data_file(path).name}").write_bytes(NOTE)
    (path / "metadata.yaml").unlink()
    recording, found = read(path)
    assert len(found) == 8 and len(recording.files) == 1
    assert [cut for cut in recording.cuts if "metadata.yaml" not in cut] == []


@pytest.mark.parametrize("name, content, told", [
    ("old.bag", b"#ROSBAG V2.0\n" + bytes(99), "is a ROS 1 recording; `rosbags-convert --src {0}"),
    ("drive.zip", b"PK\3\4" + bytes(99), r"is packed \(zip\); unpack it"),
    ("drive.mcap", b"", "is empty; copy it again"),
    ("drive.mcap", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
    ("drive.db3", b"<!DOCTYPE html><html>", "is a web page"),
    ("drive.sqlite3", b"SQLite format 3\0" + bytes(99), "is a recording; let its name end in"),
    ("walk.jpg", b"\xff\xd8\xff\xe0", "is a photo, which is for sclip-segment")])
@pytest.mark.parametrize("within", [True, False])
def test_what_is_given_instead_is_named_with_the_remedy(name, content, told, within, tmp_path):
    (tmp_path / "given").mkdir()
    file = tmp_path / "given" / name
    file.write_bytes(content)
    with pytest.raises(RecordingError, match=told.format(file)) as refusal:
        Recording(file.parent if within else file)
    assert f"'{file}'" in str(refusal.value)


def test_a_ros_1_recording_in_mcap_is_called_that(tmp_path):
    path = write_mcap(tmp_path / "old.mcap",
                      [("/image", "ros1", "sensor_msgs/Image", "ros1msg")],
                      [(0, START, b"image")], profile="ros1")
    with pytest.raises(RecordingError, match=r"ROS 1 recording in MCAP.*rosbags-convert --src"):
        Recording(path)


def test_a_folder_of_recordings_names_them(tmp_path):
    for name in ("b", "a"):
        record(tmp_path / "all" / name, "mcap", frames=1)
    with pytest.raises(RecordingError, match=f"give those that are in it: {tmp_path}/all/a "
                                             f"{tmp_path}/all/b"):
        Recording(tmp_path / "all")


@pytest.mark.parametrize("profile", ["ros2", ""])
def test_a_file_with_foreign_channels_is_whole(profile, tmp_path):
    images = [raw(picture(index), index) for index in range(3)]
    path = write_mcap(tmp_path / "mixed.mcap",
                      [("/pose", "protobuf", "foxglove.Pose", "protobuf"),
                       (FRONT, "cdr", IMAGE, "ros2msg")],
                      [(0, START, b"pose"), *((1, START + index, data)
                                              for index, data in enumerate(images))], profile)
    recording, found = read(path)
    assert found == [(FRONT, START + index, data) for index, data in enumerate(images)]
    assert recording.cuts == []
    assert {topic: str(what) for topic, what in recording.foreign.items()} == {
        "/pose": "protobuf foxglove.Pose"}
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    recording, found = read(path)
    assert len(found) == 3 and "is cut short" in recording.cuts[0]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_schema_named_without_msg_is_the_same_type(indexed, tmp_path):
    """As MCAP's registry of schemas has it, and writers that are not ROS."""
    images = [raw(picture(index), index) for index in range(3)]
    if indexed:
        path = tmp_path / "drive"
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            channel = writer.add_connection(
                FRONT, "sensor_msgs/Image", msgdef=TYPES.generate_msgdef(IMAGE, ros_version=2)[0],
                rihs01=TYPES.hash_rihs01(IMAGE))
            for index, data in enumerate(images):
                writer.write(channel, START + index, data)
    else:
        path = write_mcap(tmp_path / "drive.mcap", [(FRONT, "cdr", "sensor_msgs/Image", "ros2msg")],
                          [(0, START + index, data) for index, data in enumerate(images)])
    recording, found = read(path)
    assert [channel.kind for channel in recording.channels] == [IMAGE]
    assert [data for _, _, data in found] == images and not recording.foreign


def test_a_file_of_foreign_messages_alone_names_them(tmp_path):
    path = write_mcap(tmp_path / "other.mcap", [("/pose", "json", "Pose", "jsonschema")],
                      [(0, START, b"{}")])
    with pytest.raises(RecordingError, match=r"no message of ROS 2, but of others: '/pose' "
                                             r"\(json Pose\)"):
        Recording(path)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_definition_that_the_recorder_did_not_find_is_no_cut(storage, tmp_path):
    """Recorders write such with the encoding "unknown", over which rosbags stumbles."""
    if storage == "mcap":
        path = write_mcap(tmp_path / "drive.mcap", [
            (FRONT, "cdr", IMAGE, "ros2msg"), ("/odd", "cdr", "odd_msgs/msg/Odd", "unknown")],
            [(0, START, raw(picture(0), 0)), (1, START + 1, bytes(8))])
        expected_topics = [FRONT, "/odd"]
    else:
        path = record(tmp_path / "drive", "sqlite3", frames=1)
        with closing(sqlite3.connect(data_file(path))) as database:
            database.execute("UPDATE message_definitions SET encoding = 'unknown', "
                             "encoded_message_definition = '' WHERE topic_type LIKE 'nobody%'")
            database.commit()
        expected_topics = ["/chatter", FRONT, "/front/depth", "/odd"]
    recording, found = read(path)
    assert [topic for topic, *_ in found] == expected_topics
    assert recording.cuts == [] and recording.foreign == {}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_packed_messages_are_read_without_the_metadata_that_tells_of_them(storage, tmp_path):
    path = record(tmp_path / "drive", storage, frames=2, compression=CompressionMode.MESSAGE)
    whole = expected(path)
    (path / "metadata.yaml").unlink()
    assert read(path)[1] == whole
    assert read(data_file(path))[1] == whole


def test_a_pipe_is_no_recording(tmp_path):
    path = record(tmp_path / "drive", "mcap", frames=2)
    os.mkfifo(path / "pipe.mcap")
    assert len(read(path)[1]) == 8
    with pytest.raises(RecordingError, match="is a pipe or a device and not a file"):
        Recording(path / "pipe.mcap")


@pytest.mark.parametrize("flags, done", [((), "segmented"), (("--piece-seconds", 60), "segmented"),
                                         (("--dry-run",), "1 source")])
def test_a_missing_recording_costs_itself_alone_and_one_named_twice_counts_once(
        tmp_path, tiny_model, capsys, flags, done):
    path = record(tmp_path / "drive", "mcap", frames=2)
    gone = tmp_path / "gone"
    assert segment(tiny_model, tmp_path / "out", "--bag", path, gone, f"{path}/", *flags) == 1
    said = capsys.readouterr()
    assert said.out.count(done) == 1 and f"'{gone}' does not exist" in said.err


def test_results_do_not_go_into_the_recording(tmp_path, tiny_model, capsys):
    path = record(tmp_path / "drive", "mcap", frames=2)
    assert segment(tiny_model, path / "labels", "--bag", path) == 2
    assert f"lies in the recording '{path}'; choose a folder beside it" in capsys.readouterr().err
    assert not (path / "labels").exists()
