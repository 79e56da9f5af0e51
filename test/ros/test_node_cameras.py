"""Several cameras at one node: each has its own labels, and none can harm another."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import qos_profile_sensor_data
from ros_harness import (
    LATCHED,
    WAIT_SECONDS,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
    stamp_of,
    stated,
)
from sclip_seg_ros.msg import SegmentationStatus, Vocabulary
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.segmentation import SCLIPSegmentor

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "red ball|sphere", "box"]
SIZES = {"front": (160, 120), "rear": (96, 128), "top": (200, 64), "arm": (64, 64)}
COMPRESSED = {"rear", "arm"}
TOPICS = {name: f"/robot/{name}/image_raw" + ("/compressed" if name in COMPRESSED else "")
          for name in SIZES}


# Each frame is labelled alone; labels that rest on earlier frames are test_node_time's.
node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": 64, "threads": 1,
                             "image_topics": list(TOPICS.values()), "temporal.enabled": False})
probe = probe_fixture(DOMAIN)


@pytest.fixture
def cameras(probe):
    return {name: Sender(probe, name) for name in SIZES}


class Sender:
    """A camera of the test's, which sends pictures of its own size and frame."""

    def __init__(self, probe: Probe, name: str) -> None:
        self.name = name
        self.frame_id = f"{name}_optical"
        self.sent: dict[int, np.ndarray] = {}
        self._probe = probe
        self._compressed = name in COMPRESSED
        kind = CompressedImage if self._compressed else Image
        self._publisher = probe.node.create_publisher(kind, TOPICS[name], qos_profile_sensor_data)

    @property
    def connected(self) -> bool:
        return self._publisher.get_subscription_count() > 0

    def send(self, message: Image | None = None) -> int:
        """Send an image, by default one of its size; return its stamp."""
        message = message or picture(*SIZES[self.name], seed=len(self.sent))
        stamp = self._probe.node.get_clock().now().nanoseconds
        self.sent[stamp] = pixels_of(message) if message.encoding == "rgb8" else None
        if self._compressed:
            data = cv2.imencode(".png", self.sent[stamp][..., ::-1])[1]
            message = CompressedImage(format="png", data=array.array("B", data.tobytes()))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id = self.frame_id
        self._publisher.publish(message)
        return stamp

    def close(self) -> None:
        self._probe.node.destroy_publisher(self._publisher)


def feed(probe: Probe, cameras, condition: Callable[[], object], what: str,
         pause: float = 0.1) -> None:
    """Send images from cameras in turn until a condition holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        for camera in cameras:
            camera.send()
        probe.spin(pause)


def labels_of(probe: Probe, name: str):
    return probe.listening(Image, f"/sclip_seg/{name}/label")


def status_of(probe: Probe, name: str):
    return probe.listening(SegmentationStatus, f"/sclip_seg/{name}/status")


def healths(diagnostics: list) -> dict[str, DiagnosticStatus]:
    """Return the newest statuses by camera."""
    return {status.name.removeprefix("sclip_seg: "): status
            for status in diagnostics[-1].status} if diagnostics else {}


def test_every_camera_has_its_own_labels_with_its_own_header_and_size(probe, cameras):
    """They equal the labels of each image alone: a shared batch changes nothing."""
    received = {name: [] for name in cameras}
    for name, messages in received.items():
        probe.node.create_subscription(Image, f"/sclip_seg/{name}/label", messages.append, 50)
    feed(probe, cameras.values(), lambda: all(len(m) >= 2 for m in received.values()), "labels")
    alone = SCLIPSegmentor(device="auto", short_side=64)
    for name, messages in received.items():
        assert {(m.width, m.height) for m in messages} == {SIZES[name]}
        assert {m.header.frame_id for m in messages} == {cameras[name].frame_id}
        assert {stamp_of(m) for m in messages} <= set(cameras[name].sent)
        for message in messages[:2]:
            image = cameras[name].sent[stamp_of(message)]
            same = pixels_of(message) == alone.segment(image, CLASSES)
            assert same.mean() > 0.999, name  # rounding differs with the batch's size


def test_every_camera_announces_the_vocabulary_with_its_own_stamp(probe, cameras):
    front, rear = cameras["front"], cameras["rear"]
    with labels_of(probe, "front") as front_labels, labels_of(probe, "rear") as rear_labels, \
            probe.listening(Vocabulary, "/sclip_seg/front/vocabulary", LATCHED) as fronts, \
            probe.listening(Vocabulary, "/sclip_seg/rear/vocabulary", LATCHED) as rears:
        feed(probe, [front, rear], lambda: front_labels and rear_labels and fronts and rears,
             "labels")
        version = max(message.version for message in fronts + rears)
        assert probe.set_parameters(classes=["cup", "cone"]).successful
        feed(probe, [front, rear], lambda: fronts[-1].version > version and stamp_of(fronts[-1])
             and rears[-1].version > version and stamp_of(rears[-1]), "the new words")
        assert fronts[-1].version == rears[-1].version
        assert stamp_of(fronts[-1]) in by_stamp(front_labels)
        assert stamp_of(rears[-1]) in by_stamp(rear_labels)
        assert probe.set_parameters(classes=CLASSES).successful


def test_a_camera_that_floods_does_not_starve_another(probe, cameras):
    """The slow camera's images are all labelled, or replaced by its own newer ones alone."""
    front, rear = cameras["front"], cameras["rear"]
    probe.wait(lambda: front.connected and rear.connected, "the subscriptions")
    stop = threading.Event()

    def flood() -> None:
        while not stop.wait(0.002):  # faster than any computer labels
            front.send()

    with status_of(probe, "front") as fronts, status_of(probe, "rear") as rears:
        feed(probe, [front, rear], lambda: fronts and rears, "statuses")
        begin_front, begin_rear = fronts[-1], rears[-1]
        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            for _ in range(20):
                last = rear.send()
                probe.spin(0.1)
        finally:
            stop.set()
            flooding.join()
        probe.wait(lambda: last in by_stamp(rears), "the slow camera's last image")
        end = rears[-1]  # since the start: at `begin_rear` a frame may have been in work
        assert end.frames_received == sum((
            end.frames_labelled, end.frames_dropped, end.frames_skipped, end.frames_rejected,
            end.frames_failed))
        labelled = end.frames_labelled - begin_rear.frames_labelled
        received = end.frames_received - begin_rear.frames_received
        assert fronts[-1].frames_dropped > begin_front.frames_dropped, "the flood was no flood"
        batches = fronts[-1].frames_labelled - begin_front.frames_labelled
        assert labelled >= min(received, batches) / 2  # its share of the frames in work


