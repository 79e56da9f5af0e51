"""What cameras, networks and people do to a node; after each, the next frame is labelled right."""

from __future__ import annotations

import array
import os
import threading
import time

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from right_labels import SHORT_SIDE, expect_right_labels, names_in_force
from ros_harness import LATCHED, Probe, by_stamp, domain_for, node_fixture, picture, stamp_of
from sclip_seg_ros.msg import SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]
LABEL = "/sclip_seg/label"
SECONDS = 60.0 if os.environ.get("SCLIP_LONG_TESTS") == "1" else 2.0  # of flooding


node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": SHORT_SIDE, "threads": 1})


@pytest.fixture
def probe(node):
    """A reliable camera; at the end of each test the node must label a good frame right."""
    with Probe(DOMAIN, qos=QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)) as probe:
        yield probe
        expect_right_labels(probe, CLASSES)
    assert "Traceback" not in node.log


def test_frames_of_another_size_every_time(probe):
    generator = np.random.default_rng(3)
    sizes = [(int(width), int(height)) for width, height in generator.integers(16, 400, (12, 2))]
    with probe.listening(Image, LABEL) as labels:
        for width, height in [*sizes, (16, 16), (640, 17), (17, 640)]:
            probe.feed_until(lambda size=(width, height): labels
                             and (labels[-1].width, labels[-1].height) == size,
                             f"a label of {width}x{height}",
                             lambda size=(width, height): picture(*size), 5.0)


def test_a_4k_frame_is_labelled_in_full_and_one_pixel_is_refused(probe):
    large = Image(width=3840, height=2160, encoding="mono8", step=3840)
    large.data = array.array("B", np.tile(np.arange(3840, dtype=np.uint8), 2160).tobytes())
    pixel = Image(width=1, height=1, encoding="rgb8", step=3, data=array.array("B", bytes(3)))
    with probe.listening(Image, LABEL) as labels, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        sent = probe.feed_until(lambda: labels, "4K labels", lambda: large, 2.0)
        assert stamp_of(labels[0]) in sent
        assert (labels[0].width, labels[0].height, len(labels[0].data)) \
            == (3840, 2160, 3840 * 2160)
        stamp = probe.publish(pixel)
        probe.wait(lambda: stamp in by_stamp(statuses), "the pixel's status")
        assert "1x1 pixels is smaller than one patch" in by_stamp(statuses)[stamp].last_error
        assert stamp not in by_stamp(labels)


def test_a_depth_image_with_holes_is_refused_by_its_encoding(probe):
    """A depth image has no colours; taken for one by mistake, it must not be guessed at."""
    depth = np.full((48, 64), np.nan, np.float32)
    message = Image(width=64, height=48, encoding="32FC1", step=256,
                    data=array.array("B", depth.tobytes()))
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        stamp = probe.publish(message)
        probe.wait(lambda: stamp in by_stamp(statuses), "the status")
        assert "encoding '32FC1' is unknown among those of pictures, because it tells of depth" \
            in by_stamp(statuses)[stamp].last_error


def test_ten_publishers_at_a_hundred_hertz(probe):
    """Pain 3: no queue fills with old frames; the first frame after the flood is labelled."""
    flood = Probe(DOMAIN, "/unused")
    cameras = [flood.node.create_publisher(Image, "/image_raw", 10) for _ in range(10)]
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(Image, LABEL) as labels:
        probe.feed_until(lambda: labels and statuses, "a label", picture)
        before = statuses[-1]
        stop = threading.Event()

        def run() -> None:
            message = picture()
            while not stop.wait(0.01):
                stamp = flood.node.get_clock().now().to_msg()
                for camera in cameras:
                    message.header.stamp = stamp
                    camera.publish(message)

        flooding = threading.Thread(target=run)
        flooding.start()
        try:
            probe.spin(SECONDS)
            probe.wait(lambda: statuses[-1].frames_dropped > before.frames_dropped,
                       "a frame that was replaced by a newer one")
        finally:
            stop.set()
            flooding.join()
            flood.close()
        last = probe.publish(picture())
        probe.wait(lambda: last in by_stamp(statuses), "the status of a frame after the flood")
        after = by_stamp(statuses)[last]
        assert after.frames_dropped > before.frames_dropped
        assert after.frames_labelled + after.frames_dropped + after.frames_skipped \
            <= after.frames_received
        assert after.frames_failed == before.frames_failed


