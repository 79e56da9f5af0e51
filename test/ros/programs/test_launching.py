"""A launch file's arguments are judged, and what they ask for must be installed."""

from types import SimpleNamespace

import pytest

pytest.importorskip("ament_index_python", reason="ROS 2 is not installed; use `make test`")

from sclip_seg_ros.ros.programs.launching import is_true, is_wanted  # noqa: E402


def given(**arguments: str) -> SimpleNamespace:
    """Return what of a launch's context is asked for."""
    return SimpleNamespace(launch_configurations=arguments)


def test_what_is_not_installed_is_named_with_what_asked_for_it():
    with pytest.raises(ValueError) as raised:
        is_wanted(given(rviz="True"), "rviz", "no_such_package")
    assert str(raised.value) == (
        "rviz:=true needs no_such_package, which is not installed here; install it "
        "(sudo apt install ros-$ROS_DISTRO-no-such-package) or leave rviz:=true out")


def test_what_is_installed_may_be_started():
    assert is_wanted(given(use="1"), "use", "rclpy")


def test_what_is_not_asked_for_need_not_be_installed():
    assert not is_wanted(given(rviz="false"), "rviz", "no_such_package")


@pytest.mark.parametrize("text", ["ja", "yes", "", "2"])
def test_an_argument_that_is_no_truth_value_is_named(text):
    with pytest.raises(ValueError, match=f"^rviz:={text} is not a truth value; give true or false"):
        is_true(given(rviz=text), "rviz")
