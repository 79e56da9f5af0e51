"""Every message of the package comes through DDS as it was sent, up to its limits."""

from __future__ import annotations

import math

import pytest
from ros_harness import LATCHED, Probe, domain_for
from sclip_seg_ros.msg import (
    ClassConfidence,
    ClassConfidenceArray,
    SegmentationStatus,
    StageTime,
    Vocabulary,
    VocabularyClass,
)
from std_msgs.msg import Header

from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED


def header() -> Header:
    stamped = Header(frame_id="camera_optical")
    stamped.stamp.sec, stamped.stamp.nanosec = 2**31 - 1, 999_999_999
    return stamped


def full_vocabulary() -> Vocabulary:
    message = Vocabulary(header=header(), version=2**32 - 1, background_id=253)
    for index in range(254):
        words = [f"class {index}", "\u6905\u5b50", "x" * 256]
        message.classes.append(VocabularyClass(id=index, name=words[0], synonyms=words,
                                               colour=[index, 255 - index, 7]))
    return message


MESSAGES = [
    full_vocabulary(),
    Vocabulary(background_id=-1),
    ClassConfidenceArray(
        header=header(), vocabulary_version=3, quality_level=255, unlabelled_coverage=0.25,
        classes=[ClassConfidence(class_id=index, class_name=f"class {index}",
                                 mean_confidence=index / 256, coverage=index / 512)
                 for index in range(254)]),
    ClassConfidenceArray(),
    SegmentationStatus(
        header=header(), vocabulary_version=3, model="ViT-B-16-quickgelu/openai", device="cuda:0",
        precision="bf16", attention="scclip",
        stages=[StageTime(stage="encode", ms=1.5), StageTime(stage="", ms=0.0)],
        total_ms=12.25, age_ms=math.inf, latency_budget_ms=50.0, budget_missed=True,
        quality_level=4, quality_level_name="whole", frames_received=2**64 - 1, frames_labelled=5,
        frames_dropped=4, frames_rejected=3, frames_failed=2,
        fallbacks=["loftup -> bilinear", "densecrf -> bilateral"],
        last_error="no \u201cword\u201d"),
    SegmentationStatus(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_goes_round_unchanged(message):
    with Probe(domain_for(__file__)) as probe:
        publisher = probe.node.create_publisher(type(message), "/round", LATCHED)
        with probe.listening(type(message), "/round", LATCHED) as received:
            publisher.publish(message)
            probe.wait(lambda: received, "the message")
        assert received[0] == message
        assert received[0] is not message


def test_a_missing_age_stays_missing():
    with Probe(domain_for(__file__)) as probe:
        publisher = probe.node.create_publisher(SegmentationStatus, "/round", LATCHED)
        with probe.listening(SegmentationStatus, "/round", LATCHED) as received:
            publisher.publish(SegmentationStatus(age_ms=math.nan))
            probe.wait(lambda: received, "the message")
        assert math.isnan(received[0].age_ms)


@pytest.mark.parametrize("kind, field, value", [
    (VocabularyClass, "id", 256), (VocabularyClass, "colour", [1, 2]),
    (Vocabulary, "background_id", 40000), (ClassConfidence, "class_id", -1),
])
def test_values_that_do_not_fit_are_refused_at_the_sender(kind, field, value):
    with pytest.raises(AssertionError):
        kind(**{field: value, "check_fields": True})


def test_the_label_of_pixels_without_class_is_a_constant_of_the_interface():
    assert Vocabulary.UNLABELLED == UNLABELLED
