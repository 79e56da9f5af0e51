"""The flags that the command-line programs share become the settings they name."""

from __future__ import annotations

import argparse

import pytest

from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.tools.arguments import (
    OneLineParser,
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
)


def parse(*flags: str) -> argparse.Namespace:
    """Parse the shared flags alone."""
    parser = OneLineParser(prog="program", allow_abbrev=False)
    add_segmentor_flags(parser)
    add_vocabulary_flags(parser)
    return parser.parse_args(flags)


def settings(*flags: str) -> SegmentorSettings:
    """Return the settings that flags lead to."""
    arguments = parse(*flags)
    return chosen_settings(arguments, chosen_profile(arguments))


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
    (["--use-resclip", "--use-pamr"], {"use_resclip": True, "use_pamr": True}),
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


def test_no_words_at_all_are_refused():
    with pytest.raises(UsageError, match="--vocabulary"):
        chosen_classes(parse(), None)
