"""What ROS refuses at the start is put down to what is at fault, with the remedy that fits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
import rclpy
from forked_programs import ForkedProgram, can_fork
from rclpy.utilities import get_rmw_implementation_identifier
from ros_harness import domain_for

from sclip_seg_ros.ros.programs.refusals import refused_surroundings, why_refused

DOMAIN = domain_for(__file__)
START = "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__')"
LOG_FOLDER, ARGUMENTS = "set ROS_LOG_DIR, or HOME", "mend what is given behind --ros-args"


REFUSED = [
    ({"HOME": None, "ROS_LOG_DIR": None, "ROS_HOME": None}, (), LOG_FOLDER),
    ({"ROS_LOG_DIR": "/proc/ros-args/parameter file"}, (), LOG_FOLDER),
    ({"ROS_DOMAIN_ID": "abc"}, (), "set ROS_DOMAIN_ID to a number"),
    ({"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce",
      "ROS_SECURITY_KEYSTORE": "/none"}, (), "see ROS_SECURITY_KEYSTORE"),
    ({}, ("--params-file", "/initialize/logging.yaml"), "it does not exist; check its path"),
    ({}, ("--enclave", "home"), ARGUMENTS),
    ({}, ("-r", "__node:=9x"), "'9x' is not a node's name"),
    ({"ROS_STATIC_PEERS": "robot2..local"}, (), "see ROS_STATIC_PEERS")]


# The studio imports torch first, which takes seconds; it asks as the others do what ROS meant. What
# changes nothing that is read before is tried in a forked program.
@pytest.mark.parametrize("program, changes, arguments, remedy", [
    (program, *refused) for program in ("segment_node", "show_state", "studio")
    for refused in (REFUSED[-2:] if program == "studio" else REFUSED)])
def test_the_remedy_fits_the_cause(program, changes, arguments, remedy, tmp_path):
    surroundings = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), **changes}
    given = [program, "--ros-args", *arguments] if arguments else [program]
    log = tmp_path / "log"
    if None in changes.values():
        with open(log, "w") as file:
            code = subprocess.run(given, stdout=file, stderr=subprocess.STDOUT, timeout=180, env={
                key: value for key, value in surroundings.items() if value is not None}).returncode
    else:
        assert can_fork()
        code = ForkedProgram(START, [shutil.which(program), *given[1:]], log,
                             surroundings).wait(180)
    told = log.read_text()
    assert code == 1
    [line] = [line for line in told.splitlines() if re.search(
        "ROS refuses|ROS has|the middleware refuses", line)]
    assert remedy in line and ", at /" not in line
    assert (ARGUMENTS in line) == (remedy == ARGUMENTS)
    assert "Traceback" not in told


@pytest.mark.parametrize("program", ["segment_node", "show_state", "studio"])
@pytest.mark.parametrize("changes, told", [
    ({"ROS_DOMAIN_ID": "500"}, "ROS_DOMAIN_ID=500 is beyond what DDS has ports for; set it to a "
                               "number from 0 to 101, or unset it"),
    ({"RCUTILS_COLORIZED_OUTPUT": "true"}, "RCUTILS_COLORIZED_OUTPUT=true is neither 0 nor 1, and "
     "ROS would log nothing but that; set it to 0 or 1, or unset it"),
    ({"RMW_IMPLEMENTATION": "rmw_nope_cpp"},
     f"RMW_IMPLEMENTATION=rmw_nope_cpp names a middleware that is not installed (there is "
     f"{get_rmw_implementation_identifier()}); install it, or unset RMW_IMPLEMENTATION")])
def test_what_would_end_ros_itself_is_told_first(program, changes, told):
    done = subprocess.run([program], env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), **changes},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    name = "sclip_seg" if program == "segment_node" else program
    assert done.stderr == f"{name}: {told}\n"


def test_ros_starts_where_no_refusal_is_foreseen(tmp_path):
    """The last domain that has ports, and the middleware that is in use, by its name."""
    index = tmp_path / "share/ament_index/resource_index/rmw_typesupport"
    index.mkdir(parents=True)
    for name in ("rmw_implementation", "rmw_zenoh_cpp", "rmw_fastrtps_cpp"):
        (index / name).touch()
    fine = {"AMENT_PREFIX_PATH": str(tmp_path), "ROS_DOMAIN_ID": "232"}
    for changes in ({}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, {"ROS_DOMAIN_ID": ""},
                    {"RCUTILS_COLORIZED_OUTPUT": "1", "RCUTILS_LOGGING_USE_STDOUT": ""},
                    {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp", "ROS_DOMAIN_ID": "500"},
                    {"AMENT_PREFIX_PATH": "", "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}):
        assert refused_surroundings({**fine, **changes}) is None
    told = refused_surroundings({**fine, "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
    assert told is not None and "(there is rmw_fastrtps_cpp, rmw_zenoh_cpp)" in told[0]
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=232)
    rclpy.create_node("last", context=context).destroy_node()
    context.shutdown()


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
    (("-p", "classes:=[floor, wall"), "its value is not YAML (expected ',' or ']'"),
    (("-p", "classes:="), "no value stands behind ':='; write 'classes:=VALUE'"),
    (("-p", "short-side:=64"), "'short-side' is not a parameter's name; use letters, digits, '_'"),
    (("-r", "image_raw:=/cam-1/image_raw"), "the name '/cam-1/image_raw' is not a topic's name"),
    (("-r", "sclip_seg:image_raw:=/1cam"), "the name '/1cam' is not a topic's name"),
    (("-r", "im-age:=/cam"), "the name 'im-age' is not a topic's name"),
    (("-r", "image_raw:="), "the name '' is not a topic's name"),
    (("-r", "__ns:=robot"), "a namespace begins with '/'; write '__ns:=/robot'"),
    (("-r", "__ns:=/robot-1"), "'/robot-1' is not a namespace; use letters, digits, '_' and '/'"),
    (("-r", "__node:=front-seg"), "'front-seg' is not a node's name; use letters, digits, '_'"),
    (("-r", "__name:=9x"), "'9x' is not a node's name"),
    (("--params-file", "/tmp/no/where.yaml"), "it does not exist; check its path"),
    (("--parms-file", "x"), "behind --ros-args, which is not known there; did you mean "
                            "'--params-file'?"),
    (("-q",), "give -p NAME:=VALUE, -r NAME:=OTHER, --params-file or --log-level"),
    (("--log-config-file", "/none"), "leave it off")])
def test_what_is_wrong_with_an_argument_is_told(ros_arguments, arguments, told):
    said = ros_arguments(*arguments)
    assert told in said and said.startswith("ROS refuses ")
    assert arguments[-1] in said or arguments[0] in said


@pytest.fixture
def ros_arguments():
    """Have ROS refuse arguments, in a context of their own, and return what is said of it."""
    def refused(*arguments: str) -> str:
        context = rclpy.Context()
        with pytest.raises(RuntimeError) as refusal:
            rclpy.init(args=["node", "--ros-args", *arguments], context=context)
        return why_refused(refusal.value)

    return refused
