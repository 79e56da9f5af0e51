"""Cameras of a recording are judged by their messages: what is there, and what can be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from recordings import (
    COMPRESSED,
    FRONT,
    IMAGE,
    START,
    packed,
    picture,
    png,
    raw,
    record_rows,
    write_mcap,
)

from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError
from sclip_seg_ros.tools.bag.results.topics import Plan, make_plan

PACKED = f"{FRONT}/compressed"
CODEC = Codec()


def plan_of(path, *topics: str) -> Plan:
    """Plan as sclip-bag does."""
    return make_plan(Recording(path), topics, "/sclip_seg", CODEC)


def chosen(path, *topics: str) -> list[str]:
    """Return the topics that are segmented."""
    return [channel.topic for channel in plan_of(path, *topics).outputs]


def images(count: int) -> list[tuple[str, str, bytes]]:
    """Return so many raw images of the front camera."""
    return [(FRONT, IMAGE, raw(picture(index), index)) for index in range(count)]


def pictures(count: int, topic: str = PACKED) -> list[tuple[str, str, bytes]]:
    """Return so many compressed images of a camera."""
    return [(topic, COMPRESSED, png(picture(index), index)) for index in range(count)]


def broken(count: int, topic: str = PACKED) -> list[tuple[str, str, bytes]]:
    """Return so many messages of a camera without an image, as while it starts."""
    return [(topic, COMPRESSED, packed(b"", "jpeg", index)) for index in range(count)]


def test_a_raw_topic_without_messages_gives_way_to_the_compressed_one(tmp_path):
    path = record_rows(tmp_path / "drive", [(FRONT, IMAGE, None), *pictures(3)])
    plan = plan_of(path)
    assert [channel.topic for channel in plan.outputs] == [PACKED]
    assert plan.left_out == (f"'{path}': topic '{FRONT}' is left out: it has no message",)
    assert plan.lost == ()


@pytest.mark.parametrize("raws, expected", [(4, FRONT), (2, FRONT), (1, PACKED)])
def test_the_raw_topic_is_taken_unless_most_images_are_in_the_other(raws, expected, tmp_path):
    path = record_rows(tmp_path / "drive", [*images(raws), *pictures(4)])
    plan = plan_of(path)
    other = ({FRONT, PACKED} - {expected}).pop()
    assert [channel.topic for channel in plan.outputs] == [expected]
    assert plan.left_out == (f"'{path}': topic '{other}' is left out: its images are those of "
                             f"'{expected}'",)


def test_raw_images_that_cannot_be_read_give_way_to_compressed_ones(tmp_path):
    spoilt = [(FRONT, IMAGE, data.replace(b"bgr8\0", b"rgb9\0")) for _, _, data in images(3)]
    plan = plan_of(record_rows(tmp_path / "drive", [*spoilt, *pictures(2)]))
    assert [channel.topic for channel in plan.outputs] == [PACKED]
    assert "'rgb9' is unknown" in plan.left_out[0] and not plan.lost


def test_one_good_image_makes_a_camera(tmp_path):
    rows = [*broken(9), *pictures(1), *broken(1, "/rear/image_raw/compressed"),
            *pictures(1, "/rear/image_raw/compressed")]
    plan = plan_of(record_rows(tmp_path / "drive", rows))
    assert [channel.topic for channel in plan.outputs] == [PACKED, "/rear/image_raw/compressed"]
    assert not plan.left_out and not plan.lost


def test_a_camera_without_any_readable_image_is_lost_and_its_first_reason_told(tmp_path):
    rows = [*broken(2), *images(2), *broken(3, "/rear/compressed"),
            ("/rear/compressed", COMPRESSED, packed(bytes(99), "h264", 0))]
    plan = plan_of(record_rows(tmp_path / "drive", rows))
    assert [channel.topic for channel in plan.outputs] == [FRONT]
    [lost] = plan.lost
    assert "topic '/rear/compressed' is left out: none of its images can be read" in lost
    assert "format 'jpeg' with 0 bytes" in lost
    [left_out] = plan.left_out  # the front camera is there
    assert f"topic '{PACKED}'" in left_out


@pytest.mark.parametrize("kind, data", [
    (IMAGE, raw(np.zeros((2, 2), np.uint16), 0, "16UC1")),
    (IMAGE, raw(np.zeros((2, 2), np.float32), 0, "32FC1")),
    (COMPRESSED, packed(cv2.imencode(".png", np.ones((9, 9), np.uint16))[1].tobytes(),
                        "16UC1; png compressed ", 0)),
    (COMPRESSED, packed(cv2.imencode(".png", np.ones((9, 9), np.uint16))[1].tobytes(), "png", 0)),
    (COMPRESSED, packed(bytes(40), "32FC1; compressedDepth png", 0))])
def test_depth_is_told_of_and_no_lost_camera(kind, data, tmp_path):
    path = record_rows(tmp_path / "drive", [*images(1), ("/depth", kind, data)])
    plan = plan_of(path)
    assert [channel.topic for channel in plan.outputs] == [FRONT]
    [told] = plan.left_out
    assert told.startswith(f"'{path}': topic '/depth' is left out: ") and "depth" in told
    assert plan.lost == ()


def test_without_any_camera_every_topic_is_named_with_its_reason(tmp_path):
    rows = [*broken(1), ("/depth", IMAGE, raw(np.zeros((2, 2), np.uint16), 0, "16UC1")),
            ("/idle", IMAGE, None)]
    with pytest.raises(RecordingError) as refusal:
        plan_of(record_rows(tmp_path / "drive", rows))
    for part in ("no topic with colour images", f"'{PACKED}': none", "'/depth': encoding '16UC1'",
                 "'/idle': it has no message"):
        assert part in str(refusal.value)


def test_a_film_of_messages_is_lost_unless_the_camera_is_there_otherwise(tmp_path):
    film = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    path = write_mcap(
        tmp_path / "drive.mcap",
        [(FRONT, "cdr", IMAGE, "ros2msg"), (f"{FRONT}/ffmpeg", "cdr", film, "ros2msg"),
         ("/rear/image_raw/ffmpeg", "cdr", film, "ros2msg")],
        [(0, START, images(1)[0][2]), (1, START, bytes(8)), (2, START, bytes(8))])
    plan = plan_of(path)
    assert [channel.topic for channel in plan.outputs] == [FRONT]
    assert [f"topic '{FRONT}/ffmpeg'" in told for told in plan.left_out] == [True]
    assert ["'/rear/image_raw/ffmpeg'" in told and "is a film" in told
            for told in plan.lost] == [True]


def test_a_named_topic_without_messages_is_lost_and_alone_refused(tmp_path):
    path = record_rows(tmp_path / "drive", [(FRONT, IMAGE, None), *pictures(1, "/rear/compressed")])
    plan = plan_of(path, FRONT, "/rear/compressed")
    assert plan.lost == (f"'{path}': topic '{FRONT}' is left out: it has no message",)
    with pytest.raises(RecordingError, match=f"has no message of {FRONT}"):
        plan_of(path, FRONT)


def test_messages_of_others_are_named_and_their_images_lost(tmp_path):
    path = write_mcap(
        tmp_path / "drive.mcap",
        [(FRONT, "cdr", IMAGE, "ros2msg"), ("/pose", "protobuf", "foxglove.Pose", "protobuf"),
         ("/stat", "json", "", ""), ("/rear", "protobuf", "foxglove.CompressedImage", "protobuf")],
        [(0, START, images(1)[0][2]), (1, START + 1, b"pose"), (2, START + 2, b"{}"),
         (3, START + 3, b"image")])
    plan = plan_of(path)
    assert [channel.topic for channel in plan.outputs] == [FRONT]
    assert [topic for topic in ("/pose", "/stat") for told in plan.left_out
            if f"topic '{topic}'" in told] == ["/pose", "/stat"]
    assert "protobuf foxglove.CompressedImage" in plan.lost[0] and len(plan.lost) == 1
