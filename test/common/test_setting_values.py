"""A setting's name and value mean the same in a profile, on a ladder and behind --set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sclip_seg_ros.common.yaml_values import flattened, typed
from sclip_seg_ros.io.profiles import parse_assignments, read_profile
from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.segmentation.settings import SegmentorSettings

Reader = Callable[[str, str, Path], SegmentorSettings]


def by_profile(name: str, value: str, folder: Path) -> SegmentorSettings:
    (folder / "words.txt").write_text("floor\n")
    (folder / "own.yaml").write_text(
        f"vocabulary: words.txt\nmethods:\n  sclip:\n    {name}: {value}\n")
    return read_profile(folder / "own.yaml").settings


def by_ladder(name: str, value: str, folder: Path) -> SegmentorSettings:
    ladder = parse_ladder(yaml.safe_load(f"levels:\n- name: only\n  {name}: {value}\n"))
    return ladder.settings_for(SegmentorSettings(), 0)


def by_flag(name: str, value: str, folder: Path) -> SegmentorSettings:
    return SegmentorSettings().with_changes(parse_assignments([f"{name}={value}"]))


EVERYWHERE = pytest.mark.parametrize("read", [by_profile, by_ladder, by_flag])


@EVERYWHERE
@pytest.mark.parametrize(("name", "value", "changes"), [
    ("crf.iterations", "5", {"crf__iterations": 5}),
    ("crf__iterations", "5", {"crf__iterations": 5}),
    ("crf", "{iterations: 5, resolution: 0.5}", {"crf__iterations": 5, "crf__resolution": 0.5}),
    ("pamr.dilations", "[4, 8]", {"pamr__dilations": (4, 8)}),
    ("logit_scale", "40", {"logit_scale": 40.0}),
    ("probability_threshold", "1e-3", {"probability_threshold": 0.001}),
    ("crf.gaussian_sxy", "2.E1", {"crf__gaussian_sxy": 20.0}),
    ("use_pamr", "no", {"use_pamr": False}),
])
def test_what_one_place_takes_all_take(read: Reader, name: str, value: str, changes: dict,
                                       tmp_path: Path) -> None:
    settings = read(name, value, tmp_path)
    assert settings == SegmentorSettings().with_changes(changes)
    assert isinstance(settings.logit_scale, float)


@EVERYWHERE
@pytest.mark.parametrize(("name", "value", "complaint"), [
    ("crf.iteration", "5", "'crf.iteration' does not exist; did you mean crf.iterations"),
    ("crf", "5", "'crf: 5' gives a value to a group; set what is in it, e.g. 'crf.backend'"),
    ("crf", "{}", "'crf: {}' gives a value to a group"),
    ("stride", "{x: 5}", "'stride.x' does not exist; did you mean stride"),
    ("short_side", "336.5", "'short_side' cannot be 336.5; give a whole number, e.g. 0"),
    ("short_side", "'336'", "'short_side' cannot be '336'; give a whole number, e.g. 0"),
    ("logit_scale", "'40'", "'logit_scale' cannot be '40'; give a number, e.g. 0.0"),
    ("logit_scale", "1e", "'logit_scale' cannot be '1e'; give a number, e.g. 0.0"),
    ("logit_scale", "true", "'logit_scale' cannot be True; give a number, e.g. 0.0"),
    ("use_pamr", "1", "'use_pamr' cannot be 1; give true or false"),
    ("pamr.dilations", "[8, x]", "'pamr.dilations' cannot be [8, 'x']; give a list of whole"),
    ("attention", "[]", "'attention' cannot be []; give a text, e.g. auto"),
])
def test_what_one_place_refuses_all_refuse_in_the_same_words(
        read: Reader, name: str, value: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        read(name, value, tmp_path)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize("section", [
    {"crf.iterations": 5, "crf": {"iterations": 6}}, {"crf.iterations": 5, "crf__iterations": 5}])
def test_two_spellings_of_one_setting_are_refused(section: dict) -> None:
    with pytest.raises(ValueError, match=r"'crf\.iterations' is given twice; keep one of them"):
        flattened(section)


def test_an_unlike_name_is_answered_with_all_there_are() -> None:
    with pytest.raises(ValueError, match=r"choose one of attention, .*crf\.resolution, precision"):
        typed("zzz", 5, SegmentorSettings)
