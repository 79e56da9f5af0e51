"""Classes left out where nothing is like them, and negative words, in labels and probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sclip_research.scenes.held_out import held_out_scene
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings, Vocabulary
from sclip_seg_ros.segmentation.scores.competition import Competition
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED

WORDS = ["floor|ground", "wall", "red ball", "cup", "table"]
STAGES = [{}, {"use_pamr": False}, {"use_tlp": True},
          {"use_densecrf": True, "crf__iterations": 2}, {"area_threshold": 0.02}]


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return held_out_scene(2)[0].image[::2, ::2]


def labelled(segmentor: SCLIPSegmentor, image: np.ndarray, words: Vocabulary, **changes):
    segmentor.settings = SegmentorSettings().with_changes(short_side=112, inference="whole",
                                                          precision="fp32", **changes)
    return segmentor.predict_dense(image, words)


def differ_by_rounding(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one.astype(int) - other.astype(int)) <= 1).mean() > 0.999)


def competing(scores: Tensor, classes: list[int], background: int | None = None) -> Competition:
    return Competition(torch.tensor(classes), background, classes[-1] + 1)


def test_classes_without_a_probable_place_are_left_out():
    scores = torch.full((5, 2, 3), 0.1)
    scores[0, 0, 0], scores[1, 1, 2], scores[4, 1, 0] = 0.5, 0.5, 0.5   # classes 0, 0 and 3
    found = competing(scores, [0, 0, 1, 2, 3]).among(ScoreMap.of(scores), 100.0, 0.5)
    assert found.queries.tolist() == [0, 1, 4]
    assert found.query_class.tolist() == [0, 0, 1]
    assert (found.classes, found.background) == (2, None)
    assert found.labels(torch.tensor([[0, 1, 255]], dtype=torch.uint8)).tolist() == [[0, 3, 255]]


def test_the_background_stays_and_nothing_is_left_out_where_nothing_is_probable():
    scores = torch.zeros(3, 2, 2)
    competition = competing(scores, [0, 1, 2], background=1)
    assert competition.among(ScoreMap.of(scores), 1.0, 0.9) is competition
    scores[2, 0, 0] = 1.0
    found = competition.among(ScoreMap.of(scores), 100.0, 0.9)
    assert found.queries.tolist() == [1, 2] and found.background == 0
    assert competition.among(ScoreMap.of(scores), 100.0, 0.0) is competition


@pytest.mark.parametrize("stages", STAGES, ids=lambda stages: "-".join(stages) or "plain")
def test_labels_are_those_of_the_classes_that_stay(segmentor, picture, stages):
    words = segmentor.vocabulary(WORDS, background="cup")
    plain = labelled(segmentor, picture, words)
    peaks = plain.class_probabilities().max((1, 2))
    bound = float(np.sort(peaks)[1] + np.sort(peaks)[2]) / 2     # the two least are left out
    pruned = labelled(segmentor, picture, words, prune_below=bound, **stages)
    gone = [word for word, cover, peak in zip(WORDS, pruned.coverage, peaks, strict=True)
            if peak < bound and word != "cup" and cover == 0]
    stay = [word for word in WORDS if word not in gone]
    assert 0 < len(gone) < len(WORDS)
    fewer = labelled(segmentor, picture, segmentor.vocabulary(stay, background="cup"), **stages)
    expected = np.array([WORDS.index(word) for word in stay], np.uint8)[fewer.labels]
    assert np.mean(pruned.labels == expected) > 0.999      # sums in another order differ a little
    assert differ_by_rounding(pruned.confidence, fewer.confidence)
    assert "prune" in pruned.stage_ms
    chances = pruned.class_probabilities()
    assert chances.shape[0] == len(WORDS)
    assert all(chances[WORDS.index(word)].max() < 1e-6 for word in gone)
    assert pruned.scores.isfinite().all()


def test_a_batch_whose_images_lose_other_classes_equals_one_by_one(segmentor):
    images = [held_out_scene(number)[0].image[::2, ::2] for number in (1, 2, 3)]
    words = segmentor.vocabulary(held_out_scene(1)[1])
    segmentor.settings = SegmentorSettings(short_side=112, prune_below=0.5, use_pamr=True,
                                           precision="fp32")
    for image, together in zip(images, segmentor.predict_batch(images, words), strict=True):
        alone = segmentor.predict_dense(image, words)
        assert np.mean(together.labels == alone.labels) > 0.999
        assert torch.allclose(together.scores, alone.scores, atol=1e-4)


@pytest.mark.parametrize("stages", [*STAGES, {"prune_below": 0.05}],
                         ids=lambda stages: "-".join(stages) or "plain")
def test_negative_words_compete_and_are_not_published(segmentor, picture, stages):
    everything = labelled(segmentor, picture, segmentor.vocabulary(WORDS), **stages)
    kept = [word for word in WORDS if word != "wall"]
    words = segmentor.vocabulary(kept, negatives=["wall"])
    found = labelled(segmentor, picture, words, **stages)
    table = np.array([kept.index(word) if word in kept else UNLABELLED for word in WORDS],
                     np.uint8)
    if "area_threshold" not in stages:   # there the wall is no foreground any more
        assert np.mean(found.labels == table[everything.labels]) > 0.999
        assert differ_by_rounding(found.confidence, everything.confidence)
    assert (found.labels == UNLABELLED).any()
    assert words.names == tuple(entry.split("|")[0] for entry in kept)
    assert len(words) == len(found.coverage) == len(found.class_probabilities()) == 4
    without = labelled(segmentor, picture, segmentor.vocabulary(kept), **stages)
    assert not (without.labels == UNLABELLED).any()


def test_negative_words_are_the_backgrounds_where_there_is_one(segmentor, picture):
    words = segmentor.vocabulary(["floor", "table", "cup"], background="table",
                                 negatives=["wall", "lamp|red ball"])
    assert words.query_class.tolist() == [0, 1, 1, 1, 1, 2] and words.background == 1
    same = segmentor.vocabulary(["floor", "table|wall|lamp|red ball", "cup"], background="table")
    assert np.array_equal(labelled(segmentor, picture, words).labels,
                          labelled(segmentor, picture, same).labels)
    assert [entry.synonyms for entry in words.classes] == [("floor",), ("table",), ("cup",)]


def test_a_whole_vocabulary_has_room_for_negative_words(segmentor, picture):
    many = [f"floor {number}" for number in range(254)]
    words = segmentor.vocabulary(many, negatives=["wall"], templates=("{}",))
    labels = labelled(segmentor, picture, words).labels
    assert 254 not in labels and (labels == UNLABELLED).any()


@pytest.mark.parametrize(("negatives", "complaint"), [
    (["floor"], "negative word 'floor' is a class's word too"), (["a", "A"], "stands there twice"),
    ("wall", "are one text 'wall'"), ([" "], "blank word"), (["ground"], "class's word too")])
def test_unusable_negative_words_are_refused(segmentor, negatives, complaint):
    with pytest.raises(ValueError, match=complaint):
        segmentor.vocabulary(WORDS, negatives=negatives)


@pytest.mark.parametrize("steps", [4, 0])
def test_scores_kept_for_the_next_picture_hold_every_word(segmentor, steps):
    """Refined scores outlive their picture; a word left out there must not be lost for the next."""
    image = held_out_scene(3)[0].image[::2, ::2]
    words = segmentor.vocabulary(held_out_scene(3)[1])
    segmentor.settings = SegmentorSettings(
        short_side=112, prune_below=0.5, precision="fp32").with_changes({"pamr.steps": steps})
    pipeline = segmentor.pipeline
    watch = pipeline.stopwatch()
    pictures = pipeline.read([image], watch)
    scores = pipeline.score(pipeline.look(pictures, words, watch), words, watch)
    kept, = pipeline.refine(pictures, scores, words, watch)
    grid = kept.values.shape[0], kept.values.shape[2]
    plain, found = scores[0].dense(grid, antialias=True), kept.dense(grid)
    same = torch.isclose(plain, found, atol=1e-6).flatten(1).all(1)
    if not steps:
        assert same.all(), "where nothing is refined, nothing changes"
        return
    assert 0 < same.sum() < len(same), "some words were left out, and are as they were"
    later = pipeline.label(pictures, [kept], words, watch, refined=True)[0]
    at_once = segmentor.predict_dense(image, words)
    assert np.mean(later.labels == at_once.labels) > 0.98
