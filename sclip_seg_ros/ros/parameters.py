"""Declare the node's parameters, and turn their values into one checked, immutable object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from sclip_seg_ros.latency.ladder import QualityLadder
from sclip_seg_ros.models.resources import config_path
from sclip_seg_ros.ros.camera_topics import CameraTopic, camera_topics
from sclip_seg_ros.ros.parameter_table import DECLARATIONS, Declaration
from sclip_seg_ros.segmentation.palette import Colour, parse_palette
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.templates import resolve_templates
from sclip_seg_ros.segmentation.vocabulary import validate_classes
from sclip_seg_ros.tools.ladders import read_ladder
from sclip_seg_ros.tools.profiles import read_vocabulary


@dataclass(frozen=True)
class NodeOptions:
    """What the parameters say, checked; a frame is worked on with one such object.

    Attributes:
        classes: one string a class, synonyms separated by ``|``.
        background: name of the background class, empty for none.
        settings: how images become labels.
        overlay_alpha: share of the colours in the overlay.
        overlay_legend: whether the overlay names the classes.
        templates: prompts, or names of sets of them.
        palette: class names and their colours.
        cameras: where images come from.
        latency_budget_ms: milliseconds, 0 = none.
        lazy: whether to compute nothing while nobody listens.
        values: the parameters' own values, by name; whole numbers made floats where the
            parameter is one.
    """

    classes: tuple[str, ...]
    background: str
    settings: SegmentorSettings
    overlay_alpha: float
    overlay_legend: bool
    templates: tuple[str, ...]
    palette: tuple[tuple[str, Colour], ...]
    cameras: tuple[CameraTopic, ...]
    latency_budget_ms: float
    lazy: bool
    values: Mapping[str, Any]

    def ladder_for(self, device: torch.device) -> QualityLadder:
        """Return the quality ladder that the parameters name, or the one for a device.

        Raises:
            ValueError, OSError: a file that is no ladder, or cannot be read.
        """
        return read_ladder(self.values["quality_ladder"], device)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> NodeOptions:
        """Check parameter values together.

        Raises:
            ValueError: one sentence that names the value and the remedy.
        """
        values = {name: _checked(DECLARATIONS[name], value) for name, value in values.items()}
        classes = parse_classes(values["classes"])
        validate_classes(classes, values["background"])
        settings = SegmentorSettings().with_changes(**{
            entry.setting: tuple(values[name]) if isinstance(entry.default, list) else values[name]
            for name, entry in DECLARATIONS.items() if entry.setting})
        templates = parse_list("prompt_templates", values["prompt_templates"])
        resolve_templates(templates)
        topics = parse_list("image_topics", values["image_topics"])
        return cls(classes, values["background"], settings, values["overlay_alpha"],
                   values["overlay_legend"], templates, parse_palette(values["palette"]),
                   camera_topics(topics, values["image_transport"]),
                   values["latency_budget_ms"], values["lazy"], values)


def declare_parameters(node: Node) -> NodeOptions:
    """Declare every parameter on a node, and check their values together.

    Raises:
        ValueError: a value that cannot be used, or an unreadable vocabulary file.
        rclpy.exceptions.ParameterException: a value of the wrong type or out of its range.
    """
    for entry in DECLARATIONS.values():
        node.declare_parameter(entry.name, entry.default, descriptor_of(entry))
    return NodeOptions.from_values(read_values(node))


def take_vocabulary_file(node: Node) -> None:
    """Let the vocabulary file, where one is named, fill ``classes``.

    Raises:
        ValueError, OSError: a file that cannot be read, or words that cannot be used.
    """
    file = node.get_parameter("vocabulary_file").value
    if file:
        classes = read_vocabulary(find_vocabulary(file))
        node.set_parameters([Parameter("classes", value=classes)])
        node.get_logger().info(f"{len(classes)} classes read from '{file}'")


def warn_of_unknown(node: Node) -> None:
    """Log a warning for each parameter given at start that the node does not have.

    ROS ignores them without a word, so that a misspelt name would go unnoticed.
    """
    # rclpy offers no public way to ask for the overrides.
    for name in getattr(node, "_parameter_overrides", {}):
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            node.get_logger().warning(f"parameter '{name}' does not exist and is ignored; see "
                                      "`ros2 param list`")


def descriptor_of(entry: Declaration) -> ParameterDescriptor:
    """Return the descriptor of a declaration."""
    descriptor = ParameterDescriptor(description=entry.description)
    descriptor.additional_constraints = " ".join([
        *([f"One of {', '.join(entry.choices)}."] if entry.choices else []),
        *(["Cannot change while the node is configured."] if entry.fixed else [])])
    # Checked here instead of by ROS: a launch file can only give classes as one text, a command
    # line gives `50` for 50.0 and `[]` for an empty list of any type.
    descriptor.dynamic_typing = isinstance(entry.default, (float, list))
    if entry.low is None:
        return descriptor
    if isinstance(entry.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(entry.low),
                                                              to_value=float(entry.high))]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(entry.low),
                                                 to_value=int(entry.high), step=1)]
    return descriptor


def read_values(node: Node) -> dict[str, Any]:
    """Return the values of all declared parameters by name."""
    return {name: _plain(node.get_parameter(name).value) for name in DECLARATIONS}


def check_change(node: Node, changes: Iterable[Parameter],
                 configured: bool) -> SetParametersResult:
    """Tell whether a change may be made; changes nothing.

    Parameters that are not this project's are left to others.

    Args:
        node: that declared the parameters.
        changes: asked for.
        configured: whether the model is loaded, so that what decides on it is fixed.
    """
    changed = {change.name: _plain(change.value) for change in changes
               if change.name in DECLARATIONS}
    try:
        for name in changed:
            if configured and DECLARATIONS[name].fixed:
                raise ValueError(f"{name} is read when the node is configured; deactivate and "
                                 "clean up the node, or start it anew with another value")
        if changed:
            NodeOptions.from_values({**read_values(node), **changed})
    except ValueError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def parse_classes(value: Any) -> tuple[str, ...]:
    """Return classes from a list, or from one text with commas between the classes.

    Raises:
        ValueError: anything else, or an empty list.
    """
    if isinstance(value, str):
        value = value.split(",") if value.strip() else []
    if value is None or value == []:
        raise ValueError("the list of classes is empty; name at least one thing to look for")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"classes={value!r} is no list of texts; give e.g. ['floor', 'wall']")
    return tuple(" ".join(item.split()) for item in value)


def parse_list(name: str, value: Any) -> tuple[str, ...]:
    """Return the texts of a list parameter, which may also be one text.

    Raises:
        ValueError: anything else, or nothing.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items \
            or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError(f"{name}={value!r} is no list of texts; give e.g. "
                         f"{DECLARATIONS[name].default}")
    return tuple(item.strip() for item in items)


def find_vocabulary(name: str) -> Path:
    """Return the path of a vocabulary file, given by path or by name in config/vocabularies.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(name).expanduser()
    return path if path.is_file() or path.is_absolute() else config_path(f"vocabularies/{name}")


def _plain(value: Any) -> Any:
    """Return lists for the arrays that rclpy stores."""
    return value if value is None or isinstance(value, (str, bool, int, float)) else list(value)


def _checked(entry: Declaration, value: Any) -> Any:
    """Return a value of the declared type, or refuse it."""
    if entry.choices and value not in entry.choices:
        raise ValueError(f"{entry.name}='{value}' is unknown; choose one of "
                         f"{', '.join(entry.choices)}")
    if isinstance(entry.default, float):
        return _number(entry, value)
    if entry.setting and isinstance(entry.default, list) and not isinstance(value, list):
        raise ValueError(f"{entry.name}={value!r} is no list; give e.g. {entry.default}")
    return value


def _number(entry: Declaration, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{entry.name}={value!r} is no number; give {entry.low} to {entry.high}")
    if not entry.low <= value <= entry.high:
        raise ValueError(f"{entry.name}={value} is out of range; give {entry.low} to {entry.high}")
    return float(value)
