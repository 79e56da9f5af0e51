"""Parameters are described, checked together, and refused with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import ParameterType, SetParametersResult
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import bare_nodes, domain_for

from sclip_seg_ros.common.settings import Settings, choice, number, numbers
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel
from sclip_seg_ros.ros.parameters.declarations import (
    DECLARATIONS,
    GROUPS,
    SETTINGS,
    declarations_of,
)
from sclip_seg_ros.ros.parameters.document import markdown
from sclip_seg_ros.ros.parameters.options import (
    NodeOptions,
    check_change,
    configured_options,
    declare_parameters,
    descriptor_of,
    find_vocabulary,
    read_values,
    warn_of_lone_class,
)
from sclip_seg_ros.ros.parameters.parsing import parse_classes, parse_value
from sclip_seg_ros.ros.parameters.without_effect import warn_of_unknown
from sclip_seg_ros.segmentation import SegmentorSettings

LADDER = QualityLadder((QualityLevel("full", {}), QualityLevel("no-overlap", {"stride": 224})))


@pytest.fixture
def make_node():
    """Return a function that makes a bare node with parameter overrides."""
    with bare_nodes(domain_for(__file__)) as make:
        yield make


def setting_paths(settings, prefix: str = "") -> set[str]:
    """Return the name of every setting, nested ones as ``crf.iterations``."""
    paths = set()
    for item in fields(settings):
        value = getattr(settings, item.name)
        paths |= setting_paths(value, f"{item.name}.") if is_dataclass(value) \
            else {prefix + item.name}
    return paths


def test_no_parameter_is_declared_twice():
    names = Counter(entry.name for group in GROUPS.values() for entry in group)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_setting_is_a_parameter():
    assert set(DECLARATIONS) >= SETTINGS == setting_paths(SegmentorSettings())


@pytest.mark.parametrize("entry", [entry for entry in DECLARATIONS.values()
                                   if entry.name in SETTINGS and entry.low is not None],
                         ids=lambda entry: entry.name)
def test_declared_ranges_are_those_of_the_settings(entry):
    kind = type(entry.default)
    together = ("crop", "stride") if entry.name in ("crop", "stride") else (entry.name,)
    for value in (max(entry.low, 16) if entry.name == "stride" else entry.low, entry.high):
        SegmentorSettings().with_changes(**dict.fromkeys(together, kind(value)))
    if entry.name not in ("crop", "stride"):
        for value in (kind(entry.low) - 1, kind(entry.high) + 1):
            with pytest.raises(ValueError, match="must be .* to .*, got"):
                SegmentorSettings().with_changes(**{entry.name: value})


def test_a_parameter_follows_from_a_settings_declaration():
    @dataclass(frozen=True)
    class Own(Settings):
        cups: int = number(3, 0, 7, "Cups at most.", unit="cups", section="Things", fixed=True)
        rim: str = choice("mirror", ("mirror", "zero"), "Beyond the picture.", section="Things")
        taps: tuple[int, ...] = numbers((3, 5), 1, 9, 4, "Sizes.")

    sections = declarations_of(Own)
    cups, rim = map(descriptor_of, sections["Things"])
    assert cups.description == "Cups at most."
    assert (cups.integer_range[0].from_value, cups.integer_range[0].to_value) == (0, 7)
    assert "In cups." in cups.additional_constraints
    assert "Cannot change while the node is configured." in cups.additional_constraints
    assert rim.additional_constraints == "One of mirror, zero."
    [prefixed] = declarations_of(Own, "own.", "Others")["Others"]
    assert prefixed.name == "own.taps"
    taps, = sections["Stages"]
    assert (taps.default, taps.description) == ([3, 5], "Sizes. At most 4.")


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
        short_side=448, use_pamr=False, overlay_alpha=0.25, latency_budget_ms=40.0, **{
            "pamr.dilations": [4, 8, 12], "crf.iterations": 3, "resclip.variant": "documents"}))
    settings = options.settings
    assert (settings.short_side, settings.use_pamr) == (448, False)
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
    ([1, 2], r"classes=\[1, 2\] is not a list of texts"), (7, "not a list of texts"),
    (True, "not a list of texts"), (1.5, "not a list of texts"),
    ([b"a"], "not a list of texts"),
])
def test_other_classes_are_refused(value, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_classes(value)


@pytest.mark.parametrize("value", [
    "['floor' 'wall']", "['floor', 'wall'", "[floor, wall", "floor, wall]", "['floor', 3]",
    "'floor','wall'", '"floor","wall"', "floor','wall", "floor;wall", "(floor, wall)",
    "[['floor','wall']]", "[floor, wall, null]", "[traffic light: red, floor]", "{floor, wall}",
    "‘floor’, ‘wall’", "“floor”,“wall”", "floor，wall", "floor\nwall", "- floor",
    ["floor, wall"], ["'floor'", "'wall'"], ["floor;wall"], ["[floor", "wall]"], ["floor|'wall'"],
])
def test_a_list_that_could_not_be_read_gives_no_classes(make_node, value):
    """Of text that is not a YAML list ROS makes one text, and its pieces would pass for words."""
    node = make_node()
    declare_parameters(node)
    answer = check_change(node, [Parameter("classes", value=value)], LADDER)
    assert not answer.successful
    assert answer.reason.startswith("classes=") and "looks like a list" in answer.reason
    assert "['floor', 'person|pedestrian']" in answer.reason and "\n" not in answer.reason
    with pytest.raises(ValueError, match="looks like a list"):
        declare_parameters(make_node(classes=value))


@pytest.mark.parametrize("value", [
    ["driver's seat", "horses' stable"], ["cup (red)", "TV / screen"], "rock'n'roll sign,floor",
    ["1 euro coin", "2 euro coin"], ["2.5 inch disk", "3.5 inch drive"], "3D printer,4K monitor",
    ["5\" pipe", "what is not sky"], ["traffic light: red", "no. 7"], "floor , wall|curtain",
])
def test_words_with_signs_of_their_own_stay_words(make_node, value):
    assert len(declare_parameters(make_node(classes=value)).classes) == 2


@pytest.mark.parametrize("value", [
    ["0: floor", "1: wall"], "0: floor, 1: wall", ["1. floor", "2. wall"], "7 floor,11 wall|fence",
    ["0|floor", "1|wall"], ["1) floor", "2) wall"], ["0\tfloor", "1\twall"],
])
def test_numbered_lists_give_no_classes(make_node, value):
    with pytest.raises(ValueError, match=r"^class '.*floor' begins with its number, .*class_ids"):
        declare_parameters(make_node(classes=value))


@pytest.mark.parametrize("name, value, example", [
    ("image_topics", "['/a' '/b']", "/front/image_raw,/rear/image_raw"),
    ("image_topics", "[/a, /b", "/front/image_raw,/rear/image_raw"),
    ("image_topics", "'/a','/b'", "/front/image_raw,/rear/image_raw"),
    ("image_topics", ["/a, /b"], "/front/image_raw,/rear/image_raw"),
    ("image_topics", "/a;/b", "/front/image_raw,/rear/image_raw"),
    ("prompt_templates", "['a {}.' 'the {}.']", "['a photo of a {}.', 'a {} in a room.']"),
    ("prompt_templates", "'a photo of a {}.'", "['a photo of a {}.', 'a {} in a room.']"),
    ("prompt_templates", "[openai-80, simple-7", "['a photo of a {}.', 'a {} in a room.']"),
    ("points.classes", "['floor', 'table'", "floor,table"),
    ("points.classes", ["floor, table"], "floor,table"),
    ("points.classes", "- floor;- wall", "floor,table"),
    ("palette", "road=#804080; sky=#4682b4", "road=#804080, sky=#4682b4"),
    ("palette", "[road=#804080", "road=#804080, sky=#4682b4"),
    ("palette", "'road'=#804080", "road=#804080, sky=#4682b4"),
])
def test_other_lists_that_could_not_be_read_are_refused(make_node, name, value, example):
    with pytest.raises(ValueError, match=f"^{name}=.* looks like a list") as refusal:
        declare_parameters(make_node(**{name: value}))
    assert example in str(refusal.value)


def test_a_sentence_may_quote_the_word(make_node):
    templates = ["a sign that says \"{}\"", "{}, seen from above", "this is: {}"]
    assert declare_parameters(make_node(prompt_templates=templates)).templates == tuple(templates)


def test_topics_may_come_as_one_text_with_commas(make_node):
    cameras = declare_parameters(make_node(image_topics="/front/image_raw, /rear/image_raw")
                                 ).cameras
    assert [camera.topic for camera in cameras] == ["/front/image_raw", "/rear/image_raw"]


def test_words_that_yaml_takes_for_switches_are_told_of():
    with pytest.raises(ValueError, match="put words such as yes, no, on and off in quotes"):
        parse_classes([True, False])


MAY_BE_EMPTY = ("class_ids", "negative_words", "depth_topics", "points.classes")


def test_what_a_node_was_set_to_starts_another_from_a_file(tmp_path):
    """Its empty lists above all, which ROS hands over as no value at all."""
    values = values_of_node()
    assert [values[name] for name in MAY_BE_EMPTY] == [[]] * 4
    file = tmp_path / "dump.yaml"
    file.write_text(yaml.safe_dump({"/sclip_seg": {"ros__parameters": values}}))
    assert values_of_node("--params-file", str(file)) == values


def values_of_node(*arguments: str) -> dict:
    """Return the parameters of a node that is started with ROS arguments."""
    context = Context()
    rclpy.init(args=["--ros-args", *arguments], context=context, domain_id=domain_for(__file__))
    node = Node("sclip_seg", context=context)
    try:
        declare_parameters(node)
        return read_values(node)
    finally:
        node.destroy_node()
        context.shutdown()


@pytest.mark.parametrize("name", MAY_BE_EMPTY)
@pytest.mark.parametrize("written", ["[]", "'[]'", "''"])
def test_an_empty_list_is_empty_however_it_is_written(name, written):
    value = values_of_node("-p", f"{name}:={written}")[name]
    assert parse_value(DECLARATIONS[name], value) == ()


@pytest.mark.parametrize("name", ["classes", "image_topics", "prompt_templates", "pamr.dilations"])
def test_an_empty_list_where_something_has_to_be_is_told_as_that(name):
    with pytest.raises(ValueError, match=" is empty; (name at least one|give e.g.)"):
        values_of_node("-p", f"{name}:=[]")


def test_whole_numbers_may_have_a_point_inside_a_list_too(make_node):
    settings = declare_parameters(make_node(**{"pamr.dilations": [8.0, 16.0]})).settings
    assert settings.pamr.dilations == (8, 16)


@pytest.mark.parametrize("start, change, reason", [
    ({}, {"crop": 64},
     "crop=64 does not go with the other parameters: stride must be 8 to 64, got 112"),
    ({"latency_budget_ms": 3000.0}, {"crop": 160},
     "crop=160 does not go with the other parameters: latency_budget_ms=3000 cannot be kept"),
    ({}, {"pamr.dilations": [0]}, "pamr.dilations must be 1 to 1024, got 0"),
    ({}, {"crf.backend": "magic"}, "crf.backend='magic' is unknown"),
])
def test_a_refusal_names_the_parameter_that_was_to_be_changed(make_node, start, change, reason):
    node = make_node(**start)
    declare_parameters(node)
    answer = check_change(node, [Parameter(name, value=value) for name, value in change.items()],
                          LADDER)
    assert answer.reason.startswith(reason)
    if "does not go" in reason:
        assert answer.reason.endswith("change that first, or both in one call of "
                                      "set_parameters_atomically")


def warnings_of(node, monkeypatch) -> list[str]:
    """Return the list that a node's warnings go to from now on."""
    warnings: list[str] = []
    monkeypatch.setattr(node.get_logger(), "warning", warnings.append)
    return warnings


