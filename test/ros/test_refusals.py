"""What ROS refuses at the start is put down to what is at fault, with the remedy that fits."""

from __future__ import annotations

import os
import subprocess

import pytest
import rclpy
from ros_harness import domain_for

from sclip_seg_ros.ros.programs.refusals import why_refused

DOMAIN = domain_for(__file__)
LOG_FOLDER, ARGUMENTS = "set ROS_LOG_DIR, or HOME", "mend what is given behind --ros-args"


@pytest.mark.parametrize("program", ["segment_node", "show_state"])
@pytest.mark.parametrize("changes, arguments, remedy", [
    ({"HOME": None, "ROS_LOG_DIR": None, "ROS_HOME": None}, (), LOG_FOLDER),
    ({"ROS_LOG_DIR": "/proc/ros-args/parameter file"}, (), LOG_FOLDER),
    ({"ROS_DOMAIN_ID": "abc"}, (), "set ROS_DOMAIN_ID to a number"),
    ({"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce",
      "ROS_SECURITY_KEYSTORE": "/none"}, (), "see ROS_SECURITY_KEYSTORE"),
    ({}, ("--params-file", "/initialize/logging.yaml"), ARGUMENTS),
    ({}, ("-r", "__node:=9x"), ARGUMENTS)])
def test_the_remedy_fits_the_cause(program, changes, arguments, remedy):
    surroundings = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), **changes}
    done = subprocess.run([program, "--ros-args", *arguments] if arguments else [program],
                          env={key: value for key, value in surroundings.items()
                               if value is not None},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.count("ROS refuses")
              or line.count("ROS has")]
    assert remedy in line
    assert (ARGUMENTS in line) == (remedy == ARGUMENTS)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content, told", [
    ("/sclip_seg:\n  ros__parameters:\n\t\tclasses: [floor]\n",
     "line 3 is indented with a tab; indent with spaces"),
    ("/**:\n  ros__parameters:\n    classes: [floor, wall\n", "line 4 is not YAML (expected ',' "),
    ("/**:\n  parameters:\n    classes: [floor, wall]\n", "write '/**:', indented below it"),
    ("classes: [floor, wall]\n", "no values stand below 'ros__parameters:'"),
    (None, "it is a folder"),
    # What only ROS refuses is told in its words.
    ("/**:\n  ros__parameters:\n    classes: [floor, 3]\n", "Sequence should be of same type")])
def test_what_is_wrong_with_a_parameter_file_is_told(ros_arguments, tmp_path, content, told):
    file = tmp_path / "my robot.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    said = ros_arguments("--params-file", str(file))
    assert told in said and str(file) in said


@pytest.mark.parametrize("arguments, told", [
    (("-r", "image_raw=/cam/image"), "write 'image_raw:=/cam/image', without blanks"),
    (("--remap", "image_raw"), "write 'image_raw:=VALUE'"),
    (("-p", "short_side=64"), "between a name and its value stands ':='; write 'short_side:=64'"),
    (("--param", "short_side"), "write 'short_side:=VALUE'"),
    (("--log-level", "debgu"), "the log level 'debgu'; give debug, info, warn, error or fatal"),
    (("-p", "classes:=[floor, wall"), "[floor, wall")])
def test_what_is_wrong_with_an_argument_is_told(ros_arguments, arguments, told):
    said = ros_arguments(*arguments)
    assert told in said and said.startswith("ROS refuses ") and arguments[1] in said


@pytest.fixture
def ros_arguments():
    """Have ROS refuse arguments, in a context of their own, and return what is said of it."""
    def refused(*arguments: str) -> str:
        context = rclpy.Context()
        with pytest.raises(RuntimeError) as refusal:
            rclpy.init(args=["node", "--ros-args", *arguments], context=context)
        return why_refused(refusal.value)

    return refused
