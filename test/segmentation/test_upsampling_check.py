"""The gate before LoftUp: what it lets pass, what it stops, and that it can do both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_loftup
from known_upsamplers import CONTRACT, Bilinear, Blurred, Guided, Rotated, segmentor_with
from sclip_research.scenes.held_out import held_out_scene
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsampler_check import (
    LEAST_AGREEMENT,
    LEAST_SHARPNESS,
    MOST_DRIFT,
    UpsamplingReport,
    check_one,
    compare,
)

PATCH = 16
WORDS = torch.arange(3)
EDGE = 88  # of the image's two halves: no boundary of patches lies there


def halves(edge: int, strength: float = 0.1) -> Tensor:
    """Return the scores (3, 160, 160) of an image whose left is class 0 and whose right is 1."""
    scores = torch.zeros(3, 160, 160)
    scores[0, :, :edge] = strength
    scores[1, :, edge:] = strength
    return scores + 0.2


def picture() -> Tensor:
    """Return the image (3, 160, 160) uint8: dark, and bright from EDGE on, with grain."""
    pixels = torch.randint(0, 40, (3, 160, 160), generator=torch.Generator().manual_seed(0))
    pixels[:, :, EDGE:] += 200
    return pixels.to(torch.uint8)


def report(plain: Tensor, upsampled: Tensor, words: Tensor = WORDS) -> UpsamplingReport:
    """Measure what became of scores."""
    return compare("LoftUp", plain, upsampled, words, picture(), PATCH).report()


# The measures


def test_unchanged_scores_agree_do_not_drift_and_gain_nothing():
    same = report(halves(EDGE), halves(EDGE))
    assert (same.agreement_inside, same.cosine_drift, same.boundary_sharpness) == (1.0, 0.0, 1.0)
    assert same.classes == 2
    assert same.use is False and "1.000 times as sharp" in same.verdict


def test_a_boundary_that_moves_to_the_images_edge_is_sharper():
    better = report(halves(EDGE - 8), halves(EDGE))
    assert better.boundary_sharpness > 2
    assert better.use is True and better.verdict.startswith("use LoftUp")
    worse = report(halves(EDGE), halves(EDGE - 8))
    assert worse.boundary_sharpness < 0.5
    assert worse.agreement_inside == 1.0    # labels changed within one patch of a boundary only
    assert worse.use is False


def test_the_drift_is_relative_and_blind_to_what_all_words_share():
    plain = halves(EDGE)
    assert report(plain, plain + 0.3).cosine_drift == pytest.approx(0, abs=1e-5)
    assert report(plain, 0.25 * plain).cosine_drift == pytest.approx(0.75, rel=1e-3)
    assert report(plain, -plain).cosine_drift == pytest.approx(2, rel=1e-3)


def test_agreement_counts_regions_and_lets_no_large_class_hide_a_small_one():
    plain = halves(128)
    without_one = plain.clone()
    without_one[1] = 0
    lost = report(plain, without_one)
    assert lost.agreement_inside == pytest.approx(0.5)
    assert lost.use is False and "50.0% of the labels stay" in lost.verdict


def test_synonyms_count_as_one_class():
    plain = torch.stack([*halves(EDGE)[:2], torch.zeros(160, 160)])
    swapped = plain[[1, 0, 2]]
    assert report(plain, swapped, torch.tensor([0, 0, 1])).agreement_inside == 1.0
    assert report(plain, swapped, torch.tensor([0, 1, 1])).agreement_inside == 0.0


def test_images_add_up():
    pixels = picture()
    good = compare("LoftUp", halves(EDGE), halves(EDGE), WORDS, pixels, PATCH)
    bad = compare("LoftUp", halves(EDGE), halves(EDGE).flip(0), WORDS, pixels, PATCH)
    assert (good + good).report().agreement_inside == good.report().agreement_inside == 1.0
    one, both = bad.report().agreement_inside, (good + bad).report().agreement_inside
    assert both == pytest.approx((1 + one) / 2)
    assert (good + bad).report().patches == good.report().patches + bad.report().patches


def test_without_boundaries_or_regions_it_cannot_say():
    nothing = report(halves(160), halves(160))
    assert nothing.use is None and nothing.boundary_sharpness is None
    assert nothing.verdict.startswith("cannot say") and "\n" not in nothing.verdict
    stripes = torch.zeros(3, 160, 160)
    for column in range(0, 160, 16):
        stripes[column // 16 % 2, :, column:column + 16] = 0.1
    crowded = report(stripes, stripes)
    assert crowded.agreement_inside is None and crowded.patches == 0
    sharper = replace(crowded, boundary_sharpness=2.0)
    assert sharper.use is None and "no region is large enough" in sharper.verdict


def test_a_fault_outweighs_what_is_unknown():
    wrong = report(halves(160), halves(0))
    assert wrong.boundary_sharpness is None and wrong.agreement_inside == 0.0
    assert wrong.use is False


# Upsamplers of known worth, on a room whose words the embedded model knows


@pytest.fixture(scope="module")
def room() -> tuple[np.ndarray, list[str]]:
    scene, words = held_out_scene(1)
    return scene.image, words


def test_interpolation_keeps_the_language_but_gains_nothing(room, monkeypatch):
    found = check_one(segmentor_with(Bilinear(), monkeypatch), *room)
    assert found.agreement_inside > 0.99 and found.cosine_drift < 0.05
    assert 0.8 < found.boundary_sharpness < LEAST_SHARPNESS
    assert found.use is False and "labels stay" not in found.verdict


def test_an_upsampler_that_follows_the_image_is_recommended(room, monkeypatch):
    found = check_one(segmentor_with(Guided(), monkeypatch), *room)
    assert found.use is True, found


def test_a_rotated_feature_space_is_caught_by_the_drift(room, monkeypatch):
    found = check_one(segmentor_with(Rotated(), monkeypatch), *room)
    assert found.cosine_drift > 2 * MOST_DRIFT
    assert found.use is False and "drift" in found.verdict


def test_a_blurred_window_is_caught(room, monkeypatch):
    found = check_one(segmentor_with(Blurred(), monkeypatch), *room)
    assert found.agreement_inside < LEAST_AGREEMENT and found.cosine_drift > MOST_DRIFT
    assert found.use is False


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> SCLIPSegmentor:
    """Load the embedded model with a LoftUp that was never trained."""
    path: Path = tmp_path_factory.mktemp("loftup") / "untrained.safetensors"
    return SCLIPSegmentor(use_loftup=True, loftup__source=save_loftup(path, 128, CONTRACT))


def test_untrained_weights_are_turned_down(untrained, room):
    found = check_one(untrained, *room)
    assert found.agreement_inside < 0.5 and found.cosine_drift > MOST_DRIFT
    assert found.use is False and found.verdict.startswith("do not use")


def test_the_segmentor_stays_as_it_is(untrained, room):
    image, words = room
    settings, before = untrained.settings, untrained.predict_dense(image, words).scores
    check_one(untrained, image, words)
    assert untrained.settings is settings
    torch.testing.assert_close(untrained.predict_dense(image, words).scores, before)


def test_refinement_neither_helps_nor_hurts(untrained, room):
    vocabulary = untrained.vocabulary(room[1])
    before = untrained.settings
    try:
        untrained.settings = before.with_changes(use_pamr=False)
        bare = check_one(untrained, room[0], vocabulary)
        untrained.settings = before.with_changes(use_pamr=True)
        assert check_one(untrained, room[0], vocabulary) == bare
    finally:
        untrained.settings = before


def test_without_loftup_there_is_nothing_to_check(room, tmp_path):
    segmentor = SCLIPSegmentor()
    with pytest.raises(ValueError, match="no upsampler is on.*use_loftup"):
        check_one(segmentor, *room)
    segmentor.settings = segmentor.settings.with_changes(
        use_loftup=True, loftup__source=str(tmp_path / "absent.bin"), loftup__allow_fallback=True)
    with pytest.raises(ValueError, match="absent.bin"):
        check_one(segmentor, *room)
