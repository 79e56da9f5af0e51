"""What was given at start and has no effect is told, with what would have one."""

from __future__ import annotations

import subprocess

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node
from ros_harness import NodeProcess, domain_for
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.ros.parameters.without_effect import (
    is_for,
    sections_of,
    warn_of_idle_remappings,
    warn_of_others,
)

SECTIONS = ("/**", "/*", "*", "**", "sclip_seg", "/sclip_seg", "/front/sclip_seg", "front",
            "front/sclip_seg", "/front/*", "/**/sclip_seg", "/*/sclip_seg", "**/sclip_seg",
            "*/sclip_seg", "/front/**", "/a/**/sclip_seg", "sclip_seg/**", "/**/front/sclip_seg",
            "Sclip_seg", "sclip_seg_node")
NAMESPACES = ("/", "/front", "/a/b")


class Heard:
    """A node whose log is kept."""

    def __init__(self, monkeypatch, arguments=(), namespace="") -> None:
        self.context = Context()
        rclpy.init(args=["--ros-args", *arguments], context=self.context,
                   domain_id=domain_for(__file__))
        self.node = Node("sclip_seg", context=self.context, namespace=namespace)
        self.warnings: list[str] = []
        self.infos: list[str] = []
        log = self.node.get_logger()
        monkeypatch.setattr(log, "warning", self.warnings.append)
        monkeypatch.setattr(log, "info", self.infos.append)


@pytest.fixture
def start(monkeypatch):
    """Return a function that makes a node with ROS arguments and a namespace."""
    made = []

    def make(*arguments: str, namespace: str = "") -> Heard:
        made.append(Heard(monkeypatch, arguments, namespace))
        return made[-1]

    yield make
    for heard in made:
        heard.node.destroy_node()
        heard.context.try_shutdown()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_section_is_for_the_nodes_that_ros_itself_takes_it_for(start, tmp_path, namespace):
    own = f"{namespace.rstrip('/')}/sclip_seg"
    for index, section in enumerate(SECTIONS):
        file = tmp_path / f"{index}.yaml"
        file.write_text(yaml.safe_dump({section: {"ros__parameters": {"x": 1}}}))
        node = start("--params-file", str(file), namespace=namespace).node
        assert is_for(section, own) == ("x" in node._parameter_overrides), section


@pytest.mark.parametrize("text, sections", [
    ("", []), ("# nothing but a comment\n", []),
    ("front:\n  sclip_seg:\n    ros__parameters: {x: 1}\n  other:\n    ros__parameters: {x: 2}\n",
     ["front/sclip_seg", "front/other"]),
    ("a:\n  ros__parameters: {crf: {ros__parameters: 1}}\nb:\n  ros__parameters: {}\n", ["a", "b"]),
    ("a: [", None),
])
def test_sections_are_the_names_above_values(tmp_path, text, sections):
    file = tmp_path / "file.yaml"
    file.write_text(text)
    assert sections_of(file) == sections
    assert sections_of(tmp_path / "none.yaml") is None


@pytest.mark.parametrize("namespace, text, told", [
    ("", "sclip_seg_node:\n  ros__parameters: {x: 1}\n",
     "has nothing for this node, '/sclip_seg': its values are for 'sclip_seg_node'; write '/**:' "),
    ("/front", "/sclip_seg:\n  ros__parameters: {x: 1}\n",
     "has nothing for this node, '/front/sclip_seg': its values are for '/sclip_seg'; "),
    ("", "", "has nothing for this node, '/sclip_seg': it is empty; "),
    ("", "a:\n  ros__parameters: {x: 1}\n/**:\n  ros__parameters: {y: 1}\n", ""),
    ("/front", "/front/sclip_seg:\n  ros__parameters: {x: 1}\n", ""),
])
def test_a_parameter_file_for_other_nodes_is_told(start, tmp_path, namespace, text, told):
    file = tmp_path / "robot.yaml"
    file.write_text(text)
    heard = start(namespace=namespace)
    warn_of_others(heard.node, ["node", "--ros-args", "--params-file", str(file)])
    assert len(heard.warnings) == bool(told)
    assert all(str(file) in warning and told in warning for warning in heard.warnings)


@pytest.mark.parametrize("given, told", [
    ("other:model:=ViT-B/16", "parameter 'model' is given to a node 'other', and this one is "
     "'/sclip_seg': it is ignored; leave 'other:' off"),
    ("sclip_seg:model:=ViT-B/16", ""), ("model:=ViT-B/16", ""), ("pretrained:=a:b", ""),
])
def test_a_parameter_for_another_node_is_told(start, given, told):
    heard = start()
    assert not heard.warnings
    warn_of_others(heard.node, ["node", "--ros-args", "-p", given])
    assert heard.warnings == ([told] if told else [])