def test_a_camera_that_dies_and_comes_back_is_labelled_again(node, probe, cameras):
    front, rear = cameras["front"], cameras["rear"]
    with labels_of(probe, "front") as fronts, labels_of(probe, "rear") as rears, \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        feed(probe, [front, rear], lambda: fronts and rears and diagnostics,
             "labels of both")
        rear.close()
        feed(probe, [front], lambda: stated(healths(diagnostics)["rear"])["verdict"] == "silent",
             "a warning")
        front_health, rear_health = (healths(diagnostics)[name] for name in ("front", "rear"))
        assert rear_health.level == DiagnosticStatus.WARN
        assert "no image on /robot/rear/image_raw/compressed" in rear_health.message
        assert front_health.level == DiagnosticStatus.OK
        assert stated(front_health)["verdict"] == "labelling"
        before = len(rears)
        back = Sender(probe, "rear")
        feed(probe, [front, back], lambda: len(rears) > before, "labels of the returned camera")
        assert stamp_of(rears[-1]) in back.sent


def grey(width: int, height: int) -> Image:
    return Image(width=width, height=height, encoding="mono8", step=width,
                 data=array.array("B", bytes(width * height)))


@pytest.mark.parametrize("bad, complaint", [
    (lambda: Image(width=9, height=9, encoding="rainbow"), "encoding 'rainbow' is unknown"),
    (lambda: grey(8, 8), "8x8 pixels is smaller than one patch of 16"),
    (lambda: grey(4000, 16), "worked on as 2048x8; publish a larger or less elongated image"),
], ids=["unreadable", "smaller than a patch", "too elongated"])
def test_the_bad_image_of_one_camera_costs_the_others_nothing(node, probe, cameras, bad,
                                                              complaint):
    front, top = cameras["front"], cameras["top"]
    with status_of(probe, "front") as fronts, status_of(probe, "top") as tops, \
            labels_of(probe, "front") as labels:
        feed(probe, [front, top], lambda: fronts and tops, "statuses")
        probe.spin(0.5)
        before, spoilt = fronts[-1], tops[-1].frames_rejected
        stamps = []
        for _ in range(5):
            stamps.append((top.send(bad()), front.send()))
            probe.wait(lambda: stamps[-1][0] in by_stamp(tops)
                       and stamps[-1][1] in by_stamp(fronts)
                       and stamps[-1][1] in by_stamp(labels), "both statuses and the label")
        after, broken = fronts[-1], tops[-1]
        assert after.frames_labelled - before.frames_labelled == 5
        assert (after.frames_rejected, after.frames_failed) \
            == (before.frames_rejected, before.frames_failed)
        assert complaint in broken.last_error
        assert broken.frames_rejected == spoilt + 5
        good = top.send()
        probe.wait(lambda: good in by_stamp(tops), "the next good image")
        assert by_stamp(tops)[good].frames_labelled > broken.frames_labelled
    node.wait_for(f"{TOPICS['top']}: frame rejected: ")


def test_diagnostics_and_laziness_are_each_cameras_own(probe, cameras):
    front, arm = cameras["front"], cameras["arm"]  # neither with a bad image in the last seconds
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            labels_of(probe, "front") as labels:
        def number(camera: str, key: str) -> int:
            return int(stated(healths(diagnostics)[camera])[key])

        probe.wait(lambda: diagnostics, "diagnostics")
        assert set(healths(diagnostics)) == set(SIZES)
        labelled, skipped = number("arm", "frames labelled"), number("arm", "frames skipped")
        feed(probe, [front, arm], lambda: len(labels) >= 3
             and number("arm", "frames skipped") > skipped, "skipped images")
        probe.wait(lambda: stated(healths(diagnostics)["arm"])["verdict"] == "idle", "idleness")
        assert number("arm", "frames labelled") == labelled
        assert number("front", "frames labelled") > 0


def test_start_names_each_cameras_topics(node):
    """Nothing in RViz, because names were remapped wrongly, shows in these lines."""
    for name, topic in TOPICS.items():
        assert f"{topic} -> /sclip_seg/{name}/label, " in node.log
