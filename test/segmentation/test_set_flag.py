"""`--set NAME=VALUE` reaches every setting by the name that profile and ladder files use."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from program_flags import parse, settings

from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.tools.arguments import UsageError, add_segmentor_flags, refuse_stage_switches
from sclip_seg_ros.tools.program import OneLineParser


def dotted_settings() -> dict[str, object]:
    """Return the default of every setting by its name."""
    defaults = asdict(SegmentorSettings())
    return {f"{name}.{inner}" if inner else name: default
            for name, value in defaults.items()
            for inner, default in (value.items() if isinstance(value, dict) else [("", value)])}


@pytest.mark.parametrize("flags, changes", [
    (["short_side=448"], {"short_side": 448}),
    (["crop=64", "stride=32"], {"crop": 64, "stride": 32}),
    (["attention=naclip", "logit_scale=40"], {"attention": "naclip", "logit_scale": 40.0}),
    (["use_densecrf=true", "crf.iterations=5", "crf.resolution=0.5"],
     {"use_densecrf": True, "crf__iterations": 5, "crf__resolution": 0.5}),
    (["pamr.dilations=[4, 8]", "pamr.steps=3"], {"pamr__dilations": (4, 8), "pamr__steps": 3}),
    (["probability_threshold=1e-3"], {"probability_threshold": 0.001}),
    (["decode_resolution = 0.5"], {"decode_resolution": 0.5}),
    (["stride=56", "stride=28"], {"stride": 28}),
])
def test_it_changes_what_it_names_and_nothing_else(flags, changes):
    assert settings("--set", *flags) == SegmentorSettings().with_changes(**changes)


@pytest.mark.parametrize("name", dotted_settings())
def test_every_setting_can_be_named(name):
    default = dotted_settings()[name]
    text = str(list(default) if isinstance(default, tuple) else default)
    stages = {group: switch for switch, group in SegmentorSettings.stages().items()}
    on = [stages[group] for group, nested, _ in [name.partition(".")] if nested]
    assert settings("--set", f"{name}={text}", *(f"{switch}=true" for switch in on)) \
        == SegmentorSettings().with_changes({**dict.fromkeys(on, True), name: default})


def test_it_adds_up_and_overrules_the_profile():
    chosen = settings("--profile", "voc21", "--set", "short_side=224", "--use-pamr", "--set",
                      "pamr.steps=2")
    assert (chosen.short_side, chosen.pamr.steps, chosen.use_pamr) == (224, 2, True)
    assert chosen.logit_scale == settings("--profile", "voc21").logit_scale


@pytest.mark.parametrize("flags, complaint", [
    (["crf.iteration=5"], r"'crf.iteration' does not exist; did you mean crf.iterations"),
    (["iterations=5"], r"'iterations' does not exist; did you mean crf.iterations"),
    (["short-side=5"], r"did you mean short_side"),
    (["zzz=5"], r"'zzz' does not exist; choose one of attention, .*crf.resolution, precision"),
    (["crf=5"], r"'crf: 5' gives a value to a group; set what is in it, e.g. 'crf.backend'"),
    (["short_side.x=5"], r"'short_side.x' does not exist; did you mean short_side"),
    (["short_side"], r"'short_side' assigns no value; write NAME=VALUE"),
    (["short_side="], r"'short_side=' assigns no value"),
    (["short_side=wide"], r"'short_side' cannot be 'wide'; give a whole number, e.g. 0"),
    (["pamr.dilations=[4"], r"'pamr.dilations=\[4' is not YAML"),
])
def test_what_cannot_be_set_is_refused_with_the_remedy(flags, complaint):
    with pytest.raises(UsageError, match=f"--set: .*{complaint}"):
        settings("--set", *flags)


def test_values_are_checked_by_the_settings():
    with pytest.raises(ValueError, match="crf.resolution must be .*, got 7.0"):
        settings("--set", "crf.resolution=7")
    with pytest.raises(ValueError, match="stride must be 8 to 224, got 300"):
        settings("--set", "stride=300")


@pytest.mark.parametrize("flags", [
    ["--use-pamr", "--set", "use_pamr=false"], ["--whole", "--set", "inference=slide"],
    ["--precision", "fp32", "--set", "precision=fp16"],
    ["--use-loftup", "--loftup-factor", "2", "--set", "loftup.factor=3"],
    ["--use-loftup", "--loftup-factor", "2", "--set", "loftup.adaptive=true"]])
def test_a_flag_and_its_setting_do_not_go_together(flags):
    with pytest.raises(UsageError, match=r"--set [\w.]+ contradicts or repeats a flag"):
        settings(*flags)


def test_programs_that_run_every_stage_refuse_its_switch_in_either_form():
    refuse_stage_switches(parse("--set", "crf.iterations=5"), "program")
    for flags, named in ((["--use-pamr"], "--use-pamr"), (["--no-pamr"], "--no-pamr"),
                         (["--use-all-phase1"], "--use-all-phase1"),
                         (["--set", "use_pamr=true"], "--set use_pamr=true")):
        with pytest.raises(UsageError, match=f"^{named} cannot go with program, .*leave it out"):
            refuse_stage_switches(parse(*flags), "program")


def test_help_shows_an_example():
    parser = OneLineParser(prog="program", allow_abbrev=False)
    add_segmentor_flags(parser)
    assert "crf.iterations=5" in parser.format_help()
