"""Negative words on a running node: their pixels are without a class, and no topic names them."""

from __future__ import annotations

import numpy as np
from ros_harness import (
    LATCHED,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
)
from sclip_seg_ros.msg import ClassConfidenceArray, Vocabulary
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)

node = node_fixture(DOMAIN, {"classes": ["floor", "ball"], "short_side": 64, "threads": 1})
probe = probe_fixture(DOMAIN)


def test_negative_words_take_pixels_and_are_named_nowhere(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(Image, "/sclip_seg/probabilities") as chances, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        probe.feed_until(lambda: labels and chances and summaries, "a frame",
                         lambda: picture(160, 120, seed=3))
        assert 255 not in pixels_of(labels[-1])
        before = vocabularies[-1].version
        assert probe.set_parameters(negative_words="wall,table|lamp").successful
        probe.feed_until(lambda: summaries[-1].vocabulary_version > before, "the next vocabulary",
                         lambda: picture(160, 120, seed=3))
        probe.feed_until(lambda: 255 in pixels_of(labels[-1]), "pixels without a class",
                         lambda: picture(160, 120, seed=3))
    assert [entry.name for entry in vocabularies[-1].classes] == ["floor", "ball"]
    assert [entry.class_name for entry in summaries[-1].classes] == ["floor", "ball"]
    assert summaries[-1].unlabelled_coverage > 0
    assert chances[-1].encoding == "8UC2"
    assert set(np.unique(pixels_of(labels[-1]))) <= {0, 1, 255}


def test_a_negative_word_that_is_a_class_is_refused(probe):
    answer = probe.set_parameters(negative_words=["ball"])
    assert not answer.successful and "'ball' is a class's word too" in answer.reason
    assert not probe.set_parameters(negative_words=3).successful
    assert probe.set_parameters(negative_words=[]).successful
