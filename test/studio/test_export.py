"""What is kept can be read back, by us and by those it is for."""

from __future__ import annotations

import shlex
from itertools import product

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sclip_seg_ros.common.text import is_numbered, is_piece_of_list
from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.studio.choices import imports
from sclip_seg_ros.studio.choices.choices import Choices, Refusal
from sclip_seg_ros.studio.choices.export import FORMS, Origin, export
from sclip_seg_ros.tools.arguments import (
    chosen_classes,
    chosen_settings,
    chosen_temporal,
    text_options,
)
from sclip_seg_ros.tools.segment.command import main as segment

PLAIN = Choices(("floor", "wall", "person|pedestrian", "Nina's cup"))
RICH = PLAIN.as_background("wall").coloured("floor", "#804080").with_settings({
    "use_densecrf": True, "crf.iterations": 3, "pamr.dilations": [4, 8], "use_tlp": True,
    "probability_threshold": 0.25, "attention": "naclip", "temporal.weight": 0.5})

WORD = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"),
                             exclude_characters="|,#"), min_size=1, max_size=12).map(
    lambda text: " ".join(text.split())).filter(
        lambda word: word and not is_piece_of_list(word))
CLASSES = st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=6).filter(
    lambda lists: len({word.casefold() for words in lists for word in words})
    == sum(map(len, lists))).map(lambda lists: tuple("|".join(words) for words in lists)).filter(
        lambda classes: not is_numbered(classes))


@given(classes=CLASSES, form=st.sampled_from(FORMS))
@settings(max_examples=60, deadline=None)
def test_any_words_come_back(classes, form):
    choices = Choices(classes).checked()
    if form == "segment" and any(text.startswith("-") for text in classes):
        with pytest.raises(ValueError, match="cannot stand on a command line"):
            export(form, choices, Origin())
        return
    assert imports.read(export(form, choices, Origin()).text, PLAIN).choices == choices


def test_everything_comes_back_from_a_parameter_file():
    made = export("parameters", RICH, Origin("ViT-B/16", "openai"))
    found = imports.read(made.text, PLAIN)
    assert found.choices == RICH and made.file == "sclip_seg.yaml"
    assert any("'ViT-B/16' is not loaded by an import" in note for note in found.notes)


def test_a_vocabulary_file_is_one_that_programs_read(tmp_path):
    made = export("vocabulary", RICH, Origin())
    (tmp_path / made.file).write_text(made.text)
    assert read_vocabulary(tmp_path / made.file) == list(RICH.classes)
    assert "does not say that 'wall' is the background" in made.notes[0]
    with pytest.raises(ValueError, match="'a,b' has ','"):
        export("vocabulary", Choices(("a,b",)), Origin())


def test_a_line_of_sclip_segment_asks_for_the_same(tmp_path):
    (tmp_path / "a b.png").write_bytes(b"")
    made = export("segment", RICH, Origin("embedded", paths=(str(tmp_path / "a b.png"),)))
    words = shlex.split(made.text)
    parsed = segment.parse(words[1:])
    assert words[0] == "sclip-segment" and parsed.inputs == [str(tmp_path / "a b.png")]
    assert chosen_classes(parsed, None) == (list(RICH.classes), "wall")
    assert chosen_settings(parsed, None) == RICH.settings
    assert chosen_temporal(parsed) == RICH.temporal
    back = imports.read(made.text, PLAIN).choices
    assert (back.classes, back.settings, back.temporal) == (RICH.classes, RICH.settings,
                                                            RICH.temporal)


def test_a_line_leaves_out_what_stages_that_are_off_were_told():
    choices = PLAIN.with_settings({"use_pamr": False, "pamr.steps": 9, "crf.iterations": 3})
    line = export("segment", choices, Origin(paths=("x.png",))).text
    parsed = segment.parse(shlex.split(line)[1:])
    assert "pamr.steps" not in line and "crf" not in line
    assert not chosen_settings(parsed, None).use_pamr
    older = f"{line} crf.iterations=3"
    assert imports.read(older, PLAIN).choices.settings.crf.iterations == 3


def test_negative_words_and_templates_are_kept_as_they_were_given():
    origin = Origin(paths=("x.png",), negatives=("sky", "a tree"), templates=("a photo of {}.",))
    parsed = segment.parse(shlex.split(export("segment", PLAIN, origin).text)[1:])
    assert text_options(parsed) == {"negatives": ["sky", "a tree"],
                                    "templates": ["a photo of {}."]}
    values = yaml.safe_load(export("parameters", PLAIN, origin).text)["/**"]["ros__parameters"]
    assert values["negative_words"] == ["sky", "a tree"]
    assert values["prompt_templates"] == ["a photo of {}."]


