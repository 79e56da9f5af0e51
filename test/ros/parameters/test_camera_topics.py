"""Cameras are named by what tells their topics apart; what cannot be named is refused."""

from __future__ import annotations

import pytest

from sclip_seg_ros.ros.parameters.camera_topics import camera_topics


@pytest.mark.parametrize("topics, names", [
    (["image_raw"], [""]),
    (["/front/image_raw/compressed"], [""]),
    (["/front/image_raw", "/rear/image_raw"], ["front", "rear"]),
    (["/robot/front/image_raw", "/robot/rear/image_raw/compressed"], ["front", "rear"]),
    (["front", "rear"], ["front", "rear"]),
    (["/stereo/left/image_rect", "/stereo/right/image_rect", "/top/image"],
     ["stereo_left_image_rect", "stereo_right_image_rect", "top_image"]),
    (["/a/rgb/image", "/b/rgb/image"], ["a", "b"]),
    (["/image_raw", "/rear/image_raw"], ["image_raw", "rear_image_raw"]),
    (["~/front/image", "/rear/image"], ["front", "rear"]),
    ([f"/camera{index}/image" for index in range(8)], [f"camera{index}" for index in range(8)]),
])
def test_names(topics, names):
    assert [camera.name for camera in camera_topics(topics, "raw")] == names


@pytest.mark.parametrize("topic", ["~/image", "{node}/image", "{ns}/image", "image"])
def test_names_relative_to_the_node_are_names(topic):
    assert [camera.topic for camera in camera_topics([topic], "raw")] == [topic]


def test_a_topic_may_say_that_it_carries_compressed_images():
    cameras = camera_topics(["/front/image/compressed", "/rear/image"], "raw")
    assert [(camera.topic, camera.compressed) for camera in cameras] \
        == [("/front/image", True), ("/rear/image", False)]
    assert all(camera.compressed for camera in camera_topics(["/a/image", "/b/image"],
                                                             "compressed"))


@pytest.mark.parametrize("topics, message", [
    ([], "names no camera"),
    (["/front", "/"], "without a name"),
    (["/compressed"], "without a name"),
    ([f"/camera{index}/image" for index in range(9)], "9 cameras; give at most 8"),
    (["/front/image", "/rear/image", "/front/image"], "'/front/image' is named twice"),
    (["/front/image", "/front/image/compressed"], "'/front/image' is named twice"),
    (["/front-left/image", "/rear/image"], "'/front-left/image' is not a topic's name"),
    (["front camera"], "'front camera' is not a topic's name"),
    (["/1/image"], "must not start with a number"),
    (["/front//image"], "'/front//image' is not a topic's name .*repeated '/'.*; use letters"),
    (["{camera}/image"], "'{camera}/image' is not a topic's name"),
    (["/a/b/image", "/a_b/image"],
     "'/a/b/image' and '/a_b/image' would both be camera 'a_b_image'"),
    (["front/image", "/front/image"], "would both be camera 'front_image'"),
])
def test_what_cannot_be_named_is_refused(topics, message):
    with pytest.raises(ValueError, match=message):
        camera_topics(topics, "raw")