@pytest.mark.parametrize("name, hint", [
    ("clases", "did you mean 'classes'?"), ("crf.iteration", "did you mean 'crf.iterations'?"),
    ("use_pmar", "did you mean 'use_pamr'?"), ("zzz", "see `ros2 param list`"),
    ("crf_iteration", "did you mean 'crf.iterations'?"),
])
def test_a_misspelt_parameter_is_told_with_what_it_may_have_been(make_node, monkeypatch, name,
                                                                 hint):
    node = make_node(**{name: 1})
    declare_parameters(node)
    warnings = warnings_of(node, monkeypatch)
    warn_of_unknown(node)
    assert warnings == [f"parameter '{name}' does not exist and is ignored; {hint}"]


def test_a_group_written_with_an_underscore_is_understood_and_told(make_node, monkeypatch):
    node = make_node(crf_iterations=3, pamr_steps=5, **{"pamr.steps": 7})
    warnings = warnings_of(node, monkeypatch)
    settings = declare_parameters(node).settings
    assert settings.crf.iterations == 3 and settings.pamr.steps == 7
    warn_of_unknown(node)
    assert warnings == [
        "parameter 'crf_iterations' is called 'crf.iterations' now: its value is taken; rename it",
        "parameter 'pamr_steps' is called 'pamr.steps' now, which is given too: it is ignored; "
        "leave it out"]


