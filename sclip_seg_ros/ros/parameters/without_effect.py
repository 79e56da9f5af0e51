"""What was given at start and has no effect: ROS passes over it in silence, the log does not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node

from sclip_seg_ros.io.camera_names import COMPRESSED
from sclip_seg_ros.io.former_names import FORMERLY
from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS

QOS_OVERRIDES = "qos_overrides."
_VALUES = "ros__parameters"
_FLAGS = {"-p": "param", "--param": "param", "--params-file": "file",
          "-r": "remap", "--remap": "remap"}
_OF_A_NODE = re.compile(r"(\w+):(?!=)(.*)", re.DOTALL)  # `sclip_seg:model:=ViT-B/16`
_OWN_RULES = ("__node", "__name", "__ns")
_LATER = "camera_info"  # subscribed to once it is published


def warn_of_unknown(node: Node) -> None:
    """Log a warning for each parameter given at start that the node does not have."""
    for name in given_at_start(node):
        if not node.has_parameter(name) and not name.startswith(QOS_OVERRIDES) \
                and name not in FORMERLY:
            near = get_close_matches(name, DECLARATIONS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see `ros2 param list`"
            node.get_logger().warning(f"parameter '{name}' does not exist and is ignored; {hint}")


def warn_of_former(node: Node) -> None:
    """Log a warning for each parameter given at start by the name that it had."""
    given = given_at_start(node)
    for name in given:
        if name not in FORMERLY:
            continue
        now = FORMERLY[name]
        what = ", which is given too: it is ignored; leave it out" if now in given \
            else ": its value is taken; rename it"
        node.get_logger().warning(f"parameter '{name}' is called '{now}' now{what}")


def warn_of_others(node: Node, arguments: Sequence[str]) -> None:
    """Log a warning for parameters and files of them that are for other nodes, or for nobody.

    Args:
        node: the only one of its process.
        arguments: of the process, its name first.
    """
    own = node.get_fully_qualified_name()
    for kind, text in _ros_arguments(arguments):
        if kind == "file" and (sections := sections_of(Path(text))) is not None \
                and not any(map(lambda section: is_for(section, own), sections)):
            what = "its values are for " + ", ".join(f"'{section}'" for section in sections) \
                if sections else "it is empty"
            node.get_logger().warning(
                f"parameter file '{text}' has nothing for this node, '{own}': {what}; write "
                "'/**:' above the values, which fits every node")
        elif kind == "param" and (given := _OF_A_NODE.match(text)) and not is_for(given[1], own):
            node.get_logger().warning(
                f"parameter '{given[2].partition(':=')[0]}' is given to a node '{given[1]}', and "
                f"this one is '{own}': it is ignored; leave '{given[1]}:' off")
        elif kind == "word":
            node.get_logger().warning(f"'{text}' has no effect: the node takes what stands behind "
                                      "--ros-args; see --help")


def warn_of_idle_remappings(node: Node, arguments: Sequence[str]) -> None:
    """Log each remapping that has met no topic and no service; of likely mistakes, warn.

    To be called once all publishers and subscriptions are there.

    Args:
        node: the only one of its process.
        arguments: of the process, its name first.
    """
    topics = {publisher.topic_name for publisher in node.publishers}
    topics |= {subscription.topic_name for subscription in node.subscriptions}
    # A remapping of the base topic holds for that of its compressed images.
    topics |= {topic.removesuffix(COMPRESSED) for topic in topics}
    name, namespace = node.get_name(), node.get_namespace()
    services = {service for service, _ in
                node.get_service_names_and_types_by_node(name, namespace)}
    for kind, text in _ros_arguments(arguments):
        source, _, target = text.partition(":=")
        if kind != "remap" or source in (target, *_OWN_RULES) or source.endswith(_LATER):
            continue
        given = _OF_A_NODE.match(source)
        local = given[2] if given else source
        if given and given[1] != name:
            why, likely = f"it is for a node '{given[1]}'", True
        elif _expanded(target, node) in topics | services:
            continue
        else:
            why, likely = _without_name(local, target, node, topics)
        log = node.get_logger().warning if likely else node.get_logger().info
        log(f"remapping '{text}' has no effect: {why}")


def warn_of_idle_qos(node: Node) -> None:
    """Log a warning for each `qos_overrides` given at start that no topic has asked for.

    To be called once all publishers and subscriptions are there.
    """
    declared = [QOS_OVERRIDES + name
                for name in node.get_parameters_by_prefix(QOS_OVERRIDES[:-1])]
    for name in given_at_start(node):
        if not name.startswith(QOS_OVERRIDES) or name in declared:
            continue
        owner, _, policy = name.rpartition(".")
        policies = [other.rpartition(".")[2] for other in declared
                    if other.rpartition(".")[0] == owner]
        if policies:
            instead = "; image_reliability decides on that" if policy == "reliability" else \
                "; it follows the camera's publishers" if policy == "durability" else ""
            reason = f"there it can be {', '.join(policies)} alone{instead}"
        else:
            near = get_close_matches(name, declared, n=1)
            reason = f"did you mean '{near[0]}'?" if near else \
                "see `ros2 param list` for those that the node has"
        node.get_logger().warning(f"parameter '{name}' has no effect: {reason}")


def is_for(section: str, node: str) -> bool:
    """Tell whether a parameter file's section is for a node, as rclpy does.

    Args:
        section: its name: a node's, in which ``*`` stands for one part of the name and ``**`` for
            any number of them.
        node: its full name.
    """
    parts = re.split(r"(/\*\*|/\*)", "/" + section.lstrip("/"))
    pattern = "".join({"/**": r"(/\w+)*", "/*": r"/\w+"}.get(part, re.escape(part))
                      for part in parts)
    return re.fullmatch(pattern, node) is not None


def sections_of(file: Path) -> list[str] | None:
    """Return the names in a parameter file above values; None of a file that cannot be read."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # which ROS, more patient, could
        return None
    return list(_sections(content, "")) if isinstance(content, Mapping) else []


