"""Declare the node's parameters, and turn their values into one checked, immutable object."""

from __future__ import annotations

import re
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

from sclip_seg_ros.common.text import in_number, shortened
from sclip_seg_ros.io.former_names import FORMERLY
from sclip_seg_ros.io.ladders import read_ladder
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.latency.ladder import QualityLadder
from sclip_seg_ros.models.resources import own_or_config_path
from sclip_seg_ros.ros.log import describe
from sclip_seg_ros.ros.parameters.camera_topics import CameraTopic, camera_topics
from sclip_seg_ros.ros.parameters.declarations import (
    DECLARATIONS,
    SETTINGS,
    TIME,
    Declaration,
)
from sclip_seg_ros.ros.parameters.label_size import LabelSize
from sclip_seg_ros.ros.parameters.parsing import parse_value
from sclip_seg_ros.ros.parameters.point_options import PointOptions
from sclip_seg_ros.ros.parameters.without_effect import given_at_start, warn_of_former
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.class_ids import ClassIds
from sclip_seg_ros.segmentation.text.palette import Colour
from sclip_seg_ros.segmentation.text.templates import resolve_templates
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes, validate_negatives
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings
from sclip_seg_ros.temporal import TemporalSettings

_LIST_TYPES = {str: Parameter.Type.STRING_ARRAY, int: Parameter.Type.INTEGER_ARRAY}
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class NodeOptions:
    """What the parameters say, checked; a frame is worked on with one such object.

    Attributes:
        classes: one string a class, synonyms separated by ``|``.
        background: name of the background class, empty for none.
        negatives: words that compete and are never published.
        class_ids: of the classes in published labels.
        settings: how images become labels.
        temporal: how labels are carried from frame to frame.
        overlay_alpha: share of the colours in the overlay.
        overlay_legend: whether the overlay names the classes.
        templates: prompts, or names of sets of them.
        palette: class names and their colours.
        cameras: where images come from.
        latency_budget_ms: milliseconds, 0 = none.
        label_size: that labels are decided at.
        points: how the semantic cloud is made.
        enabled: whether to label images at all.
        lazy: whether to compute nothing while nobody listens.
        values: every parameter by name, parsed: what is written differently and means the same
            is equal.
        given: the same as it was written, to set parameters with.
    """

    classes: tuple[str, ...]
    background: str
    negatives: tuple[str, ...]
    class_ids: ClassIds
    settings: SegmentorSettings
    temporal: TemporalSettings
    overlay_alpha: float
    overlay_legend: bool
    templates: tuple[str, ...]
    palette: tuple[tuple[str, Colour], ...]
    cameras: tuple[CameraTopic, ...]
    latency_budget_ms: float
    label_size: LabelSize
    points: PointOptions
    enabled: bool
    lazy: bool
    values: Mapping[str, Any]
    given: Mapping[str, Any]

    def ladder_for(self, device: torch.device) -> QualityLadder:
        """Return the quality ladder that the parameters name, or the one for a device.

        Raises:
            ValueError, OSError: a file that is not a ladder, or cannot be read.
        """
        return read_ladder(self.values["quality_ladder"], device)

    def refuse_misfit(self, ladder: QualityLadder) -> None:
        """Refuse a latency budget whose ladder has a level that the settings do not allow.

        Raises:
            ValueError: names the level and the remedy.
        """
        if not self.latency_budget_ms:
            return
        try:
            ladder.for_base(self.settings)
        except ValueError as error:
            raise ValueError(f"latency_budget_ms={self.latency_budget_ms:g} cannot be kept: {error}"
                             "; change that, choose another quality_ladder, or set "
                             "latency_budget_ms to 0") from error

    @classmethod
    def from_values(cls, given: Mapping[str, Any]) -> NodeOptions:
        """Check parameter values together.

        Raises:
            ValueError: one sentence that names the value and the remedy.
        """
        values = {name: parse_value(DECLARATIONS[name], value) for name, value in given.items()}
        classes = validate_classes(values["classes"], values["background"])
        validate_negatives(values["negative_words"], classes)
        class_ids = ClassIds.of(len(classes), values["class_ids"], values["unlabelled_id"])
        settings = SegmentorSettings().with_changes({name: values[name] for name in DECLARATIONS
                                                     if name in SETTINGS})
        temporal = TemporalSettings(**{entry.name.removeprefix("temporal."): values[entry.name]
                                       for entry in TIME})
        resolve_templates(values["prompt_templates"])
        return cls(values["classes"], values["background"], values["negative_words"], class_ids,
                   settings, temporal,
                   values["overlay_alpha"], values["overlay_legend"],
                   values["prompt_templates"], values["palette"],
                   camera_topics(values["image_topics"], values["image_transport"],
                                 values["depth_topics"]),
                   values["latency_budget_ms"], LabelSize.of(values["label_size"]),
                   PointOptions.of(values),
                   values["enabled"], values["lazy"], values, given)


def declare_parameters(node: Node) -> NodeOptions:
    """Declare every parameter on a node, and check their values together.

    Raises:
        ValueError: a value that cannot be used.
        rclpy.exceptions.ParameterException: a number out of its range.
    """
    warn_of_former(node)
    formerly = {FORMERLY[name]: parameter.value
                for name, parameter in given_at_start(node).items() if name in FORMERLY}
    for entry in DECLARATIONS.values():  # what is given under the present name goes before this
        node.declare_parameter(entry.name, formerly.get(entry.name, entry.default),
                               descriptor_of(entry))
    # An empty list in a file or on a command line, where it has no type, arrives as no value; and
    # one of Python's is a list of bytes to rclpy, and to `ros2 param describe`.
    node.set_parameters([Parameter(entry.name, _LIST_TYPES[entry.items], [])
                         for entry in DECLARATIONS.values() if isinstance(entry.default, list)
                         and _plain(node.get_parameter(entry.name).value) in (None, [])])
    options = read_options(node, configured=False)
    if idle := _idle_factor(options.settings.loftup):
        node.get_logger().warning(idle)
    return options


