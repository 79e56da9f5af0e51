"""Labels from kept features: what changes alone is done again, and equals what a program makes."""

from __future__ import annotations

import numpy as np
import pytest
from studio_harness import room

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import Choices
from sclip_seg_ros.studio.labelled import Frame, differing
from sclip_seg_ros.studio.labeller import Labeller, Sight
from sclip_seg_ros.temporal import FilmSegmentor

WORDS = Choices(("floor", "wall", "table", "cup|bowl"))


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor()


@pytest.fixture
def sight() -> Sight:
    return Sight()


def frame(number: int = 2, seconds: float = 0.0) -> Frame:
    return Frame(("room", number), f"room {number}", room(number), seconds)


def plain(segmentor: SCLIPSegmentor, image: np.ndarray, choices: Choices) -> np.ndarray:
    """Return the labels that a program makes."""
    pipeline = segmentor.prepare(choices.settings)
    words = segmentor.vocabulary(choices.classes, choices.background)
    return pipeline.predict([image], words)[0].labels


@pytest.mark.parametrize("change", [
    lambda choices: choices.add("chair"), lambda choices: choices.as_background("wall"),
    lambda choices: choices.with_settings({"probability_threshold": 0.6}),
    lambda choices: choices.with_settings({"area_threshold": 0.2}),
    lambda choices: choices.with_settings({"logit_scale": 10.0}),
    lambda choices: choices.with_settings({"use_pamr": False}),
    lambda choices: choices.with_settings({"use_densecrf": True, "crf.iterations": 2})],
    ids=["word", "background", "threshold", "area", "scale", "pamr", "crf"])
def test_what_concerns_scores_needs_no_run_of_the_tower(segmentor, sight, change):
    label, picture = Labeller(segmentor, sight), frame()
    label(picture, WORDS)
    changed = change(WORDS)
    again = label(picture, changed)
    assert sight.runs == 1 and "encode" in again.kept
    assert np.array_equal(again.labels, plain(segmentor, picture.image, changed))


@pytest.mark.parametrize("values", [
    {"attention": "clearclip"}, {"inference": "whole"}, {"short_side": 224},
    {"use_resclip": True}, {"use_loftup": True, "loftup.factor": 2.0}],
    ids=["attention", "whole", "size", "resclip", "loftup"])
def test_what_concerns_features_runs_it_once(segmentor, sight, values):
    label, picture = Labeller(segmentor, sight), frame()
    label(picture, WORDS)
    changed = WORDS.with_settings(values)
    again = label(picture, changed)
    assert sight.runs == 2 and again.kept == ()
    assert np.array_equal(again.labels, plain(segmentor, picture.image, changed))
    label(picture, WORDS)
    assert sight.runs == 2  # the features of before were kept as well


def test_resclips_feedback_looks_at_the_words(segmentor, sight):
    label, picture = Labeller(segmentor, sight), frame()
    feedback = WORDS.with_settings({"use_resclip": True})
    label(picture, feedback)
    again = label(picture, feedback.add("chair"))
    assert sight.runs == 2
    assert np.array_equal(again.labels, plain(segmentor, picture.image, feedback.add("chair")))


def test_the_pixel_under_the_pointer_and_the_heat_map_agree_with_the_labels(segmentor, sight):
    found = Labeller(segmentor, sight)(frame(), WORDS)
    for x, y in ((0, 0), (160, 120), (319, 239), (40, 200)):
        under = found.under(x, y)
        assert under["label"] == under["words"][0]["name"]
        assert under["words"][0]["probability"] == pytest.approx(found.confidence[y, x] / 255,
                                                                 abs=0.003)
        assert [word["probability"] for word in under["words"]] == sorted(
            (word["probability"] for word in under["words"]), reverse=True)
    heat = found.probabilities.plane(0)
    assert heat.shape == (120, 160)
    floor = found.labels[1::2, 1::2] == 0
    assert heat[floor].mean() > 150 > 60 > heat[~floor].mean()
    with pytest.raises(ValueError, match="outside the picture of 320x240"):
        found.under(320, 0)


def test_the_frames_of_a_film_help_one_another_as_in_a_program(segmentor, sight):
    label = Labeller(segmentor, sight)
    film = FilmSegmentor(segmentor, segmentor.vocabulary(WORDS.classes), WORDS.temporal)
    first, second = room(2), np.roll(room(2), 3, axis=1)
    for index, image in enumerate((first, second)):
        picture = Frame(("film", index), "", image, index / 15)
        expected = film(image, index / 15).labels
        assert np.array_equal(label(picture, WORDS, moving=True).labels, expected)
    # A threshold alone neither looks again nor fuses again.
    twice = label(picture, WORDS.with_settings({"probability_threshold": 0.01}), moving=True)
    assert sight.runs == 2 and np.array_equal(twice.labels, expected)


def test_negative_words_compete_and_are_no_class(segmentor, sight):
    text = {"negatives": ["table", "chair"], "templates": None}
    found = Labeller(segmentor, sight, text)(frame(), Choices(("floor", "wall")))
    alone = Labeller(segmentor, sight)(frame(), Choices(("floor", "wall")))
    assert (found.labels == 255).mean() > 0.02 and (alone.labels != 255).all()
    y, x = (int(part[0]) for part in np.nonzero(found.labels == 255))
    under = found.under(x, y)
    assert under["label"] is None and len(under["words"]) == 2


def test_the_share_that_differs_goes_by_names_not_by_ids():
    first = np.array([[0, 1], [1, 255]], np.uint8)
    second = np.array([[1, 0], [1, 255]], np.uint8)
    assert differing(first, ("a", "b"), second, ("b", "a")) == 0.25
    assert differing(first, ("a", "b"), first, ("a", "b")) == 0
    assert differing(first, ("a", "b"), first, ("c", "d")) == 0.75