def test_a_bad_value_under_a_former_name_is_refused_after_that_is_told(make_node, monkeypatch):
    node = make_node(crf_iterations=1000)
    warnings = warnings_of(node, monkeypatch)
    with pytest.raises(ParameterException, match=r"crf\.iterations"):
        declare_parameters(node)
    assert len(warnings) == 1


@pytest.mark.parametrize("given", [{}, {"class_ids": [], "depth_topics": []}])
def test_an_empty_list_says_of_what(make_node, given):
    """As `ros2 param get` and `describe` have it; rclpy calls Python's own one of bytes."""
    node = make_node(**given)
    declare_parameters(node)
    found = {name: node.get_parameter(name).type_ for name in
             ("class_ids", "negative_words", "points.classes", "depth_topics", "pamr.dilations")}
    integers, strings = Parameter.Type.INTEGER_ARRAY, Parameter.Type.STRING_ARRAY
    assert found == {"class_ids": integers, "negative_words": strings, "points.classes": strings,
                     "depth_topics": strings, "pamr.dilations": integers}


@pytest.mark.parametrize("given, told", [
    ({"loftup.factor": 3.0}, ["loftup.factor=3.0 has no effect; set loftup.adaptive to false as "
                              "well"]),
    ({"loftup.factor": 3.0, "loftup.adaptive": False}, []), ({"loftup.factor": 2.0}, [])])