def configured_options(node: Node) -> NodeOptions:
    """Let the vocabulary file, where one is named, fill ``classes``; return what holds then.

    Raises:
        ValueError, OSError: a file that cannot be read, or words that cannot be used.
    """
    values = read_values(node)
    file = values["vocabulary_file"]
    if file:
        values["classes"] = read_vocabulary(find_vocabulary(file))
    options = NodeOptions.from_values(values)
    if file:
        answer = node.set_parameters_atomically([Parameter("classes", value=values["classes"])])
        if not answer.successful:
            raise ValueError(f"the classes of '{file}' cannot be used: {answer.reason}")
        node.get_logger().info(f"{in_number(len(options.classes), 'class')} read from "
                               f"'{file}'")
    return options


def warn_of_lone_class(node: Node, options: NodeOptions) -> None:
    """Log a warning where only one class is asked for, which then covers everything."""
    if len(options.classes) == 1 and not options.negatives:
        name, *synonyms = options.classes[0].split("|")
        others = [word for word in ("floor", "wall", "ceiling") if word not in (name, *synonyms)]
        node.get_logger().warning(
            f"with one class every pixel is '{name}'; name what else there is, e.g. "
            f"'{','.join([name, *others[:2]])}', or as negative_words")


def descriptor_of(entry: Declaration) -> ParameterDescriptor:
    """Return the descriptor of a declaration."""
    descriptor = ParameterDescriptor(description=entry.description)
    descriptor.additional_constraints = " ".join([
        *([f"One of {', '.join(entry.choices)}."] if entry.choices else []),
        *([f"In {entry.unit}."] if entry.unit else []),
        *(["Cannot change while the node is configured."] if entry.fixed else [])])
    # Types are checked here and not by ROS: a launch file can only give classes as one text, a
    # command line gives `50` for 50.0 and `[]` for an empty list of any type; and a refusal by ROS
    # would name types by their numbers.
    descriptor.dynamic_typing = True
    if entry.low is None or entry.high is None:
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


def read_options(node: Node, configured: bool) -> NodeOptions:
    """Return what the parameters say; of a node that is not configured, as at the start."""
    values = read_values(node)
    return NodeOptions.from_values(values if configured else _before_configure(values))


def check_change(node: Node, changes: Iterable[Parameter],
                 ladder: QualityLadder | None, going_back: bool = False) -> SetParametersResult:
    """Tell whether a change may be made; changes nothing.

    Parameters that are not this project's are left to others.

    Args:
        node: that declared the parameters.
        changes: asked for.
        ladder: of a configured node; None for one that is not, where nothing is fixed yet.
        going_back: whether they go back to what is in force, also if that has no effect.
    """
    changed = {change.name: _plain(change.value) for change in changes
               if change.name in DECLARATIONS}
    try:
        if changed:
            _check(read_values(node), changed, ladder, going_back)
    except ValueError as error:
        return SetParametersResult(successful=False, reason=_reason(str(error), changed))
    except Exception as error:  # it would leave the executor, and end the process
        reason = f"{_asked(changed)} could not be checked: {describe(error)}"
        node.get_logger().error(reason)
        return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def _reason(text: str, changed: Mapping[str, Any]) -> str:
    """Return why a change is refused; where another parameter is to blame, name both."""
    if any(re.search(rf"\b{re.escape(name)}\b", text) for name in changed):
        return text
    return (f"{_asked(changed)} does not go with the other parameters: {text}; change that first, "
            "or both in one call of set_parameters_atomically")


def _asked(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={shortened(value, _SHOWN)}" for name, value in changed.items())


def _check(given: dict[str, Any], changed: dict[str, Any], ladder: QualityLadder | None,
           going_back: bool) -> None:
    asked = {**given, **changed}
    options = NodeOptions.from_values(_before_configure(asked) if ladder is None else asked)
    if not going_back:
        _refuse_idle_factor(given, options.settings.loftup)
    if ladder is None:
        return
    for name in changed:
        if DECLARATIONS[name].fixed and \
                options.values[name] != parse_value(DECLARATIONS[name], given[name]):
            raise ValueError(f"{name} is read when the node is configured; deactivate and clean "
                             "up the node, or start it anew with another value")
    options.refuse_misfit(ladder)


def _refuse_idle_factor(given: Mapping[str, Any], asked: LoftUpSettings) -> None:
    """Refuse a new factor for LoftUp that the adaptive one would go on to override.

    The default promises nothing and may come back at any time.
    """
    idle = _idle_factor(asked)
    if idle and asked.factor != given["loftup.factor"] and given["loftup.adaptive"]:
        raise ValueError(idle)


def _idle_factor(asked: LoftUpSettings) -> str:
    """Return what to say of a factor that the adaptive one overrides; empty where none does."""
    return "" if asked == asked.effective() else \
        f"loftup.factor={asked.factor} has no effect; set loftup.adaptive to false as well"


def _before_configure(values: dict[str, Any]) -> dict[str, Any]:
    """Return values to check before a vocabulary file is read, to whose classes some belong."""
    of_file = {"background": "", "class_ids": []}
    return {**values, **of_file} if values["vocabulary_file"] else values


def find_vocabulary(name: str) -> Path:
    """Return the path of a vocabulary file, given by path or by name in config/vocabularies.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return own_or_config_path(name, "vocabularies")


def _plain(value: Any) -> Any:
    """Return lists for the arrays that rclpy stores."""
    return value if value is None or isinstance(value, (str, bool, int, float)) else list(value)
