"""The flags that the command-line programs share become the settings they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program_flags import parse, settings

from sclip_seg_ros import __version__
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    check_output,
    chosen_classes,
    chosen_profile,
    refuse_address,
    text_options,
)
from sclip_seg_ros.tools.program import OneLineParser
from sclip_seg_ros.tools.segment.inputs import find_inputs


def test_without_flags_the_settings_are_the_default_ones():
    assert settings() == SegmentorSettings()


@pytest.mark.parametrize("flags, changes", [
    (["--whole"], {"inference": "whole"}),
    (["--slide-inference"], {"inference": "slide"}),
    (["--use-fp16"], {"precision": "fp16"}),
    (["--no-fp16"], {"precision": "fp32"}),
    (["--precision", "bf16"], {"precision": "bf16"}),
    (["--use-loftup"], {"use_loftup": True}),
    (["--use-loftup", "--loftup-factor", "3.0"],
     {"use_loftup": True, "loftup__adaptive": False, "loftup__factor": 3.0}),
    (["--use-loftup", "--loftup-adaptive"], {"use_loftup": True, "loftup__adaptive": True}),
    (["--use-loftup", "--loftup-source", "/weights.ckpt"],
     {"use_loftup": True, "loftup__source": "/weights.ckpt"}),
    (["--use-resclip", "--no-pamr"], {"use_resclip": True, "use_pamr": False}),
    (["--use-image-words"], {"use_image_words": True}),
    (["--use-all-phase1"], {"use_loftup": True, "use_resclip": True, "use_densecrf": True}),
    (["--use-all-phase1", "--no-resclip"], {"use_loftup": True, "use_densecrf": True}),
    (["--batch-prompts"], {}),
])
def test_flags_change_what_they_name_and_nothing_else(flags, changes):
    assert settings(*flags) == SegmentorSettings().with_changes(**changes)


def test_a_flag_overrules_the_profile():
    assert settings("--profile", "voc21", "--method", "naclip").use_pamr is True
    assert settings("--profile", "voc21", "--method", "naclip", "--no-pamr").use_pamr is False


def test_words_come_from_the_flags_or_the_profile(tmp_path):
    arguments = parse("--vocabulary", "person", "road|street", "--background", "person")
    assert chosen_classes(arguments, None) == (["person", "road|street"], "person")
    arguments = parse("--profile", "voc21")
    classes, background = chosen_classes(arguments, chosen_profile(arguments))
    assert len(classes) == 21 and background
    (tmp_path / "words.txt").write_text("person, pedestrian\nroad\n")
    arguments = parse("--profile", "voc21", "--vocabulary-file", str(tmp_path / "words.txt"))
    assert chosen_classes(arguments, chosen_profile(arguments)) == (["person|pedestrian", "road"],
                                                                    "")


@pytest.mark.parametrize("flags", [
    ["--loftup-factor", "3"], ["--loftup-adaptive"], ["--loftup-source", "hub"],
    ["--loftup-factor", "3", "--loftup-adaptive"], ["--use-pamr", "--no-pamr"],
    ["--use-fp16", "--no-fp16"], ["--whole", "--slide"], ["--method", "naclip"]])
def test_flags_that_contradict_or_do_nothing_are_refused(flags):
    with pytest.raises(UsageError, match=r"--\w+"):
        settings(*flags)


@pytest.mark.parametrize("flags, complaint", [
    (["--loftup-factor", "3"],
     "--loftup-factor has no effect while use_loftup is off; add --use-loftup"),
    (["--set", "loftup.factor=3"], r"--set loftup\.factor has no effect while use_loftup is off"),
    (["--set", "crf.iterations=5"], r"--set crf\.iterations has no effect while use_densecrf is"),
    (["--no-pamr", "--set", "pamr.steps=9"],
     r"--set pamr\.steps has no effect while use_pamr is off; leave one of them out"),
    (["--set", "loftup.contract=value"], r"--set loftup\.contract has no effect while use_loftup"),
    (["--use-loftup", "--loftup-adaptive", "--set", "loftup.factor=3"],
     r"--set loftup\.factor has no effect beside --loftup-adaptive; leave one of them out"),
    (["--use-loftup", "--set", "loftup.adaptive=true", "loftup.factor=3"],
     r"--set loftup\.factor has no effect beside --set loftup\.adaptive"),
])
def test_what_would_be_ignored_is_refused_however_it_is_given(flags, complaint):
    with pytest.raises(UsageError, match=complaint):
        settings(*flags)


def test_a_factor_set_by_name_holds():
    chosen = settings("--use-loftup", "--set", "loftup.factor=3")
    assert (chosen.loftup.adaptive, chosen.loftup.factor) == (False, 3.0)
    assert settings("--use-loftup", "--set", "loftup.adaptive=false", "loftup.factor=3") == chosen


def test_no_words_at_all_are_refused():
    with pytest.raises(UsageError, match="--vocabulary"):
        chosen_classes(parse(), None)


@pytest.mark.parametrize("given, remedy", [
    ("floor,wall,chair", "write floor wall chair "),
    ("floor, traffic light", "write floor 'traffic light' "),
])
def test_classes_with_commas_are_refused_with_the_right_way_to_write_them(given, remedy):
    with pytest.raises(UsageError, match=f"class '{given}' has a comma; {remedy}"):
        chosen_classes(parse("--vocabulary", given), None)


@pytest.mark.parametrize("text", ["['floor', 'wall']", "[floor", "wall]", "'floor", '"floor"',
                                  "- floor", "floor;wall", "cup|{mug", "door (open"])
def test_a_piece_of_a_list_is_no_class(text):
    with pytest.raises(ValueError, match="looks like a piece of a list .* give each class by it"):
        chosen_classes(parse("--vocabulary", "table", text), None)
    assert chosen_classes(parse("--vocabulary", "driver's seat", "door (open)"), None)[0]


def test_a_file_is_no_word_but_a_folder_may_be_called_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("floor\n")
    (tmp_path / "wall").mkdir()
    with pytest.raises(UsageError, match="'words.txt' is the name of a file; give it with "
                                         "--vocabulary-file"):
        chosen_classes(parse("--vocabulary", "wall", "words.txt"), None)
    assert chosen_classes(parse("--vocabulary", "wall"), None) == (["wall"], "")


def help_of(**settings) -> str:
    """Return the help on the shared flags."""
    parser = OneLineParser(prog="program", allow_abbrev=False)
    add_segmentor_flags(parser, **settings)
    return parser.format_help()


def test_help_shows_neither_aliases_nor_flags_without_effect():
    shown = set(re.findall(r"--[\w-]+", help_of()))
    assert {"--whole-inference", "--slide-inference", "--use-loftup", "--precision"} < shown
    assert not shown & {"--whole", "--slide", "--use-fp16", "--no-fp16", "--batch-prompts",
                        "--use-all-phase1"}
    assert not [flag for flag in shown if "_" in flag]


def test_help_of_a_program_that_sets_the_stages_itself_shows_no_switches():
    assert not re.search(r"--(use|no)-", help_of(stages=False))


def test_every_program_tells_its_version(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--version")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"program {__version__}\n"


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "room.png").write_bytes(b"picture")
    for place in ("room.png", "room.png/deeper/still"):
        with pytest.raises(UsageError, match="room.png' is a file; choose another folder"):
            check_output(tmp_path / place)
    check_output(tmp_path / "new/folder")


@pytest.mark.parametrize("name", ["rtsp://10.0.0.2/stream", "udp://@:5000",
                                  "https://host/live/room.m3u8"])
def test_a_stream_is_for_the_node(name, tmp_path):
    with pytest.raises(UsageError, match="is a stream, .* as a film .* for the node"):
        find_inputs([name], tmp_path)


@pytest.mark.parametrize("name", ["s3://bucket/labelled", "https://host/photos/*.jpg"])
def test_addresses_are_no_paths(name, tmp_path):
    for refuse in (check_output, refuse_address):
        with pytest.raises(UsageError, match="is an address, .* mount it"):
            refuse(Path(name))
    with pytest.raises(UsageError, match="is an address, .* mount it"):
        find_inputs([name], tmp_path)
    assert not (tmp_path / "new").exists()


def test_negative_words_and_templates_are_checked_with_the_classes():
    parser = OneLineParser(prog="test")
    add_vocabulary_flags(parser)
    parsed = parser.parse_args(["--vocabulary", "floor", "wall", "--negative", "mirror",
                                "--prompt-templates", "simple-7", "the {}."])
    parsed.profile = None
    assert chosen_classes(parsed, None) == (["floor", "wall"], "")
    assert text_options(parsed) == {"negatives": ["mirror"],
                                    "templates": ["simple-7", "the {}."]}
    parsed.negative = ["wall"]
    with pytest.raises(ValueError, match="negative word 'wall' is a class's word too"):
        chosen_classes(parsed, None)
    parsed.negative, parsed.prompt_templates = [], ["photo-2"]
    with pytest.raises(ValueError, match="'photo-2' is neither a sentence"):
        chosen_classes(parsed, None)
