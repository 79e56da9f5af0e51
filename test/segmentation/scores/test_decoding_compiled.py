"""Compiled decoding: plain decoding's labels, and its confidence but for 2/255."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

import sclip_seg_ros
from sclip_seg_ros.segmentation.scores.decoding import (
    compiled,
    decoding,
    plain,
)
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.scores.windows import stitch, window_boxes

WORKING, SIZE = (84, 112), (120, 160)


@pytest.fixture(params=["_decoding", "_decoding_avx2"], autouse=True)
def library(request, monkeypatch):
    """Run every test with each library that was built for processors like this one."""
    capability = "DEFAULT" if request.param == "_decoding" else "AVX2"
    if capability == "AVX2" and not compiled.has_avx2():
        pytest.skip("this processor has no AVX2")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    compiled.library.cache_clear()
    yield
    compiled.library.cache_clear()


def smooth_scores(queries: int, grid: tuple[int, int], seed: int = 0,
                  places: tuple[int, int] = (5, 6)) -> torch.Tensor:
    """Return cosine scores (Q, h, w) that vary as slowly as those of few places."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, queries, *places, generator=generator) * 0.2
    return interpolate(coarse, size=grid, mode="bicubic", align_corners=False)[0]


def score_map(scores: torch.Tensor, working: tuple[int, int] = WORKING) -> ScoreMap:
    return ScoreMap.of_cells(scores, working)


def assert_same(scores: ScoreMap, rule: DecodingRule, size: tuple[int, int]) -> torch.Tensor:
    """Compare with plain decoding; return the labels.

    Where the best two differ by rounding alone, another library of matrix products may round
    otherwise.
    """
    found = compiled.label(scores, rule, size)
    assert found is not None, "the picture was left to plain decoding"
    labels, confidence = plain.label(scores, rule, size)
    assert (found[1] - confidence).abs().max() < 2 / 255
    other = found[0] != labels
    if other.any():
        best = (scores.dense(size) * rule.logit_scale).topk(2, dim=0).values
        sure = (confidence - rule.least).abs() > 1e-5
        assert (best[0] - best[1])[other & sure].max() < 1e-4
    return labels


@pytest.mark.parametrize("scale", [20.0, 40.0, 100.0])
@pytest.mark.parametrize(("grid", "size"), [
    ((28, 38), SIZE), ((28, 38), (121, 163)), ((21, 28), (240, 320)), ((7, 9), (120, 160)),
    ((42, 56), (432, 768)), ((2, 2), (40, 40))])
@pytest.mark.parametrize("queries", [2, 9])
def test_labels_are_those_of_plain_decoding(queries, grid, size, scale):
    for seed in range(3):
        scores = score_map(smooth_scores(queries, grid, seed))
        rule = DecodingRule(torch.arange(queries), scale)
        labels = assert_same(scores, rule, size)
        assert len(labels.unique()) > 1 or grid == (2, 2)


def test_a_cell_a_pixel_of_the_working_size_is_decoded_too():
    scores = ScoreMap.of(smooth_scores(6, (48, 64)))
    assert_same(scores, DecodingRule(torch.arange(6), 40.0), (270, 480))


@pytest.mark.parametrize("queries", [1, 254])
def test_one_class_and_as_many_as_there_are_ids(queries):
    scores = score_map(smooth_scores(queries, (28, 38), places=(3, 4)))
    labels = assert_same(scores, DecodingRule(torch.arange(queries), 40.0), SIZE)
    assert labels.max() < queries


def test_the_first_of_equal_classes_wins():
    scores = smooth_scores(3, (28, 38)).repeat_interleave(2, 0)
    labels = assert_same(score_map(scores), DecodingRule(torch.arange(6), 40.0), SIZE)
    assert set(labels.unique().tolist()) <= {0, 2, 4}
    many = smooth_scores(17, (28, 38)).repeat_interleave(3, 0)
    for scale in (20.0, 100.0):
        rule = DecodingRule(torch.arange(51), scale)
        assert_same(score_map(many), rule, (240, 320))
        assert not (compiled.label(score_map(many), rule, (240, 320))[0] % 3).any()
    level = score_map(torch.full((4, 28, 38), 0.1))
    assert not assert_same(level, DecodingRule(torch.arange(4), 40.0), SIZE).any()


@pytest.mark.parametrize("queries", [2, 30])
def test_even_scores_without_any_order_are_decided_rightly(queries):
    scores = torch.rand(queries, 28, 38, generator=torch.Generator().manual_seed(0)) * 0.2
    assert_same(score_map(scores), DecodingRule(torch.arange(queries), 60.0), SIZE)


def test_synonyms_are_one_class():
    owner = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    for seed in range(3):
        labels = assert_same(score_map(smooth_scores(7, (28, 38), seed)),
                             DecodingRule(owner, 40.0), SIZE)
        assert labels.max() <= 3


