"""Parameters are described, checked together, and refused with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from rcl_interfaces.msg import ParameterType, SetParametersResult
from rclpy.parameter import Parameter
from ros_harness import bare_nodes, domain_for

from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel
from sclip_seg_ros.ros.document_parameters import markdown
from sclip_seg_ros.ros.parameter_parsing import parse_classes
from sclip_seg_ros.ros.parameter_table import DECLARATIONS, GROUPS
from sclip_seg_ros.ros.parameters import (
    NodeOptions,
    check_change,
    configured_options,
    declare_parameters,
    find_vocabulary,
    read_values,
)
from sclip_seg_ros.segmentation import SegmentorSettings

LADDER = QualityLadder((QualityLevel("full", {}), QualityLevel("no-overlap", {"stride": 224})))


@pytest.fixture
def make_node():
    """Return a function that makes a bare node with parameter overrides."""
    with bare_nodes(domain_for(__file__)) as make:
        yield make


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
    ({"loftup_factor": "3"}, "loftup_factor='3' is no number"),
    ({"overlay_alpha": True}, "overlay_alpha=True is no number"),
    ({"overlay_alpha": None}, "overlay_alpha=None is no number"),
    ({"prompt_templates": ["a photo"]}, "prompt template 'a photo' is neither a sentence"),
    ({"prompt_templates": []}, "prompt_templates=\\[\\] is no list of texts"),
    ({"palette": "road=grey"}, "palette entry 'road=grey' is no class with a colour"),
    ({"image_topics": ["/a", "/a"]}, "image topic '/a' is named twice"),
    ({"latency_budget_ms": float("nan")}, "latency_budget_ms=nan is out of range"),
    ({"short_side": 64.5}, "short_side=64.5 is no whole number; give 16 to 4096"),
    ({"short_side": float("nan")}, "short_side=nan is no whole number"),
    ({"short_side": 8.0}, "short_side=8.0 is out of range; give 16 to 4096"),
    ({"short_side": "small"}, "short_side='small' is no whole number"),
    ({"short_side": True}, "short_side=True is no whole number"),
    ({"short_side": None}, "short_side=None is no whole number"),
    ({"use_pamr": 1}, "use_pamr=1 is no switch; give true or false"),
    ({"use_pamr": "yes"}, "use_pamr='yes' is no switch"),
    ({"background": 7}, "background=7 is no text; put it in quotes"),
])
def test_refusals_name_value_and_remedy_and_change_nothing(make_node, changes, complaint):
    node = make_node()
    declare_parameters(node)
    before = read_values(node)
    answer = check_change(node, [Parameter(name, value=value) for name, value in changes.items()],
                          ladder=None)
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


def test_a_number_without_a_fraction_will_do_where_a_whole_one_is_meant(make_node):
    options = declare_parameters(make_node(short_side=64.0, crf_iterations=3.0))
    assert (options.settings.short_side, options.settings.crf.iterations) == (64, 3)
    assert isinstance(options.settings.short_side, int)


@pytest.mark.parametrize("name, value, complaint", [
    ("short_side", 64.5, "is no whole number"), ("use_pamr", 1, "is no switch"),
    ("model", 5, "is no text"), ("overlay_alpha", "half", "is no number"),
    ("pamr_dilations", 8, "is no list"), ("classes", 7, "is no list of texts"),
])
def test_a_value_of_another_type_is_refused_in_our_own_words(make_node, name, value, complaint):
    """At start and by a service; ROS would say `expected '2' got '3'`."""
    with pytest.raises(ValueError, match=f"^{name}={value!r} {complaint}"):
        declare_parameters(make_node(**{name: value}))
    node = make_node()
    declare_parameters(node)
    node.add_on_set_parameters_callback(lambda changes: check_change(node, changes, LADDER))
    answer = node.set_parameters([Parameter(name, value=value)])[0]
    assert not answer.successful
    assert answer.reason.startswith(f"{name}={value!r} {complaint}")


def test_classes_and_background_may_change_together(make_node):
    node = make_node(classes=["sky", "road"], background="sky")
    declare_parameters(node)
    changes = [Parameter("classes", value=["grass", "path"]),
               Parameter("background", value="grass")]
    assert check_change(node, changes, LADDER).successful
    assert not check_change(node, changes[:1], LADDER).successful


@pytest.mark.parametrize("ladder", [None, LADDER], ids=["not configured", "configured"])
def test_a_factor_that_loftup_would_ignore_is_refused(make_node, ladder):
    node = make_node()
    declare_parameters(node)
    node.add_on_set_parameters_callback(lambda changes: check_change(node, changes, ladder))
    factor, adaptive = Parameter("loftup_factor", value=3.0), Parameter("loftup_adaptive",
                                                                        value=False)
    refusal = node.set_parameters([factor])[0]
    assert not refusal.successful
    assert refusal.reason \
        == "loftup_factor=3.0 has no effect; set loftup_adaptive to false as well"
    assert node.set_parameters_atomically([factor, adaptive]).successful
    assert node.set_parameters([Parameter("loftup_factor", value=4.0)])[0].successful
    assert node.set_parameters([Parameter("loftup_adaptive", value=True)])[0].successful
    assert node.set_parameters([Parameter("loftup_factor", value=2.0)])[0].successful, "the default"


def test_what_is_in_force_may_come_back_though_it_has_no_effect(make_node):
    node = make_node(loftup_adaptive=True, loftup_factor=2.0)
    declare_parameters(node)
    back = [Parameter("loftup_factor", value=3.0), Parameter("use_loftup", value=False)]
    assert not check_change(node, back, LADDER).successful
    assert check_change(node, back, LADDER, going_back=True).successful


def test_a_file_may_give_loftup_a_factor_beside_the_adaptive_one(make_node):
    node = make_node(loftup_adaptive=True, loftup_factor=3.0)
    settings = declare_parameters(node).settings
    assert (settings.loftup.adaptive, settings.loftup.factor) == (True, 3.0)
    for name, value in read_values(node).items():  # as `ros2 param load` of its own dump
        assert check_change(node, [Parameter(name, value=value)], LADDER).successful, name


def test_parameters_of_others_are_left_to_them(make_node):
    node = make_node()
    declare_parameters(node)
    assert check_change(node, [Parameter("use_sim_time", value=True)], LADDER).successful


def test_what_decides_on_the_model_is_fixed_while_it_is_loaded(make_node):
    node = make_node()
    declare_parameters(node)
    for name, value in (("model", "ViT-B/16"), ("precision", "fp16"), ("image_topics", ["/a"]),
                        ("quality_ladder", "jetson.yaml")):
        change = [Parameter(name, value=value)]
        assert check_change(node, change, ladder=None).successful, name
        refusal = check_change(node, change, LADDER)
        assert not refusal.successful and "clean up the node" in refusal.reason


def test_a_configured_node_takes_its_own_parameters_again(make_node):
    """As `ros2 param load` gives it those of `ros2 param dump`, what is fixed among them."""
    node = make_node(image_topics="/camera/image", threads=2)
    declare_parameters(node)
    for name, value in read_values(node).items():
        answer = check_change(node, [Parameter(name, value=value)], LADDER)
        assert answer.successful, answer.reason
    assert check_change(node, [Parameter("image_topics", value=["/camera/image"])],
                        LADDER).successful, "the same, written differently"


@pytest.mark.parametrize("budget, changes", [
    (3000.0, {"crop": 160}), (0.0, {"crop": 160, "latency_budget_ms": 3000.0}),
], ids=["settings", "budget"])
def test_a_budget_and_settings_that_do_not_fit_its_ladder_are_refused(make_node, budget, changes):
    node = make_node(latency_budget_ms=budget)
    declare_parameters(node)
    changes = [Parameter(name, value=value) for name, value in changes.items()]
    refusal = check_change(node, changes, LADDER)
    assert not refusal.successful
    assert "latency_budget_ms=3000 cannot be kept: quality level 'no-overlap'" in refusal.reason
    assert "set latency_budget_ms to 0" in refusal.reason
    without = [*changes, Parameter("latency_budget_ms", value=0.0)]
    assert check_change(node, without, LADDER).successful


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
    assert list(configured_options(node).classes) == expected
    assert node.get_parameter("classes").value == expected


def test_a_background_is_one_of_the_vocabulary_files_classes(make_node):
    node = make_node(vocabulary_file="cityscapes.txt", background="sky")
    declare_parameters(node)
    options = configured_options(node)
    assert options.background == "sky" and "sky" in options.classes


def test_a_background_that_the_vocabulary_file_lacks_ends_the_configuration(make_node):
    node = make_node(vocabulary_file="cityscapes.txt", background="door")
    words = declare_parameters(node).classes
    with pytest.raises(ValueError, match="background 'door' is none of the classes"):
        configured_options(node)
    assert tuple(node.get_parameter("classes").value) == words


def test_words_of_a_file_that_somebody_refuses_end_the_configuration(make_node):
    node = make_node(vocabulary_file="cityscapes.txt")
    declare_parameters(node)
    node.add_on_set_parameters_callback(
        lambda changes: SetParametersResult(successful=False, reason="not on my watch"))
    with pytest.raises(ValueError, match="'cityscapes.txt' cannot be used: not on my watch"):
        configured_options(node)


def test_a_vocabulary_is_found_by_name():
    assert find_vocabulary("demo.txt").is_file()
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        find_vocabulary("nowhere.txt")


def test_the_default_vocabulary_is_the_demos(make_node):
    assert tuple(read_vocabulary(find_vocabulary("demo.txt"))) \
        == declare_parameters(make_node()).classes


def test_the_parameter_page_is_up_to_date():
    page = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
    assert page.read_text(encoding="utf-8") == markdown(), \
        "run: python -m sclip_seg_ros.ros.document_parameters > docs/parameters.md"