@pytest.mark.parametrize("rule, warned, told", [
    ("image_raw:=/cam/image", "", ""), ("/image_raw:=cam/image", "", ""),
    ("~/label:=/mask", "", ""), ("~/get_parameters:=/asked", "", ""),
    ("image_raw:=image_raw", "", ""), ("__ns:=/front", "", ""),
    ("sclip_seg:image_raw:=/cam/image", "", ""),
    ("image:=/cam/image", "no topic or service 'image'; did you mean 'image_raw'?", ""),
    ("labels:=/mask", "no topic or service 'labels'; did you mean '~/label'?", ""),
    ("label:=/mask", "no topic or service 'label'; did you mean '~/label'?", ""),
    ("other:image_raw:=/cam/image", "it is for a node 'other'", ""),
    ("/tf:=tf", "", "no topic or service '/tf'"),
])
def test_a_remapping_that_meets_nothing_is_told(start, rule, warned, told):
    heard = start("-r", rule)
    node = heard.node
    node.create_subscription(Image, "image_raw", lambda image: None, 1)
    node.create_publisher(Image, "~/label", 1)
    warn_of_idle_remappings(node, ["node", "--ros-args", "-r", rule, "--"])
    for lines, expected in ((heard.warnings, warned), (heard.infos, told)):
        assert len(lines) == bool(expected), lines
        assert all(line.startswith(f"remapping '{rule}' has no effect: ") and expected in line
                   for line in lines)


@pytest.mark.parametrize("rule", ["image_raw:=/cam/image", "camera_info:=/cam/other_info"])
def test_a_remapping_that_holds_for_compressed_images_or_later_is_not_told(start, rule):
    heard = start("-r", rule)
    heard.node.create_subscription(CompressedImage, "/cam/image/compressed", lambda image: None, 1)
    warn_of_idle_remappings(heard.node, ["node", "--ros-args", "-r", rule])
    assert not heard.warnings and not heard.infos


def test_image_beside_image_topics_is_told(start):
    rule = "image_raw:=/cam/image"
    heard = start("-r", rule)
    heard.node.create_subscription(Image, "/front/image_raw", lambda image: None, 1)
    warn_of_idle_remappings(heard.node, ["node", "--ros-args", "-r", rule])
    assert heard.warnings == [f"remapping '{rule}' has no effect: image_topics says where the "
                              "images come from"]


@pytest.mark.parametrize("given, told", [
    (["image:=/cam"], "remapping 'image:=/cam' has no effect: this node has no topic or service "
                      "'image'; did you mean 'image_raw'?"),
    (["use_sim_time:=true"], "remapping 'use_sim_time:=true' has no effect: that is a parameter; "
                             "write --ros-args -p use_sim_time:=true"),
    (["crf_iterations:=3"], "that is a parameter; write --ros-args -p crf.iterations:=3"),
    (["_use_sim_time:=true"], "write --ros-args -p use_sim_time:=true"),
    (["-p", "use_sim_time:=true"], "write --ros-args -p use_sim_time:=true"),
    (["--ros-args", "-r", "use_sim_time:=true"], "write --ros-args -p use_sim_time:=true"),
    (["--ros-args", "-p", "use_sim_time:=true", "--", "fast"], "'fast' has no effect: the node "
     "takes what stands behind --ros-args"),
    (["--fast"], "'--fast' has no effect: "),
    (["image_raw:=/cam"], ""), (["-r", "image_raw:=/cam"], ""), ([], ""),
])
def test_what_is_given_outside_of_the_arguments_of_ros_is_told(monkeypatch, given, told):
    context = Context()
    rclpy.init(args=["node", *given], context=context, domain_id=domain_for(__file__))
    node = Node("sclip_seg", context=context)
    warnings: list[str] = []
    monkeypatch.setattr(node.get_logger(), "warning", warnings.append)
    try:
        node.declare_parameter("crf.iterations", 10)
        node.create_subscription(Image, "image_raw", lambda image: None, 1)
        warn_of_others(node, ["node", *given])
        warn_of_idle_remappings(node, ["node", *given])
    finally:
        node.destroy_node()
        context.shutdown()
    assert len(warnings) == bool(told) and told in "".join(warnings)


@pytest.mark.parametrize("arguments", [["--help"], ["image:=/cam", "-h"]])
def test_help_is_given_in_place_of_a_node(arguments):
    done = subprocess.run(["segment_node", *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for told in ("--ros-args -r image_raw:=", "-p model:=", "--show-args", "docs/parameters.md"):
        assert told in done.stdout


def test_the_running_node_tells_all_of_it(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("sclip_seg_node:\n  ros__parameters:\n    classes: [door]\n")
    node = NodeProcess(domain_for(__file__), tmp_path / "log",
                       {"threads": 1, "use_pmar": True,
                        "qos_overrides./image_raw.subscription.reliability": "best_effort"},
                       {"image": "/cam/image"}, ["--params-file", str(file)])
    try:
        node.wait_for("ready")
    finally:
        node.kill()
    for told in (f"parameter file '{file}' has nothing for this node",
                 "parameter 'use_pmar' does not exist", "remapping 'image:=/cam/image' has no",
                 "image_reliability decides on that"):
        assert told in node.log
