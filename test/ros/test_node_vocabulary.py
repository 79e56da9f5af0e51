"""The vocabulary changes under load without one label whose name is in doubt."""

from __future__ import annotations

import random

import numpy as np
import pytest
from rcl_interfaces.srv import DescribeParameters
from ros_harness import (
    FRAME_ID,
    LATCHED,
    RELIABLE,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
    stamp_of,
)
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
FIRST = ["floor", "wall", "ball"]
CHANGES = [["box", "cup|mug", "cone", "wall", "floor", "red chair"], ["bottle"],
           ["table", "lamp", "door", "rug"]]


node = node_fixture(DOMAIN, {"classes": FIRST, "short_side": 112})
probe = probe_fixture(DOMAIN)


def names_of(message: Vocabulary) -> list[str]:
    return ["|".join(entry.synonyms) for entry in message.classes]


def test_the_first_vocabulary_is_announced_before_any_frame(probe):
    """Must stay the first test of this file: the node has not seen a frame yet."""
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        probe.wait(lambda: vocabularies, "the vocabulary")
        first = vocabularies[-1]
        assert (stamp_of(first), first.version, first.background_id) == (0, 1, -1)
        assert names_of(first) == FIRST
        assert [entry.id for entry in first.classes] == [0, 1, 2]
        assert len({tuple(entry.colour) for entry in first.classes}) == 3

        with probe.listening(Image, "/sclip_seg/label") as labels:
            probe.feed_until(lambda: labels and len(vocabularies) > 1, "a label", picture)
        assert vocabularies[-1].version == 1
        assert stamp_of(vocabularies[-1]) == stamp_of(labels[0])
        assert vocabularies[-1].header.frame_id == FRAME_ID


@pytest.mark.pain(1)
def test_changes_under_load_leave_no_label_in_doubt(probe):
    """Ids stay within their version's vocabulary, which is published before its first label."""
    order: list[tuple[int, object]] = []

    def record(message: object, info: dict) -> None:
        order.append((info["source_timestamp"], message))

    for kind, topic, qos in ((Image, "label", RELIABLE), (Vocabulary, "vocabulary", LATCHED),
                             (ClassConfidenceArray, "class_confidence", RELIABLE)):
        probe.node.create_subscription(
            kind, f"/sclip_seg/{topic}",
            lambda message, info: record(message, info), qos)

    def of(kind: type) -> list:
        return [message for _, message in order if isinstance(message, kind)]

    probe.feed_until(lambda: of(Image), "labels", picture)
    for classes in CHANGES:
        assert probe.set_parameters(classes=classes).successful
        probe.feed_until(lambda wanted=classes: of(Vocabulary)
                         and names_of(of(Vocabulary)[-1]) == wanted
                         and of(ClassConfidenceArray)[-1].vocabulary_version
                         == of(Vocabulary)[-1].version, f"labels for {classes}",
                         lambda: picture(seed=random.randrange(1000)))
        probe.feed(3, picture)

    vocabularies = {message.version: message for message in of(Vocabulary)}
    versions = [message.version for message in of(Vocabulary)]
    assert versions == sorted(versions)
    assert sorted(vocabularies) == list(range(min(versions), min(versions) + 4))
    summaries = by_stamp(of(ClassConfidenceArray))
    announced = {message.version: at for at, message in order if isinstance(message, Vocabulary)}
    first_labels: dict[int, tuple[int, int]] = {}
    for published, label in ((at, m) for at, m in order if isinstance(m, Image)):
        version = summaries[stamp_of(label)].vocabulary_version
        vocabulary = vocabularies[version]
        ids = set(np.unique(pixels_of(label)).tolist()) - {Vocabulary.UNLABELLED}
        assert ids <= set(range(len(vocabulary.classes))), version
        assert [entry.class_name for entry in summaries[stamp_of(label)].classes] \
            == [entry.name for entry in vocabulary.classes]
        first_labels.setdefault(version, (published, stamp_of(label)))
    for version in sorted(vocabularies)[1:]:
        published, stamp = first_labels[version]
        assert announced[version] <= published
        assert stamp_of(vocabularies[version]) == stamp


