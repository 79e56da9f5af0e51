"""Every frame is answered at the camera's rate, however long the image tower takes.

The node is a real one, in this process; its tower is made slow, held back or broken.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_driver import Lifecycle
from node_in_process import node_in_process
from ros_harness import Probe, by_stamp, domain_for, pixels_of, probe_fixture, stamp_of, verdict
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]
SLOW = 0.8     # seconds of a run of the slow tower
RATE = 15.0    # frames a second
SIZE = 120, 160
STATUS, LABEL = "/sclip_seg/status", "/sclip_seg/label"

pytestmark = pytest.mark.ros


@pytest.fixture
def tower(monkeypatch):
    """What a test may do to the image tower: make it slow, hold it back, break it."""
    class Hands:
        seconds, error = 0.0, None
        free = threading.Event()

    hands = Hands()
    hands.free.set()
    glance = Pipeline.glance

    def slow(*arguments, **keywords):
        if threading.current_thread().name == "tower":
            hands.free.wait(60)
            if hands.error is not None:
                raise hands.error
        time.sleep(hands.seconds)
        return glance(*arguments, **keywords)

    monkeypatch.setattr(Pipeline, "glance", slow)
    yield hands
    hands.free.set()


@pytest.fixture
def node(tower):
    tower.seconds = SLOW
    with node_in_process(DOMAIN, classes=CLASSES, short_side=64) as node:
        assert node.start()
        yield node
        tower.free.set()  # its end waits for the run under way


probe = probe_fixture(DOMAIN)


class Camera:
    """Pictures of a room that goes by, or stands still."""

    def __init__(self, moving: bool = True) -> None:
        rng = np.random.default_rng(3)
        wide = np.full((SIZE[0], 1200, 3), 90, np.uint8)
        for _ in range(150):
            top, left = rng.integers(0, SIZE[0] - 20), rng.integers(0, 1160)
            wide[top:top + 20, left:left + 40] = rng.integers(0, 256, 3)
        self.wide, self.moving, self.at = wide, moving, 0

    def __call__(self) -> Image:
        self.at = (self.at + 2 * self.moving) % 1000
        return to_message(np.ascontiguousarray(self.wide[:, self.at:self.at + SIZE[1]]), "rgb8",
                          Header())


@contextmanager
def results(probe: Probe):
    with probe.listening(SegmentationStatus, STATUS) as statuses, \
            probe.listening(Image, LABEL) as labels:
        yield statuses, labels


def film(probe: Probe, statuses: list, camera: Camera, frames: int) -> list[int]:
    stamps = []
    for _ in range(frames):
        stamps.append(probe.publish(camera()))
        probe.spin(1 / RATE)
    probe.wait(lambda: stamps[-1] in by_stamp(statuses), "the last frame")
    return stamps


def test_every_frame_is_answered_while_the_tower_is_slow(node, probe):
    with results(probe) as (statuses, labels), \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        camera = Camera()
        probe.feed_until(lambda: labels and (pixels_of(labels[-1]) < 3).any(), "labels", camera)
        stamps = film(probe, statuses, camera, 60)
        probe.wait(lambda: stamps[-1] in by_stamp(labels) and stamps[-1] in by_stamp(summaries),
                   "its labels")
        answered, told = by_stamp(labels), by_stamp(statuses)
        # A busy computer may lose one or two on the way to the node.
        assert sum(stamp in answered for stamp in stamps) >= 0.95 * len(stamps)
        assert statuses[-1].frames_dropped <= 3
        for stamp in filter(answered.__contains__, stamps):
            evidence = told[stamp].evidence
            assert not evidence.keyframe and evidence.unknown < 0.5
            # From the arrival of the keyframe, through its run, to the end of the next run.
            assert SLOW * 1e3 < evidence.age_ms < 1e4
            assert (pixels_of(answered[stamp]) != 255).mean() > 0.5
        assert 0 < statuses[-1].evidence.keyframes_hz < 1 / SLOW
        assert any(entry.stage == "tower encode" for status in statuses for entry in status.stages)
        assert by_stamp(summaries)[stamps[-1]].evidence == told[stamps[-1]].evidence


def test_before_anything_is_known_all_is_unlabelled(node, probe, tower):
    tower.free.clear()
    with results(probe) as (statuses, labels), \
            probe.listening(Image, "/sclip_seg/confidence") as confidences:
        probe.feed_until(lambda: labels and confidences and statuses, "a frame", Camera())
        assert (pixels_of(labels[0]) == 255).all() and (pixels_of(confidences[0]) == 0).all()
        evidence = statuses[0].evidence
        assert not evidence.keyframe and evidence.unknown == 1 and math.isnan(evidence.age_ms)


def test_new_words_hold_for_the_next_frame_without_a_run_of_the_tower(node, probe, tower):
    with results(probe) as (statuses, labels):
        camera = Camera()
        probe.feed_until(lambda: labels and (pixels_of(labels[-1]) < 3).any(), "labels", camera)
        tower.free.clear()
        film(probe, statuses, camera, round(2 * SLOW * RATE))  # a run that had begun ends
        version = statuses[-1].vocabulary_version
        assert probe.set_parameters(classes=["door", "rug"]).successful
        probe.feed_until(lambda: statuses[-1].vocabulary_version > version, "the words", camera)
        first = next(status for status in statuses if status.vocabulary_version > version)
        probe.wait(lambda: stamp_of(first) in by_stamp(labels), "its labels")
        pixels = pixels_of(by_stamp(labels)[stamp_of(first)])
        assert first.evidence.unknown < 0.5 and not first.evidence.keyframe
        assert (pixels < 2).mean() > 0.5 and set(np.unique(pixels)) <= {0, 1, 255}


def test_a_tower_that_fails_is_an_error_and_evidence_runs_out(node, probe, tower):
    assert probe.set_parameters(**{"temporal.max_age": 2.0}).successful
    with results(probe) as (statuses, labels), \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        camera = Camera()
        probe.feed_until(lambda: labels and (pixels_of(labels[-1]) < 3).any(), "labels", camera)
        tower.error = RuntimeError("the device is lost")
        probe.feed_until(lambda: verdict(diagnostics) == "tower failing", "the error", camera)
        assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
        assert "the device is lost" in diagnostics[-1].status[0].message
        assert not statuses[-1].frames_failed
        probe.feed_until(lambda: (pixels_of(labels[-1]) == 255).all(), "the end of evidence",
                         camera)
        tower.error = None
        probe.feed_until(lambda: (pixels_of(labels[-1]) != 255).any(), "labels again", camera)
        probe.feed_until(lambda: diagnostics[-1].status[0].level != DiagnosticStatus.ERROR,
                         "no error any more", camera)


def test_the_tower_rests_while_nothing_moves(node, probe, tower):
    tower.seconds = 0.0
    assert probe.set_parameters(**{"temporal.rest": 30.0}).successful
    with results(probe) as (statuses, labels):
        camera = Camera(moving=False)
        probe.feed_until(lambda: len(statuses) > 20, "the runs of the beginning", camera)
        still = film(probe, statuses, camera, 15)
        told = by_stamp(statuses)
        assert not any(told[stamp].evidence.keyframe for stamp in still if stamp in told)
        known = [told[stamp].evidence.age_ms for stamp in still if stamp in told]
        assert known == sorted(known) and known[0] > 0
        camera.moving = True
        probe.feed_until(lambda: statuses[-1].evidence.age_ms < known[-1], "a run at once", camera)


def test_without_time_every_frame_is_labelled_alone(node, probe, tower):
    tower.seconds = 0.0
    alone = SCLIPSegmentor(short_side=64)
    words = alone.vocabulary(CLASSES)
    assert probe.set_parameters(**{"temporal.enabled": False}).successful
    with results(probe) as (statuses, labels):
        camera, sent = Camera(), {}

        def keep() -> Image:
            message = camera()
            sent[len(sent)] = message
            return message

        stamps = probe.feed_until(lambda: len(labels) >= 5, "labels", keep)
        probe.wait(lambda: by_stamp(labels).keys() <= by_stamp(statuses).keys(), "their statuses")
        told = by_stamp(statuses)
        for index, stamp in enumerate(stamps):
            label = by_stamp(labels).get(stamp)
            if label is None:
                continue
            evidence = told[stamp].evidence
            assert evidence.keyframe and evidence.age_ms == 0 and evidence.fused == 0
            np.testing.assert_array_equal(pixels_of(label),
                                          alone.segment(pixels_of(sent[index]), words))


@pytest.mark.parametrize("name, value, reason", [
    ("temporal.weight", 1.5, "0.0 to 0.99"), ("temporal.gate", 0.0, "1.0 to 255.0"),
    ("temporal.enabled", "often", "true or false")])
def test_settings_of_time_are_checked(node, probe, name, value, reason):
    answer = probe.set_parameters(**{name: value})
    assert not answer.successful
    assert "out of range" in answer.reason or reason in answer.reason
    assert name in answer.reason


def test_deactivating_ends_a_run_and_forgets_what_was_seen(node, probe, tower):
    with results(probe) as (statuses, labels):
        camera = Camera()
        probe.feed_until(lambda: labels and (pixels_of(labels[-1]) < 3).any(), "labels", camera)
        lifecycle = Lifecycle(probe)
        assert lifecycle.change("deactivate")
        assert not any(thread.name in ("tower", "frames") and thread.is_alive()
                       for thread in threading.enumerate())
        tower.free.clear()
        assert lifecycle.change("activate")
        del labels[:]
        probe.feed_until(lambda: labels, "a frame", camera)
        assert (pixels_of(labels[0]) == 255).all()