def test_a_factor_that_has_no_effect_at_start_is_told(make_node, monkeypatch, given, told):
    node = make_node(**given)
    warnings = warnings_of(node, monkeypatch)
    declare_parameters(node)
    assert warnings == told


@pytest.mark.parametrize("classes, negatives, warned", [
    (["person|pedestrian"], [], "every pixel is 'person'; name what else there is, e.g. "
                                "'person,floor,wall'"),
    (["floor"], [], "every pixel is 'floor'; name what else there is, e.g. 'floor,wall,ceiling'"),
    (["person"], ["floor"], ""),
    (["person", "floor"], [], ""),
])
def test_one_class_alone_is_warned_of(make_node, monkeypatch, classes, negatives, warned):
    node = make_node(classes=classes, negative_words=negatives)
    options = declare_parameters(node)
    warnings = warnings_of(node, monkeypatch)
    warn_of_lone_class(node, options)
    assert (warned in warnings[0]) if warned else not warnings


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
    ({"crop": 64}, r"stride must be 8 to 64, got 112"),
    ({"pamr.dilations": [0, 4]}, r"pamr.dilations"),
    ({"pamr.dilations": []}, r"pamr.dilations is empty; name at least one"),
    ({"pamr.dilations": 8}, r"pamr.dilations=8 is not a list; give e.g. \[3, 12\]"),
    ({"pamr.dilations": ["8"]}, r"pamr.dilations='8' is not a whole number"),
    ({"logit_scale": 1001}, "logit_scale must be 0.0 to 1000.0, got 1001"),
    ({"logit_scale": "much"}, "logit_scale='much' is not a number; give 0.0 to 1000.0"),
    ({"loftup.factor": "3"}, "loftup.factor='3' is not a number"),
    ({"overlay_alpha": True}, "overlay_alpha=True is not a number"),
    ({"overlay_alpha": None}, "overlay_alpha cannot be deleted; set it to its default, 0.5"),
    ({"palette": None}, "palette cannot be deleted; set it to its default, ''"),
    ({"classes": None}, "classes cannot be deleted"),
    ({"negative_words": None}, "negative_words cannot be deleted"),
    ({"prompt_templates": ["a photo"]}, "prompt template 'a photo' is neither a sentence"),
    ({"prompt_templates": []}, "prompt_templates is empty; give e.g."),
    ({"palette": "road=grey"}, "palette entry 'road=grey' is not a class with a colour"),
    ({"image_topics": [""]}, "image_topics=\\[''\\] has an empty text; give e.g. \\['image"),
    ({"image_topics": ["/a", " "]}, "image_topics=.* has an empty text; take it out"),
    ({"image_topics": ""}, "image_topics is empty; give e.g."),
    ({"image_topics": "[]"}, "image_topics is empty; give e.g."),
    ({"classes": "[]"}, "is empty"),
    ({"prompt_templates": ["a {}.", ""]}, "prompt_templates=.* has an empty text; take it out"),
    ({"image_topics": ["/a", "/a"]}, "image topic '/a' is named twice"),
    ({"latency_budget_ms": float("nan")}, "latency_budget_ms must be .*, got nan"),
    ({"short_side": 64.5}, "short_side=64.5 is not a whole number; give 0 to 4096"),
    ({"short_side": float("nan")}, "short_side=nan is not a whole number"),
    ({"short_side": 8.0}, "short_side must be 16 to 4096, or 0 for what suits the model, got 8"),
    ({"short_side": "small"}, "short_side='small' is not a whole number"),
    ({"short_side": True}, "short_side=True is not a whole number"),
    ({"short_side": None}, "short_side cannot be deleted"),
    ({"use_pamr": 1}, "use_pamr=1 is not a switch; give true or false"),
    ({"use_pamr": "yes"}, "use_pamr='yes' is not a switch"),
    ({"background": 7}, "background=7 is not text; put it in quotes"),
    ({"attention": ["sclip"]}, r"attention='\['sclip'\]' is unknown; choose one of sclip"),
    ({"proxy.model": [True]}, r"proxy.model='\[True\]' is unknown; choose one of"),
    ({"class_ids": [1.0, float("inf")]}, r"class_ids=\[1.0, inf\] is not a list of whole numbers"),
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