def test_a_launch_line_holds_words_and_names_a_file_for_the_rest():
    made = export("launch", PLAIN, Origin("ViT-B/16", "openai"))
    words = shlex.split(made.text)
    assert words[:4] == ["ros2", "launch", "sclip_seg_ros", "segment.launch.py"]
    assert words[4:6] == ["model:=ViT-B/16", "pretrained:=openai"]
    assert yaml.safe_load(words[6].removeprefix("classes:=")) == list(PLAIN.classes)
    rich = export("launch", RICH, Origin())
    assert rich.text.endswith("params_file:=$PWD/sclip_seg.yaml") and rich.notes


@pytest.mark.parametrize(("text", "said"), [
    ("", "nothing to import"), ("x" * 300_000, "at most 200000"),
    ("floor,,wall", "line 1: 'floor,,wall' has a blank synonym"),
    ("\nfloor\nperson,\n", "line 3: 'person,' has a blank synonym"),
    ("ros__parameters: [", "not valid YAML"), ("/**: {ros__parameters: {}}", "has no classes"),
    ("a: {ros__parameters: {classes: [a]}}\nb: {ros__parameters: {classes: [b]}}", "2 nodes"),
    ("/**: {ros__parameters: {classes: [a, A]}}", "stands in the classes twice"),
    ("/**: {ros__parameters: {classes: [a], crf_iterations: 1000}}", "crf.iterations must be"),
    ("sclip-segment x --vocabulary-file /etc/passwd", "is not opened here"),
    ("sclip-segment x --profile /etc/passwd", "is not opened here"),
    ("sclip-segment x --vocabulary a --wrong", "--wrong"),
    ("ros2 launch sclip_seg_ros segment.launch.py params_file:=/etc/passwd", "is not opened here"),
    ("ros2 launch sclip_seg_ros segment.launch.py", "has no classes"),
    ("ros2 launch sclip_seg_ros segment.launch.py classes:=\"['floor', 'wall'\"",
     "classes:=.'floor', 'wall' is not valid YAML")])
def test_what_cannot_be_imported_is_refused_in_one_sentence(text, said):
    with pytest.raises(Refusal, match="(?s)" + said) as caught:
        imports.read(text, PLAIN)
    assert caught.value.field == "import" and "\n" not in str(caught.value)


def test_a_file_may_have_the_names_that_parameters_had():
    found = imports.read("/**: {ros__parameters: {classes: [a], crf_iterations: 3, pamr_steps: 5, "
                         "pamr.steps: 7, temporal_weight: 0.5, loftup_source: hub}}", PLAIN)
    settings = found.choices.settings
    assert settings.crf.iterations == 3 and settings.pamr.steps == 7
    assert found.choices.temporal == PLAIN.temporal
    assert "crf_iterations is called crf.iterations now." in found.notes
    assert "temporal_weight is the node's alone and was left aside." in found.notes
    assert "loftup.source is not changed by an import; start the studio with it." in found.notes


def test_an_import_makes_nobody_open_a_file_or_load_another_model():
    present = Choices(("a",), settings=SegmentorSettings().with_changes(precision="fp32"))
    line = "sclip-segment x --vocabulary a --use-loftup --loftup-source /etc/passwd"
    found = imports.read(line, present)
    assert found.choices.settings.loftup.source == "auto"
    assert found.choices.settings.precision == "fp32"
    assert any("loftup.source '/etc/passwd' is not changed" in note for note in found.notes)


def test_nested_parameters_have_the_names_that_ros_gives_them():
    found = imports.read("/**:\n  ros__parameters:\n    classes: [a]\n    temporal:\n"
                         "      weight: 0.25\n    points:\n      invalid: keep\n", PLAIN)
    assert found.choices.temporal.weight == 0.25
    assert found.notes == ("points.invalid is the node's alone and was left aside.",)


def test_what_an_import_leaves_aside_is_told():
    found = imports.read("sclip-segment x --vocabulary a --negative b --model ViT-B/16", PLAIN)
    assert [note.split()[0] for note in found.notes] == ["--model", "--negative"]


def test_the_programs_name_may_be_a_word_of_an_imported_line():
    for program, word in product(("sclip-segment", "sclip segment"), ("segment", "sclip-segment")):
        found = imports.read(f"{program} x --vocabulary floor {word} wall", PLAIN).choices
        assert tuple(found.names) == ("floor", word, "wall")


def test_a_published_profile_can_be_imported_by_its_name():
    found = imports.read("sclip-segment x --profile voc21", PLAIN).choices
    assert len(found.classes) == 21 and found.background