def test_parameters_changed_fifty_times_a_second(probe):
    """Of words, thresholds, stages and sizes; the last values hold, and every answer is right."""
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, LABEL) as labels:
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < SECONDS:
            assert probe.set_parameters(**[
                {"classes": [f"word {count % 40}", "wall"]}, {"use_pamr": count % 8 < 4},
                {"short_side": 48 + count % 3 * 16}, {"probability_threshold": count % 5 / 10},
            ][count % 4]).successful
            assert not probe.set_parameters(short_side=1).successful
            probe.publish(picture())
            count += 1
            probe.spin(max(0.0, begin + count * 0.02 - time.monotonic()))
        assert labels
        assert probe.set_parameters(classes=CLASSES, use_pamr=True, short_side=SHORT_SIDE,
                                    probability_threshold=0.0).successful
        probe.wait(lambda: names_in_force(vocabularies) == CLASSES, "the last words")
    assert probe.get_parameter("use_pamr") is True


@pytest.mark.parametrize("classes, names", [
    (["пешеход", "人行道|歩道", "🚗|car 🚙", "Straße"], ["пешеход", "人行道", "🚗", "Straße"]),
    (["e\u0301cran", "\u202efloor", "zero\u200bwidth"], ["e\u0301cran", "\u202efloor",
                                                         "zero\u200bwidth"]),
], ids=["scripts and emoji", "combining and invisible"])
def test_words_of_any_script_are_taken_as_they_are(probe, classes, names):
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, LABEL) as labels:
        assert probe.set_parameters(classes=classes).successful
        probe.feed_until(lambda: names_in_force(vocabularies) == names
                         and labels and stamp_of(labels[-1]) > stamp_of(vocabularies[-1]),
                         "labels", picture)
        assert probe.get_parameter("classes") == classes
        assert probe.set_parameters(classes=CLASSES).successful
        probe.wait(lambda: names_in_force(vocabularies) == CLASSES, "the former words")


@pytest.mark.parametrize("classes, reason", [
    (["x" * 10_000], "10000 characters"),
    (["floor", "w" * 10_000 + "|wall"], "10000 characters"),
    (["x " * 5_000], "characters"),
    ([f"thing {index}" for index in range(5_000)], "5000 classes do not fit"),
    (["🚗" * 10_000], "10000 characters"),
    (["|" * 10_000], "blank"),
], ids=["one word", "a synonym", "a phrase", "5000 classes", "emoji", "bars"])
def test_lists_of_words_too_large_are_refused_at_once(probe, classes, reason):
    answer = probe.set_parameters(classes=classes)
    assert not answer.successful
    assert reason in answer.reason
    assert len(answer.reason) < 400
    assert probe.get_parameter("classes") == CLASSES


def test_a_class_of_ten_thousand_synonyms(probe):
    """It takes long to encode, beside the frames, and is overtaken by a shorter one."""
    words = "|".join(f"thing {index}" for index in range(10_000))
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(Image, LABEL) as labels:
        answer = probe.set_parameters(classes=[words])
        count = len(labels)
        probe.feed_until(lambda: len(labels) >= count + 5, "labels meanwhile", picture)
        if answer.successful:
            assert probe.set_parameters(classes=["cup"]).successful
            probe.feed_until(lambda: names_in_force(vocabularies) == ["cup"], "the shorter one",
                             picture)
            assert probe.set_parameters(classes=CLASSES).successful
            probe.wait(lambda: names_in_force(vocabularies) == CLASSES, "the former words")
        else:
            assert "synonyms" in answer.reason


def test_a_subscriber_that_never_reads_delays_nobody(probe):
    """Reliable and with a deep queue, to every output; its callbacks are never served."""
    with Probe(DOMAIN) as idler:
        for topic in ("label", "confidence", "overlay"):
            idler.node.create_subscription(Image, f"/sclip_seg/{topic}", print, 1000)
        probe.wait(lambda: probe.node.count_subscribers("/sclip_seg/overlay") == 1, "the idler")
        with probe.listening(Image, LABEL) as labels:
            probe.feed_until(lambda: len(labels) >= 40, "labels for the others",
                             lambda: picture(320, 240), 30.0)


def test_a_consumer_that_leaves_the_network_and_returns(probe):
    """Discovery forgets it and finds it again; the latched vocabulary greets it."""
    for _ in range(3):
        with Probe(DOMAIN) as consumer, \
                consumer.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
                consumer.listening(Image, LABEL) as labels:
            consumer.wait(lambda: names_in_force(vocabularies) == CLASSES, "the vocabulary")
            consumer.feed_until(lambda: labels, "a label", picture)
        expect_right_labels(probe, CLASSES)
        probe.wait(lambda: probe.node.count_subscribers(LABEL) == 0, "its end")