def test_classes_and_background_change_together(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.wait(lambda: vocabularies, "the vocabulary")
        before = vocabularies[-1].version
        assert probe.set_parameters(atomically=True, classes=["grass", "sky|clouds"],
                                    background="sky", probability_threshold=1.0).successful
        probe.feed_until(lambda: vocabularies[-1].version > before, "the new vocabulary", picture)
        assert vocabularies[-1].version == before + 1
        assert vocabularies[-1].background_id == 1
        probe.feed_until(lambda: (pixels_of(labels[-1]) == 1).all(), "background", picture)
        assert not probe.set_parameters(classes=["grass"]).successful
        assert probe.set_parameters(atomically=True, classes=FIRST, background="",
                                    probability_threshold=0.0).successful


@pytest.mark.pain(2)
def test_the_parameter_itself_says_how_to_give_classes(probe):
    """`ros2 param describe` and every refusal tell; a list and one text will both do."""
    answer = probe.call(DescribeParameters, "/sclip_seg/describe_parameters",
                        DescribeParameters.Request(names=["classes"]))
    assert "'person|pedestrian'" in answer.descriptors[0].description
    for classes in (["floor", "person|pedestrian"], "floor,person|pedestrian"):
        assert probe.set_parameters(classes=classes).successful
    refusal = probe.set_parameters(classes=7)
    assert not refusal.successful and "give e.g. ['floor', 'wall']" in refusal.reason
    assert probe.set_parameters(classes=FIRST).successful


@pytest.mark.parametrize("classes, reason", [
    ([], "is empty"), ("", "is empty"), (["floor", " "], "blank"), (["floor", "cup||mug"], "blank"),
    (["floor", "wall", "Floor"], "'Floor' stands in the classes twice"),
    (["a|b", "b|c"], "'b' stands in the classes twice"),
    ([f"thing {index}" for index in range(255)], "255 classes"),
    (["x" * 300], "300 characters"), ([1, 2], "not a list of texts"),
])
def test_what_cannot_work_is_refused_with_a_reason(probe, classes, reason):
    before = probe.get_parameter("classes")
    answer = probe.set_parameters(classes=classes)
    assert not answer.successful
    assert reason in answer.reason
    assert probe.get_parameter("classes") == before


@pytest.mark.parametrize("write", [list, ",  ".join], ids=["list", "one text"])
def test_a_phrase_the_text_tower_cannot_read_is_told_and_taken_back(node, probe, write):
    """It only turns out while encoding: status and log tell once, and the parameter goes back."""
    former = write(["floor", "wall"])
    probe.wait(lambda: probe.set_parameters(classes=former).successful, "a change")
    refusals = node.log.count("vocabulary refused")
    phrase = "  ".join(["chair"] * 42)
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.wait(lambda: vocabularies and names_of(vocabularies[-1]) == ["floor", "wall"],
                   "the vocabulary")
        version = vocabularies[-1].version
        assert probe.set_parameters(classes=write(["floor", phrase])).successful
        probe.feed_until(lambda: node.log.count("vocabulary refused") > refusals, "the refusal",
                         picture)
        probe.wait(lambda: probe.get_parameter("classes") == former, "the old value")
        assert probe.set_parameters(overlay_alpha=0.4).successful
        probe.feed(3, picture)
        assert "use fewer words" in statuses[-1].last_error
        assert node.log.count("vocabulary refused") == refusals + 1
        assert statuses[-1].vocabulary_version == vocabularies[-1].version == version


def test_of_changes_in_quick_succession_the_last_one_counts(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        for index in range(6):
            assert probe.set_parameters(classes=[f"word {index}", "wall"]).successful
        probe.feed_until(lambda: vocabularies and names_of(vocabularies[-1]) == ["word 5", "wall"],
                         "the last one", picture)
        probe.feed(8, picture)
        assert names_of(vocabularies[-1]) == ["word 5", "wall"]


def test_a_late_subscriber_gets_the_vocabulary_in_force(probe):
    assert probe.set_parameters(classes="cup|mug, floor").successful
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as early:
        probe.wait(lambda: early and names_of(early[-1]) == ["cup|mug", "floor"], "the vocabulary")
    with Probe(DOMAIN) as late_probe, \
            late_probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as late:
        late_probe.wait(lambda: late, "the latched vocabulary")
        assert len(late) == 1 and late[0] == early[-1]


def test_setting_the_same_words_again_changes_nothing(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels and vocabularies, "labels", picture)
        version = vocabularies[-1].version
        words = names_of(vocabularies[-1])
        assert probe.set_parameters(classes=words).successful
        probe.feed(5, picture)
        assert vocabularies[-1].version == version
