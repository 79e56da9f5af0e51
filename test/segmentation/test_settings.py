"""Settings: every way to spell a change, and what is not a setting."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import write_tiny_clip

from sclip_seg_ros.common.settings import Settings, choice, group, number, numbers, switch, text
from sclip_seg_ros.common.yaml_values import typed_changes
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.refinement.dense_crf.permutohedral import build_lattice
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CRF_LEAST_WIDTH


@pytest.mark.parametrize("changed", [
    lambda settings: settings.with_changes(crf__iterations=5, stride=96),
    lambda settings: settings.with_changes(**{"crf.iterations": 5, "stride": 96}),
    lambda settings: settings.with_changes({"crf.iterations": 5, "stride": 96}),
    lambda settings: settings.with_changes({"crf__iterations": 5}, stride=96),
], ids=["keywords", "dotted keywords", "mapping", "both"])
def test_all_spellings_mean_the_same(changed):
    settings = changed(SegmentorSettings())
    assert (settings.crf.iterations, settings.stride) == (5, 96)
    assert settings == SegmentorSettings().with_changes(crf__iterations=5, stride=96)


def test_a_segmentor_takes_dotted_names_too():
    settings = SCLIPSegmentor(**{"crf.iterations": 5}).settings
    assert settings == SegmentorSettings().with_changes(crf__iterations=5)


def test_who_names_a_factor_wants_it():
    adaptive = SegmentorSettings()
    assert adaptive.loftup.adaptive and adaptive.with_changes(loftup__source="hub").loftup.adaptive
    fixed = adaptive.with_changes({"loftup.factor": 3.0})
    assert (fixed.loftup.adaptive, fixed.loftup.factor) == (False, 3.0)
    assert adaptive.with_changes(loftup__factor=3.0, loftup__adaptive=True).loftup.adaptive


@pytest.mark.parametrize("name", ["gaussian_sxy", "bilateral_sxy", "bilateral_srgb"])
def test_widths_too_narrow_for_a_lattice_are_refused(name):
    with pytest.raises(ValueError, match=rf"crf\.{name} must be 0\.5 to .*, got 0\.01"):
        SegmentorSettings().with_changes({f"crf.{name}": 0.01})


def test_the_least_widths_work_for_the_largest_images():
    """The corners of image and colours span the lattice of any image in between."""
    corners = torch.tensor(list(itertools.product((0, 7679), (0, 4319), *[(0, 255)] * 3)))
    features = corners.T / CRF_LEAST_WIDTH
    for lattice in (build_lattice(features), build_lattice(features[:2])):
        assert lattice.vertices > 0


def test_no_changes_change_nothing():
    assert SegmentorSettings().with_changes() == SegmentorSettings()


@pytest.mark.parametrize(("changes", "message"), [
    ({"crf.steps": 5}, r"setting 'crf\.steps' does not exist; crf has backend, "),
    ({"rcf.iterations": 5}, r"setting 'rcf\.iterations' does not exist; groups of settings are "),
    ({"crf_iterations": 5}, "setting 'crf_iterations' does not exist; choose one of "),
    ({"crf.iterations": 5, "crf__iterations": 6}, r"setting 'crf\.iterations' is given twice"),
])
def test_what_is_no_setting_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SegmentorSettings().with_changes(changes)


@pytest.mark.parametrize("changes", [
    {"loftup_upsample_factor": 2.0, "loftup__factor": 3.0},
    {"loftup.factor": 2.0, "loftup_upsample_factor": 3.0}])
def test_a_segmentor_refuses_two_spellings_of_one_setting(changes):
    with pytest.raises(ValueError, match=r"setting 'loftup\.factor' is given twice"):
        SCLIPSegmentor(**changes)


@dataclass(frozen=True)
class BlurSettings(Settings):
    sigma: float = number(2.0, 0.1, 50.0, "Width of the blur.", unit="pixels")
    taps: tuple[int, ...] = numbers((3, 5), 1, 9, 3, "Sizes of the kernels.", items="sizes")


@dataclass(frozen=True)
class OwnSettings(SegmentorSettings):
    use_blur: bool = switch(False, "Blur the scores.")
    rim: str = choice("mirror", ("mirror", "zero"), "What lies beyond the picture.")
    note: str = text("", "For people.", hint="a sentence")
    most_cups: int = number(3, 0, 7, "Cups at most.", unit="cups")
    blur: BlurSettings = group(BlurSettings, "use_blur")


def test_a_declared_field_is_a_setting_by_name_in_files_and_python():
    settings = OwnSettings().with_changes(typed_changes(
        {"blur": {"sigma": 3, "taps": [1, 9]}, "use_blur": True, "short_side": 448}, OwnSettings))
    assert (settings.blur, settings.use_blur) == (BlurSettings(3.0, (1, 9)), True)
    assert isinstance(settings, OwnSettings) and settings.short_side == 448
    assert settings.effective().blur.sigma == 3.0
    assert settings.with_changes(use_blur=False).effective().blur == BlurSettings(), "switched off"
    names = list(OwnSettings.declared())
    assert names.index("use_blur") + 1 == names.index("blur.sigma"), "a group follows its switch"


@pytest.mark.parametrize(("changes", "message"), [
    ({"blur.sigma": 0.0}, r"blur\.sigma must be 0\.1 to 50\.0, got 0\.0"),
    ({"blur.sigma": "2"}, r"blur\.sigma='2' is not a number"),
    ({"blur.taps": 3}, r"blur\.taps=3 is not a list; give sizes, e\.g\. \(3, 5\)"),
    ({"blur.taps": (1, 2, 3, 4)}, r"blur\.taps has 4 sizes; give at most 3"),
    ({"blur.taps": (10,)}, r"blur\.taps must be 1 to 9, got 10"),
    ({"most_cups": 2.5}, "most_cups=2.5 is not a whole number; give 0 to 7"),
    ({"rim": "none"}, "rim='none' is unknown; choose one of mirror, zero"),
    ({"note": 5}, "note=5 is not text; give a sentence"),
    ({"use_blur": 1}, "use_blur=1 is not a switch"),
    ({"blur": SegmentorSettings().pamr},
     r"is not a group of settings; give BlurSettings\(\.\.\.\)"),
    ({"blur.width": 1}, r"'blur\.width' does not exist; blur has sigma, taps"),
])
def test_a_declared_field_is_checked_by_its_declaration(changes, message):
    with pytest.raises(ValueError, match=message):
        OwnSettings().with_changes(changes)


def test_what_is_left_to_the_model_is_decided_by_its_configuration(tmp_path: Path) -> None:
    write_tiny_clip(tmp_path)
    path = tmp_path / "open_clip_config.json"
    stated = json.loads(path.read_text())
    picture = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
    words = ["floor", "wall", "door"]

    def stating(**suits: object) -> SCLIPSegmentor:
        path.write_text(json.dumps(stated | {"sclip_seg_ros": suits}))
        return SCLIPSegmentor(f"local-dir:{tmp_path}", precision="fp32", device="cpu")

    own = {"inference": "whole", "short_side": 96, "attention": "naclip"}
    plain, suited = stating(), stating(**own)
    expected = plain.segment(picture, words)
    labels = suited.segment(picture, words)
    assert [each.working_size(128, 160) for each in (suited, plain)] == [(96, 128), (128, 160)]
    assert (labels != expected).any()
    plain.settings = plain.settings.with_changes(own)       # the user's word counts
    assert (labels == plain.segment(picture, words)).all()
    suited.settings = suited.settings.with_changes(inference="slide", short_side=336,
                                                   attention="sclip")
    assert (expected == suited.segment(picture, words)).all()


def test_loftup_has_windows_unless_somebody_names_another_way() -> None:
    suits = {"inference": "whole", "short_side": 416}
    on = SegmentorSettings(use_loftup=True)
    found = [each.for_model("mine", suits=suits) for each in (
        SegmentorSettings(), on, on.with_changes(inference="whole", short_side=224))]
    assert [(each.inference, each.short_side) for each in found] == [
        ("whole", 416), ("slide", 336), ("whole", 224)]


def test_a_configuration_states_nothing_but_what_is_left_to_models() -> None:
    with pytest.raises(ValueError, match="of model 'mine' states 'use_pamr', which is not left to "
                                         "models; attention, inference, short_side are"):
        SegmentorSettings().for_model("mine", suits={"use_pamr": True})
