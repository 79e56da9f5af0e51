"""Settings: every way to spell a change, and what is no setting."""

from __future__ import annotations

import itertools

import pytest
import torch

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.refinement.permutohedral import build_lattice
from sclip_seg_ros.segmentation.settings import CRF_LEAST_WIDTH


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
    with pytest.raises(ValueError, match=rf"crf\.{name}=0\.01 is out of range; give 0\.5 to"):
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