@pytest.mark.parametrize("background", [None, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9])
def test_a_threshold_draws_the_same_line(threshold, background):
    for seed in range(3):
        scores = score_map(smooth_scores(5, (28, 38), seed))
        rule = DecodingRule(torch.arange(5), 30.0, background, threshold)
        labels = assert_same(scores, rule, SIZE)
        assert rule.fallback in labels


@pytest.mark.parametrize("keep", [(True, False, True, True, False), (False,) * 4 + (True,)])
def test_classes_that_are_left_out_give_way_to_the_next_best(keep):
    for scale in (20.0, 200.0, 3_000.0):  # with the last, what is left may have no probability
        rule = DecodingRule(torch.arange(5), scale, keep=torch.tensor(keep))
        labels = assert_same(score_map(smooth_scores(5, (28, 38))), rule, SIZE)
        assert all(keep[label] for label in labels.unique() if label < 255)


@pytest.mark.parametrize("scale", [10.0, 20.0, 40.0, 100.0])
def test_many_queries_that_hardly_count_add_up(scale):
    """Most of 120 queries have next to no probability, but together they have some."""
    scores = smooth_scores(120, (28, 38), places=(4, 5))
    scores[8:] -= 0.05
    assert_same(score_map(scores), DecodingRule(torch.arange(120), scale), (240, 320))


def test_a_seam_between_cells_is_decided_as_sharply():
    """Scores that were carried along by flow jump from cell to cell where things cover others."""
    scores = smooth_scores(6, (28, 38))
    scores[:, :, 19:] = scores[:, :, 19:].roll(1, 0) + 0.05
    scores[0, 10:13, 5:9] = 0.5
    for scale in (20.0, 100.0):
        labels = assert_same(score_map(scores), DecodingRule(torch.arange(6), scale), SIZE)
        assert (labels == 0).any()


@pytest.mark.parametrize("taper", [False, True])
def test_windows_that_overlap_are_decoded_too(taper):
    boxes = window_boxes(336, 448, 224, 112)
    parts = torch.stack([smooth_scores(9, (14, 14), seed) for seed in range(len(boxes))])
    windows = stitch(parts, boxes, (336, 448), taper=taper)
    for scale in (20.0, 100.0):
        assert_same(windows, DecodingRule(torch.arange(9), scale), (480, 640))


@pytest.mark.parametrize("size", [(7, 300), (300, 7), (1, 1), (9, 17)])
def test_narrow_pictures_end_where_they_end(size):
    scores = score_map(smooth_scores(5, (4, 5)), size)
    assert_same(scores, DecodingRule(torch.arange(5), 40.0), size)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_worth_it_or_no_number_is_left_to_plain_decoding(broken):
    rule = DecodingRule(torch.arange(5), 40.0)
    scores = smooth_scores(5, (28, 38))
    scores[2, 3, 4] = broken
    assert compiled.label(score_map(scores), rule, SIZE) is None
    fine = ScoreMap.of(smooth_scores(5, (120, 160)))
    assert compiled.label(fine, rule, (30, 40)) is None


@pytest.mark.parametrize("area", [0.0, 0.02])
def test_maps_are_decoded_so(monkeypatch, area):
    """And small classes are left out by the same count of pixels."""
    scores, size, words = score_map(smooth_scores(30, (56, 75))), (480, 800), torch.arange(30)
    labels, confidence = decoding.decode(scores, words, 40.0, size, 0, area_threshold=area)
    monkeypatch.setattr(compiled, "label", lambda *arguments: None)
    expected, sure = decoding.decode(scores, words, 40.0, size, 0, area_threshold=area)
    assert not torch.equal(confidence, sure), "both were decoded in the plain way"
    assert (labels == expected).float().mean() > 0.99999
    assert (confidence - sure).abs().max() < 2 / 255


def test_without_a_library_torch_decodes_and_it_is_told(monkeypatch):
    monkeypatch.setattr(sclip_seg_ros, "__path__", [])
    compiled.library.cache_clear()
    scores, rule = score_map(smooth_scores(5, (28, 38))), DecodingRule(torch.arange(5), 40.0)
    assert compiled.label(scores, rule, SIZE) is None
    assert "not built" in compiled.fallback()
    found = decoding.decode(scores, torch.arange(5), 40.0, SIZE)
    assert all(map(torch.equal, found, plain.label(scores, rule, SIZE)))


@pytest.mark.parametrize("holding", ["no library at all", ""])
def test_a_library_that_cannot_be_loaded_is_told(monkeypatch, tmp_path, holding):
    (tmp_path / "_decoding.so").write_text(holding)
    monkeypatch.setattr(sclip_seg_ros, "__path__", [str(tmp_path)])
    compiled.library.cache_clear()
    assert "_decoding.so" in compiled.fallback()
