"""Ids as the consumer wants them: all outputs agree, and they change together with the words."""

from __future__ import annotations

import numpy as np
import pytest
from ros_harness import (
    LATCHED,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
)
from sclip_seg_ros.msg import ClassConfidenceArray, Vocabulary
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]

node = node_fixture(DOMAIN, {"classes": CLASSES, "class_ids": [10, 20, 30], "unlabelled_id": 0,
                             "short_side": 64, "threads": 1, "probability_threshold": 0.4,
                             "background": ""})
probe = probe_fixture(DOMAIN)


def coverage_of(labels: np.ndarray, ids: list[int]) -> list[float]:
    return [float((labels == value).mean()) for value in ids]


def test_label_vocabulary_and_summary_agree_on_the_ids(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        probe.feed_until(lambda: set(by_stamp(labels)) & set(by_stamp(summaries)), "a frame",
                         lambda: picture(160, 120, seed=3))
    assert [(entry.id, entry.name) for entry in vocabularies[-1].classes] == [
        (10, "floor"), (20, "wall"), (30, "ball")]
    assert vocabularies[-1].unlabelled_id == 0
    stamp = (set(by_stamp(labels)) & set(by_stamp(summaries))).pop()
    label, summary = pixels_of(by_stamp(labels)[stamp]), by_stamp(summaries)[stamp]
    assert set(np.unique(label)) <= {0, 10, 20, 30}
    assert summary.unlabelled_id == 0
    ids = [entry.class_id for entry in summary.classes]
    assert ids == [10, 20, 30]
    assert [entry.coverage for entry in summary.classes] == pytest.approx(coverage_of(label, ids))
    assert summary.unlabelled_coverage == pytest.approx(float((label == 0).mean()))


def test_lists_of_different_length_are_refused_with_both_lengths(probe):
    for change in ({"classes": ["floor", "wall"]}, {"class_ids": [1, 2]}):
        answer = probe.set_parameters(**change)
        assert not answer.successful
        for words in ("2", "3", "one call"):
            assert words in answer.reason
    assert probe.get_parameter("classes") == CLASSES


def test_words_and_ids_change_in_one_version(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        probe.wait(lambda: vocabularies, "the vocabulary")
        before = vocabularies[-1].version
        assert probe.set_parameters(atomically=True, classes=["box", "cup"],
                                    class_ids=[200, 100]).successful
        probe.feed_until(lambda: summaries and summaries[-1].vocabulary_version > before
                         and set(by_stamp(labels)) & set(by_stamp(summaries)), "new words", picture)
        table = {message.version: {entry.id: entry.name for entry in message.classes}
                 for message in vocabularies}
        assert table[before + 1] == {200: "box", 100: "cup"}
        for stamp, summary in by_stamp(summaries).items():
            names = {entry.class_id: entry.class_name for entry in summary.classes}
            assert names == table[summary.vocabulary_version]
            if stamp in by_stamp(labels):
                assert set(np.unique(pixels_of(by_stamp(labels)[stamp]))) <= {0, *names}
        version = vocabularies[-1].version
        assert probe.set_parameters(class_ids="1,2").successful  # ids alone are a new version
        probe.feed_until(lambda: vocabularies[-1].version == version + 1, "new ids", picture)
        assert [entry.id for entry in vocabularies[-1].classes] == [1, 2]


@pytest.mark.parametrize("value", ["1,two", [1.5, 2.0], [True, False], "[1,"])
def test_what_is_no_list_of_whole_numbers_is_refused(probe, value):
    answer = probe.set_parameters(class_ids=value)
    assert not answer.successful
    assert "list of whole numbers" in answer.reason
