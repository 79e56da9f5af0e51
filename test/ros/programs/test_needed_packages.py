"""What a launch file starts beside the node is refused with what to do, where it is missing."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; use `make test`")

from sclip_seg_ros.ros.programs.needed_packages import check_installed  # noqa: E402


def test_a_missing_package_is_named_with_what_to_install_and_what_to_leave_out():
    with pytest.raises(ValueError) as refused:
        check_installed(None, "no_such_package", "rviz:=true")
    assert str(refused.value) == (
        "rviz:=true needs no_such_package, which is not installed here; install it "
        "(sudo apt install ros-$ROS_DISTRO-no-such-package) or leave rviz:=true out")


def test_a_package_that_is_there_passes():
    check_installed(None, "rclpy", "use_rclpy:=true")