ODD = [True, 0, -1, 2**62, 1.5, float("nan"), float("inf"), "", "  ", "x", "x\x00y", "{x}",
       "1e400", "a" * 300, [], [True], [b"\x01"], [2**62], [1.0, float("inf")],
       [float("nan")], [""], ["a", "b"], ["{} {"], "as:", "as:/a b", "99999999999999x1",
       "a=#gg", "~", "//a", ["/a", "/a/"]]


@pytest.mark.parametrize("name", DECLARATIONS)
def test_whatever_a_parameter_is_set_to_is_read_or_refused(name):
    plain = {entry.name: entry.default for entry in DECLARATIONS.values()}
    for value in ODD:
        try:
            options = NodeOptions.from_values({**plain, name: value})
        except ValueError as error:
            assert str(error)
        else:
            assert options.given[name] is value


def test_a_fault_of_the_check_itself_refuses_and_is_logged(make_node, monkeypatch):
    node = make_node()
    declare_parameters(node)
    told = []
    monkeypatch.setattr(node.get_logger(), "error", told.append)
    monkeypatch.setattr(NodeOptions, "from_values", lambda given: 1 // 0)
    answer = check_change(node, [Parameter("short_side", value=64)], ladder=None)
    assert not answer.successful
    assert answer.reason.startswith("short_side=64 could not be checked: ZeroDivisionError")
    assert told == [answer.reason]


def test_a_whole_number_will_do_where_a_decimal_one_is_meant(make_node):
    node = make_node(latency_budget_ms=40, **{"crf.gaussian_sxy": 2})
    options = declare_parameters(node)
    assert (options.latency_budget_ms, options.settings.crf.gaussian_sxy) == (40.0, 2.0)
    assert node.set_parameters([Parameter("logit_scale", value=50)])[0].successful
    scale = NodeOptions.from_values(read_values(node)).settings.logit_scale
    assert scale == 50.0 and isinstance(scale, float)


def test_a_number_without_a_fraction_will_do_where_a_whole_one_is_meant(make_node):
    options = declare_parameters(make_node(short_side=64.0, **{"crf.iterations": 3.0}))
    assert (options.settings.short_side, options.settings.crf.iterations) == (64, 3)
    assert isinstance(options.settings.short_side, int)


@pytest.mark.parametrize("name, value, complaint", [
    ("short_side", 64.5, "is not a whole number"), ("use_pamr", 1, "is not a switch"),
    ("model", 5, "is not text"), ("overlay_alpha", "half", "is not a number"),
    ("pamr.dilations", 8, "is not a list"), ("classes", 7, "is not a list of texts"),
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
    factor, adaptive = Parameter("loftup.factor", value=3.0), Parameter("loftup.adaptive",
                                                                        value=False)
    refusal = node.set_parameters([factor])[0]
    assert not refusal.successful
    assert refusal.reason \
        == "loftup.factor=3.0 has no effect; set loftup.adaptive to false as well"
    assert node.set_parameters_atomically([factor, adaptive]).successful
    assert node.set_parameters([Parameter("loftup.factor", value=4.0)])[0].successful
    assert node.set_parameters([Parameter("loftup.adaptive", value=True)])[0].successful
    assert node.set_parameters([Parameter("loftup.factor", value=2.0)])[0].successful, "the default"


def test_what_is_in_force_may_come_back_though_it_has_no_effect(make_node):
    node = make_node(**{"loftup.adaptive": True, "loftup.factor": 2.0})
    declare_parameters(node)
    back = [Parameter("loftup.factor", value=3.0), Parameter("use_loftup", value=False)]
    assert not check_change(node, back, LADDER).successful
    assert check_change(node, back, LADDER, going_back=True).successful


def test_a_file_may_give_loftup_a_factor_beside_the_adaptive_one(make_node):
    node = make_node(**{"loftup.adaptive": True, "loftup.factor": 3.0})
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
    for name, value in (("short_side", -3), ("probability_threshold", 1.5),
                        ("overlay_alpha", -0.1)):
        assert not node.set_parameters([Parameter(name, value=value)])[0].successful, name
    assert node.get_parameter("classes").type_.value == ParameterType.PARAMETER_STRING_ARRAY


@pytest.mark.parametrize("name", ["precision", "image_transport", "inference", "resclip.variant"])
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
    page = Path(__file__).resolve().parents[3] / "docs" / "parameters.md"
    assert page.read_text(encoding="utf-8") == markdown(), \
        "run: python -m sclip_seg_ros.ros.parameters.document > docs/parameters.md"
