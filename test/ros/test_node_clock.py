"""Simulated time that stands still, or jumps back as a looping bag's does, stops nothing."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import ReliabilityPolicy
from right_labels import SHORT_SIDE, expect_right_labels
from ros_harness import (
    RELIABLE,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    probe_fixture,
    stamp_of,
)
from rosgraph_msgs.msg import Clock
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall"]
SECOND = 10**9


class BagPlayer:
    """Publish images with the stamps of a recording, and its clock."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._clock = probe.node.create_publisher(Clock, "/clock", 10)

    def tick(self, nanoseconds: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(nanoseconds, SECOND)
        self._clock.publish(message)

    def play(self, begin: int, end: int, step: int = SECOND // 10) -> list[int]:
        """Play a stretch of the recording at twice its pace; return the stamps of its images."""
        stamps = list(range(begin, end, step))
        for stamp in stamps:
            self.tick(stamp)
            self._probe.spin(0.015)
            self._probe.publish(picture(), stamp=stamp)
            self.tick(stamp + step // 2)
            self._probe.spin(0.035)
        return stamps


node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": SHORT_SIDE, "threads": 1,
                             "use_sim_time": True})
probe = probe_fixture(DOMAIN)


def test_without_a_clock_a_reliable_camera_is_followed_all_the_same(node):
    """Must stay the first test of this file: nobody has published a /clock yet."""
    with Probe(DOMAIN, qos=RELIABLE) as camera:
        camera.wait(lambda: [info.qos_profile.reliability for info in
                             camera.node.get_subscriptions_info_by_topic("/image_raw")]
                    == [ReliabilityPolicy.RELIABLE], "a reliable subscription")


def test_a_looping_bag_is_labelled_round_after_round(node, probe):
    """Pain 8: labels carry the recording's stamps, also when these come a second time."""
    player = BagPlayer(probe)
    with probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        player.play(100 * SECOND, 101 * SECOND)
        for _ in range(3):
            labels.clear()
            statuses.clear()
            stamps = player.play(100 * SECOND, 103 * SECOND)
            probe.wait(lambda last=stamps[-1]: last in by_stamp(labels),
                       "labels of the recording's end")
            assert len(labels) >= 10
            assert {stamp_of(label) for label in labels} <= set(stamps)
            ages = [status.age_ms for status in statuses if not math.isnan(status.age_ms)]
            assert ages and all(0 <= age < 5000 for age in ages)
            assert statuses[-1].frames_failed == 0
    assert "Traceback" not in node.log
    expect_right_labels(probe, CLASSES)


def test_a_clock_that_stands_still_silences_neither_labels_nor_diagnostics(probe):
    """Nor a change of words; a paused simulation is where people try things."""
    player = BagPlayer(probe)
    player.tick(50 * SECOND)
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        count = len(diagnostics)
        probe.feed_until(lambda: len(diagnostics) >= count + 3 and len(statuses) >= 5,
                         "diagnostics and labels", lambda: picture())
        version = statuses[-1].vocabulary_version
        assert probe.set_parameters(classes=["cup", "box"]).successful
        probe.feed_until(lambda: statuses[-1].vocabulary_version > version, "new words", picture)
        assert probe.set_parameters(classes=CLASSES).successful
        probe.feed_until(lambda: statuses[-1].vocabulary_version > version + 1, "the old words",
                         picture)
    expect_right_labels(probe, CLASSES)