def _sections(tree: Mapping[Any, Any], above: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            name = f"{above}/{key}" if above else str(key)
            if _VALUES in value:
                yield name
            yield from _sections({inner: part for inner, part in value.items()
                                  if inner != _VALUES}, name)


def _ros_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield parameters, files and remappings between ``--ros-args`` and ``--``, and other words.

    Of those ROS takes ``NAME:=VALUE`` for a remapping, as it once was written.
    """
    of_ros, kind = False, None
    for word in arguments[1:]:
        if kind is not None:
            yield kind, word
            kind = None
        elif word in ("--ros-args", "--"):
            of_ros = word == "--ros-args"
        elif of_ros:
            kind = _FLAGS.get(word)
        elif word not in _FLAGS:  # whose values follow
            yield "remap" if ":=" in word else "word", word


def given_at_start(node: Node) -> Mapping[str, Any]:
    """Return the parameters given at start; rclpy offers no public way to ask for them."""
    return getattr(node, "_parameter_overrides", {})


def _expanded(name: str, node: Node) -> str:
    try:
        return expand_topic_name(name, node.get_name(), node.get_namespace())
    except ValueError:
        return name


def _without_name(source: str, target: str, node: Node, topics: set[str]) -> tuple[str, bool]:
    """Return why nothing has such a name, and whether that looks like a mistake."""
    parameter = source.lstrip("_")  # ROS 1 has `_model:=ViT-B/16`
    parameter = FORMERLY.get(parameter, parameter)
    if node.has_parameter(parameter):
        return f"that is a parameter; write --ros-args -p {parameter}:={target}", True
    if _expanded(source, node) == _expanded("image_raw", node):
        return "image_topics says where the images come from", True
    own = {"image_raw": "image_raw", **{
        topic.rpartition("/")[2]: f"~{topic.removeprefix(node.get_fully_qualified_name())}"
        for topic in topics if topic.startswith(f"{node.get_fully_qualified_name()}/")}}
    near = get_close_matches(source.rpartition("/")[2], own, n=1)
    hint = f"; did you mean '{own[near[0]]}'?" if near else ""
    return f"this node has no topic or service '{source}'{hint}", bool(near)
