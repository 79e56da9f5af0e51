"""Parameters are described, checked together, and refused with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; use `make test`")

import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import domain_for

from sclip_seg_ros.ros.document_parameters import markdown
from sclip_seg_ros.ros.parameter_table import DECLARATIONS, GROUPS
from sclip_seg_ros.ros.parameters import (
    NodeOptions,
    check_change,
    declare_parameters,
    find_vocabulary,
    parse_classes,
    read_values,
    take_vocabulary_file,
)
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.tools.profiles import read_vocabulary


@pytest.fixture
def make_node():
    """Return a function that makes a bare node with parameter overrides."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    nodes = []

    def make(**overrides) -> Node:
        nodes.append(Node("sclip_seg", context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in overrides.items()]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def setting_paths(settings, prefix: str = "") -> set[str]:
    """Return the path of every setting, nested ones as ``crf__iterations``."""
    paths = set()
    for item in fields(settings):
        value = getattr(settings, item.name)
        paths |= setting_paths(value, f"{item.name}__") if is_dataclass(value) \
            else {prefix + item.name}
    return paths


def test_no_parameter_is_declared_twice():
    names = Counter(entry.name for group in GROUPS.values() for entry in group)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_setting_is_a_parameter():
    assert {entry.setting for entry in DECLARATIONS.values() if entry.setting} \
        == setting_paths(SegmentorSettings())


@pytest.mark.parametrize("entry", [entry for entry in DECLARATIONS.values()
                                   if entry.setting and entry.low is not None],
                         ids=lambda entry: entry.name)
def test_declared_ranges_are_those_of_the_settings(entry):
    kind = type(entry.default)
    together = ("crop", "stride") if entry.name in ("crop", "stride") else (entry.setting,)
    for value in (max(entry.low, 16) if entry.name == "stride" else entry.low, entry.high):
        SegmentorSettings().with_changes(**dict.fromkeys(together, kind(value)))
    if entry.name not in ("crop", "stride"):
        for value in (kind(entry.low) - 1, kind(entry.high) + 1):
            with pytest.raises(ValueError, match="out of range"):
                SegmentorSettings().with_changes(**{entry.setting: value})


def test_without_overrides_the_options_are_the_settings_defaults(make_node):
    options = declare_parameters(make_node())
    assert options.settings == SegmentorSettings()
    assert "floor" in options.classes
    assert options.background == ""


def test_every_parameter_is_described(make_node):
    node = make_node()
    declare_parameters(node)
    for name, entry in DECLARATIONS.items():
        descriptor = node.describe_parameter(name)
        assert len(descriptor.description) > 10, name
        fixed = "while the node is configured" in descriptor.additional_constraints
        assert fixed == entry.fixed, name
        is_number = isinstance(entry.default, (int, float)) and not isinstance(entry.default, bool)
        assert bool(descriptor.integer_range or descriptor.floating_point_range) == is_number, name


def test_overrides_reach_the_settings(make_node):
    options = declare_parameters(make_node(
        short_side=448, use_pamr=True, pamr_dilations=[4, 8, 12], crf_iterations=3,
        resclip_variant="documents", overlay_alpha=0.25, latency_budget_ms=40.0))
    settings = options.settings
    assert (settings.short_side, settings.use_pamr) == (448, True)
    assert settings.pamr.dilations == (4, 8, 12)
    assert settings.crf.iterations == 3
    assert settings.resclip.variant == "documents"
    assert (options.overlay_alpha, options.latency_budget_ms) == (0.25, 40.0)


@pytest.mark.parametrize("value", [["floor", "wall", "person|man"], "floor,wall,person|man",
                                   " floor , wall,  person|man "])
def test_classes_come_as_a_list_or_as_one_text(make_node, value):
    assert declare_parameters(make_node(classes=value)).classes == ("floor", "wall", "person|man")


@pytest.mark.parametrize("value, complaint", [
    ([], "is empty"), ("", "is empty"), ("  ", "is empty"), (None, "is empty"),
    ([1, 2], r"classes=\[1, 2\] is no list of texts"), (7, "no list of texts"),
    (True, "no list of texts"), (1.5, "no list of texts"),
    ([b"a"], "no list of texts"),
])
def test_other_classes_are_refused(value, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_classes(value)


@pytest.mark.parametrize("changes, complaint", [
    ({"classes": ["floor", "  "]}, "blank"),
    ({"classes": ["floor", "Floor"]}, "twice"),
    ({"classes": "floor,wall,floor"}, "twice"),
    ({"classes": [f"thing {i}" for i in range(255)]}, "255 classes.*at most 254"),
    ({"classes": ["x" * 257]}, "257 characters"),
    ({"classes": []}, "is empty"),
    ({"background": "unicorn"}, "background 'unicorn' is none of the classes"),
    ({"classes": ["cup"], "background": "wall"}, "background 'wall'"),
    ({"attention": "telepathy"}, "attention='telepathy' is unknown; choose one of sclip"),
    ({"crop": 64}, r"stride=112 is out of range"),
    ({"pamr_dilations": [0, 4]}, r"pamr.dilations"),
    ({"pamr_dilations": []}, r"pamr.dilations is empty; name at least one"),
    ({"pamr_dilations": 8}, r"pamr_dilations=8 is no list; give e.g. \[8, 16\]"),
    ({"pamr_dilations": ["8"]}, r"pamr.dilations='8' is no whole number"),
    ({"logit_scale": 1001}, "logit_scale=1001 is out of range; give 0.0 to 1000.0"),
    ({"logit_scale": "much"}, "logit_scale='much' is no number; give 0.0 to 1000.0"),
    ({"overlay_alpha": True}, "overlay_alpha=True is no number"),
    ({"overlay_alpha": None}, "overlay_alpha=None is no number"),
    ({"prompt_templates": ["a photo"]}, "prompt template 'a photo' is neither a sentence"),
    ({"prompt_templates": []}, "prompt_templates=\\[\\] is no list of texts"),
    ({"palette": "road=grey"}, "palette entry 'road=grey' is no class with a colour"),
    ({"image_topics": ["/a", "/a"]}, "image topic '/a' is named twice"),
    ({"latency_budget_ms": float("nan")}, "latency_budget_ms=nan is out of range"),
])
def test_refusals_name_value_and_remedy_and_change_nothing(make_node, changes, complaint):
    node = make_node()
    declare_parameters(node)
    before = read_values(node)
    answer = check_change(node, [Parameter(name, value=value) for name, value in changes.items()],
                          configured=False)
    assert not answer.successful
    assert re.search(complaint, answer.reason), answer.reason
    assert "\n" not in answer.reason
    assert read_values(node) == before


def test_a_whole_number_will_do_where_a_decimal_one_is_meant(make_node):
    node = make_node(latency_budget_ms=40, crf_gaussian_sxy=2)
    options = declare_parameters(node)
    assert (options.latency_budget_ms, options.settings.crf.gaussian_sxy) == (40.0, 2.0)
    assert node.set_parameters([Parameter("logit_scale", value=50)])[0].successful
    scale = NodeOptions.from_values(read_values(node)).settings.logit_scale
    assert scale == 50.0 and isinstance(scale, float)


def test_classes_and_background_may_change_together(make_node):
    node = make_node(classes=["sky", "road"], background="sky")
    declare_parameters(node)
    changes = [Parameter("classes", value=["grass", "path"]),
               Parameter("background", value="grass")]
    assert check_change(node, changes, configured=True).successful
    assert not check_change(node, changes[:1], configured=True).successful


def test_parameters_of_others_are_left_to_them(make_node):
    node = make_node()
    declare_parameters(node)
    assert check_change(node, [Parameter("use_sim_time", value=True)],
                        configured=True).successful


def test_what_decides_on_the_model_is_fixed_while_it_is_loaded(make_node):
    node = make_node()
    declare_parameters(node)
    for name, value in (("model", "ViT-B/16"), ("precision", "fp16"), ("image_topics", ["/a"]),
                        ("quality_ladder", "jetson.yaml")):
        change = [Parameter(name, value=value)]
        assert check_change(node, change, configured=False).successful, name
        refusal = check_change(node, change, configured=True)
        assert not refusal.successful and "clean up the node" in refusal.reason


def test_ranges_are_kept_by_ros_itself(make_node):
    node = make_node()
    declare_parameters(node)
    for name, value in (("short_side", 3), ("probability_threshold", 1.5),
                        ("overlay_alpha", -0.1)):
        assert not node.set_parameters([Parameter(name, value=value)])[0].successful, name
    assert node.get_parameter("classes").type_.value == ParameterType.PARAMETER_STRING_ARRAY


@pytest.mark.parametrize("name", ["precision", "image_transport", "inference", "resclip_variant"])
def test_unknown_choices_are_refused_at_start(make_node, name):
    with pytest.raises(ValueError, match="nonsense.*is unknown; choose one of"):
        declare_parameters(make_node(**{name: "nonsense"}))


def test_a_vocabulary_file_fills_the_classes(make_node, tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("# my robot\nfloor\nperson, pedestrian\n\ncup|mug   # drinks\n")
    node = make_node(vocabulary_file=str(file))
    expected = ["floor", "person|pedestrian", "cup|mug"]
    declare_parameters(node)
    take_vocabulary_file(node)
    assert node.get_parameter("classes").value == expected


def test_a_vocabulary_is_found_by_name():
    assert find_vocabulary("demo.txt").is_file()
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        find_vocabulary("nowhere.txt")


def test_the_default_vocabulary_is_the_demos(make_node):
    assert tuple(read_vocabulary(find_vocabulary("demo.txt"))) \
        == NodeOptions.from_values(declare_parameters(make_node()).values).classes


def test_the_parameter_page_is_up_to_date():
    page = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
    assert page.read_text(encoding="utf-8") == markdown(), \
        "run: python -m sclip_seg_ros.ros.document_parameters > docs/parameters.md"
