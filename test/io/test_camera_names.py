"""Cameras are called by what tells their topics apart."""

from __future__ import annotations

import pytest

from sclip_seg_ros.io.camera_names import camera_names


@pytest.mark.parametrize("topics, names", [
    (["/camera/image_raw"], [""]),
    (["/front/image_raw", "/rear/image_raw"], ["front", "rear"]),
    (["/robot/left/camera/image", "/robot/right/camera/image"], ["left", "right"]),
    (["/a/rgb/image", "/b/mono/image"], ["a_rgb", "b_mono"]),
    (["/image", "/stereo/image"], ["image", "stereo_image"]),
    (["/front/image_raw", "/front/image_rect"], ["image_raw", "image_rect"]),
])
def test_what_all_share_is_left_out_unless_nothing_would_be_left(topics, names):
    assert camera_names(topics) == names


def test_two_cameras_of_one_name_are_refused():
    with pytest.raises(ValueError, match="'/a/b/image' and '/a_b/image' would both be camera"):
        camera_names(["/a/b/image", "/a_b/image"])
