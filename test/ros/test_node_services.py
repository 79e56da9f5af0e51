"""~/change_words and ~/enable: thin services that answer once what they ask for holds."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_in_process import node_in_process
from ros_harness import LATCHED, Probe, domain_for, node_fixture, picture, probe_fixture, verdict
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sclip_seg_ros.srv import ChangeWords
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

DOMAIN = domain_for(__file__)
QUIET_DOMAIN = domain_for(f"{__file__} quiet")
CLASSES = ["floor", "wall", "ball"]
SERVICE = "/sclip_seg/change_words"

node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": 64, "threads": 1})
probe = probe_fixture(DOMAIN)


def change(probe: Probe, words: list[str], ids: list[int] | None = None) -> ChangeWords.Response:
    return probe.call(ChangeWords, SERVICE, ChangeWords.Request(words=words, ids=ids or []))


def table(message: Vocabulary) -> dict[int, str]:
    return {entry.id: entry.name for entry in message.classes}


def test_words_hold_from_the_version_that_the_answer_names(probe):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        answer = change(probe, ["box", "cup|mug"], [7, 3])
        assert answer.success, answer.message
        assert probe.get_parameter("classes") == ["box", "cup|mug"]  # the parameters are the truth
        assert list(probe.get_parameter("class_ids")) == [7, 3]
        probe.feed_until(lambda: summaries, "a frame", picture)
        assert summaries[0].vocabulary_version == answer.version
        assert {entry.class_id: entry.class_name
                for entry in summaries[0].classes} == {7: "box", 3: "cup"}
        [announced] = [message for message in vocabularies
                       if message.version == answer.version][:1]
        assert table(announced) == {7: "box", 3: "cup"}
        again = change(probe, ["box", "cup|mug"], [7, 3])  # nothing new
        assert (again.success, again.version) == (True, answer.version)
        numbered = change(probe, ["box", "lamp"])
        assert (numbered.success, numbered.version) == (True, answer.version + 1)
        assert probe.get_parameter("class_ids") == []


@pytest.mark.parametrize("values", [
    {"attention": ["sclip"]}, {"proxy.model": [True]}, {"class_ids": [1.0, float("inf")]}])
def test_values_of_any_type_are_answered_and_the_node_goes_on(probe, values):
    [name] = values
    before = probe.get_parameter(name)
    answer = probe.set_parameters(**values)
    assert not answer.successful and answer.reason.startswith(name)
    assert probe.get_parameter(name) == before


@pytest.mark.parametrize(("words", "ids", "told"), [
    ([], [], "list of classes is empty"),
    (["box", "cup"], [1], "2 classes and 1 class_ids"),
    (["box", "cup"], [1, 256], "256"),
    (["box", "cup"], [255, 1], "255"),
    (["box", "word " * 200], [], "use at most 256"),
])
def test_words_that_cannot_be_used_are_refused_and_the_others_stay(probe, words, ids, told):
    before = change(probe, ["floor", "wall"])
    answer = change(probe, words, ids)
    assert not answer.success
    assert told in answer.message
    assert answer.version == before.version
    assert probe.get_parameter("classes") == ["floor", "wall"]


def test_words_that_fail_to_be_encoded_are_answered_with_the_reason(probe):
    before = change(probe, ["floor", "wall"])
    answer = change(probe, ["floor", "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4])
    assert not answer.success
    assert "token" in answer.message
    assert answer.version == before.version
    probe.wait(lambda: probe.get_parameter("classes") == ["floor", "wall"], "the former words")
    assert change(probe, ["floor", "wall"]).version == before.version


def test_frames_are_answered_while_a_caller_waits(probe):
    """The node goes on with everything else: a waiting caller holds up no callback."""
    with probe.listening(Image, "/sclip_seg/label") as labels:
        client = probe.node.create_client(ChangeWords, SERVICE)
        probe.wait(client.service_is_ready, "the service")
        words = [f"a thing of kind {number}" for number in range(60)]
        future = client.call_async(ChangeWords.Request(words=words))
        probe.feed_until(lambda: future.done() and labels, "answer and labels", picture)
        assert future.result().success
        probe.node.destroy_client(client)


def test_later_words_answer_the_earlier_caller_too(probe):
    clients = [probe.node.create_client(ChangeWords, SERVICE) for _ in range(2)]
    for client in clients:
        probe.wait(client.service_is_ready, "the service")
    first = [f"a very new thing of kind {number}" for number in range(120)]
    futures = [clients[0].call_async(ChangeWords.Request(words=first)),
               clients[1].call_async(ChangeWords.Request(words=["floor", "lamp"]))]
    probe.wait(lambda: all(future.done() for future in futures), "both answers")
    early, late = (future.result() for future in futures)
    assert late.success
    assert early.success is False and "meanwhile" in early.message or early.version < late.version
    for client in clients:
        probe.node.destroy_client(client)


def test_enable_switches_labelling_off_and_on(probe):
    def enable(on: bool) -> SetBool.Response:
        return probe.call(SetBool, "/sclip_seg/enable", SetBool.Request(data=on))

    with probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(DiagnosticArray, "/diagnostics") as reports:
        probe.feed_until(lambda: labels, "a frame", picture)
        answer = enable(False)
        assert answer.success and "skipped" in answer.message
        assert probe.get_parameter("enabled") is False
        probe.spin(1.0)  # frames on their way
        labels.clear()
        skipped = statuses[-1].frames_skipped
        probe.feed(5, picture)  # the diagnostics may have come before any frame
        probe.feed_until(lambda: verdict(reports) == "off", "the diagnostics", picture)
        assert labels == []
        assert enable(True).success
        probe.feed_until(lambda: labels and statuses[-1].frames_skipped > skipped, "labels",
                         picture)
    assert probe.get_parameter("enabled") is True


def test_before_and_after_the_node_is_active_the_answer_says_so():
    with node_in_process(QUIET_DOMAIN, autostart=False, classes=CLASSES) as node, \
            Probe(QUIET_DOMAIN) as probe:
        answer = change(probe, ["box", "cup"])
        assert (answer.success, answer.version) == (True, 1)
        assert "configured" in answer.message
        enabled = probe.call(SetBool, "/sclip_seg/enable", SetBool.Request(data=True))
        assert enabled.success and "not configured" in enabled.message
        node.trigger_configure()
        assert change(probe, ["box", "cup"]).version == 1
        answer = change(probe, ["floor", "wall"], [4, 5])
        assert (answer.success, answer.version) == (True, 2)
        assert "active" in answer.message
        node.trigger_activate()
        with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
            probe.wait(lambda: vocabularies and vocabularies[-1].version == 2, "version 2")
        assert table(vocabularies[-1]) == {4: "floor", 5: "wall"}


def test_words_are_refused_while_a_vocabulary_file_is_to_replace_them():
    with node_in_process(QUIET_DOMAIN, autostart=False, vocabulary_file="cityscapes.txt",
                         background="road") as node, Probe(QUIET_DOMAIN) as probe:
        before = probe.get_parameter("classes")
        answer = change(probe, ["floor", "wall"])
        assert not answer.success
        assert "vocabulary_file='cityscapes.txt'" in answer.message
        assert "configured" in answer.message
        assert probe.get_parameter("classes") == before
        node.trigger_configure()
        assert "floor" not in probe.get_parameter("classes")
        assert change(probe, ["road", "wall"]).success
        node.trigger_cleanup()
        assert not change(probe, ["floor", "wall"]).success
        assert probe.set_parameters(vocabulary_file="", background="", atomically=True).successful
        answer = change(probe, ["floor", "wall"])
        assert answer.success, answer.message
        node.trigger_configure()
        assert probe.get_parameter("classes") == ["floor", "wall"]
