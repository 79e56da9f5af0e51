"""Labels of a chosen size: same stamps, a camera_info that fits, and a topic that says the size."""

from __future__ import annotations

import numpy as np
import pytest
from lifecycle_driver import Lifecycle
from ros_harness import (
    FRAME_ID,
    LATCHED,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
    stamp_of,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

DOMAIN = domain_for(__file__)
SIZE = (160, 120)  # width, height of the camera's images

node = node_fixture(DOMAIN, {"classes": ["floor", "wall", "ball"], "short_side": 64, "threads": 1,
                             "label_size": "100x60"}, {"image_raw": "/camera/image_raw"})
probe = probe_fixture(DOMAIN, "/camera/image_raw")


def info_of(width: int, height: int, **changes: int) -> CameraInfo:
    info = CameraInfo(distortion_model="plumb_bob",
                      d=[0.1, 0.0, 0.0, 0.0, 0.0], k=[120.0, 0.0, 78.0, 0.0, 118.0, 61.0, 0.0,
                                                     0.0, 1.0],
                      r=list(np.eye(3).ravel()),
                      p=[120.0, 0.0, 78.0, -6.0, 0.0, 118.0, 61.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    for name, value in {"width": width, "height": height, **changes}.items():
        setattr(info, name, value)
    return info


def sizes(probe: Probe, topic: str = "label", count: int = 1) -> set[tuple[int, int]]:
    """Return (W, H) of the newest messages of an output, while the camera goes on."""
    with probe.listening(Image, f"/sclip_seg/{topic}") as messages:
        first = probe.publish(picture(*SIZE))

        def new() -> list[Image]:  # older ones may be on their way
            return [message for message in messages if stamp_of(message) >= first]
        probe.feed_until(lambda: len(new()) >= count, topic, lambda: picture(*SIZE))
        return {(message.width, message.height) for message in new()}


def wait_for_size(probe: Probe, size: tuple[int, int], publish) -> None:
    """Go on until labels have a size (W, H), while ``publish`` is called."""
    with probe.listening(Image, "/sclip_seg/label") as labels:
        def there() -> bool:
            publish()
            return bool(labels) and (labels[-1].width, labels[-1].height) == size
        probe.feed_until(there, f"labels of {size}", lambda: picture(*SIZE))


def test_all_pictures_have_the_size_and_the_headers_stay(probe):
    assert probe.set_parameters(label_size="100x60").successful
    with probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(Image, "/sclip_seg/confidence") as confidences, \
            probe.listening(Image, "/sclip_seg/overlay") as overlays:
        sent = probe.feed_until(
            lambda: set(by_stamp(labels)) & set(by_stamp(confidences)) & set(by_stamp(overlays)),
            "a frame", lambda: picture(*SIZE))
    for message in (*labels, *confidences, *overlays):
        assert (message.width, message.height) == (100, 60)
        assert message.header.frame_id == FRAME_ID
    assert set(by_stamp(labels)) <= set(sent)
    assert pixels_of(labels[-1]).shape == (60, 100)


def test_a_change_takes_effect_between_two_frames(probe):
    assert probe.set_parameters(label_size="camera").successful
    assert sizes(probe) == {SIZE}
    assert probe.set_parameters(label_size="320x240").successful
    assert sizes(probe) == {(320, 240)}


@pytest.mark.parametrize("value", ["large", "0x10", "100x", "9000x10", "as:", "as:/a b", 5])
def test_what_is_no_size_is_refused(probe, value):
    before = probe.get_parameter("label_size")
    answer = probe.set_parameters(label_size=value)
    assert not answer.successful
    assert "label_size" in answer.reason and ("give" in answer.reason or "use" in answer.reason
                                              or "quotes" in answer.reason)
    assert probe.get_parameter("label_size") == before


@pytest.mark.parametrize("changes", [
    {},
    {"binning_x": 2, "binning_y": 2, "width": 320, "height": 240},
])
def test_the_camera_info_projects_onto_the_labels_as_onto_the_image(probe, changes):
    assert probe.set_parameters(label_size="100x60").successful
    info = info_of(**{"width": SIZE[0], "height": SIZE[1], **changes})
    publisher = probe.node.create_publisher(CameraInfo, "/camera/camera_info", 10)
    with probe.listening(CameraInfo, "/sclip_seg/camera_info") as infos, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        def there() -> bool:
            publisher.publish(info)
            return bool(set(by_stamp(infos)) & set(by_stamp(labels)))
        probe.feed_until(there, "a camera_info", lambda: picture(*SIZE))
        probe.spin(0.3)
        infos.clear()  # one made of an info before
        probe.feed_until(there, "a camera_info", lambda: picture(*SIZE))
    probe.node.destroy_publisher(publisher)
    found = infos[-1]
    assert (found.width, found.height) == (100, 60)
    assert found.header.frame_id == FRAME_ID
    assert (list(found.d), found.distortion_model) == ([0.1, 0.0, 0.0, 0.0, 0.0], "plumb_bob")
    assert found.binning_x <= 1 and found.roi.width == 0
    point = np.array([0.2, -0.3, 1.7, 1.0])
    for original, scaled in ((np.reshape(info.p, (3, 4)), np.reshape(found.p, (3, 4))),
                             (np.reshape(info.k, (3, 3)), np.reshape(found.k, (3, 3)))):
        places = []
        for matrix, width, height in ((original, info.width, info.height), (scaled, 100, 60)):
            u, v, w = matrix @ point[:matrix.shape[1]]
            places.append(((u / w + 0.5) / width, (v / w + 0.5) / height))  # share of the image
        assert places[0] == pytest.approx(places[1])


def test_a_camera_info_of_other_images_is_told_of(node, probe):
    publisher = probe.node.create_publisher(CameraInfo, "/camera/camera_info", 10)
    with probe.listening(Image, "/sclip_seg/label") as labels:
        def told() -> bool:
            publisher.publish(info_of(1280, 720))
            return "1280x720" in node.log and bool(labels)
        probe.feed_until(told, "the warning", lambda: picture(*SIZE))
    probe.node.destroy_publisher(publisher)
    assert "160x120" in node.log.partition("1280x720")[2].partition("\n")[0]


def cloud_of(width: int, height: int) -> PointCloud2:
    return PointCloud2(width=width, height=height)


@pytest.mark.parametrize(("make", "topic"), [
    (info_of, "/depth/camera_info"), (picture, "/depth/image"), (cloud_of, "/depth/points")])
def test_labels_have_the_size_that_another_topic_says(probe, make, topic):
    message = make(90, 70)
    publisher = probe.node.create_publisher(type(message), topic, 10)
    assert probe.set_parameters(label_size=f"as:{topic}").successful
    wait_for_size(probe, (90, 70), lambda: publisher.publish(message))
    probe.node.destroy_publisher(publisher)
    assert sizes(probe) == {(90, 70)}  # and keep it


def test_a_camera_info_may_change_its_size(probe):
    publisher = probe.node.create_publisher(CameraInfo, "/depth/camera_info", 10)
    assert probe.set_parameters(label_size="as:/depth/camera_info").successful
    for size in ((64, 48), (80, 48)):
        wait_for_size(probe, size, lambda size=size: publisher.publish(info_of(*size)))
    probe.node.destroy_publisher(publisher)


@pytest.mark.parametrize(("make", "topic"), [
    (info_of, "/still/camera_info"), (picture, "/still/image")])
def test_what_was_published_once_is_read_and_read_anew_when_the_node_is_activated(probe, make,
                                                                                  topic):
    first, second = make(90, 70), make(80, 48)
    publisher = probe.node.create_publisher(type(first), topic, LATCHED)
    publisher.publish(first)
    assert probe.set_parameters(label_size=f"as:{topic}").successful
    wait_for_size(probe, (90, 70), lambda: None)
    lifecycle = Lifecycle(probe)
    assert lifecycle.change("deactivate")
    publisher.publish(second)
    assert lifecycle.change("activate")
    wait_for_size(probe, (80, 48), lambda: None)
    probe.node.destroy_publisher(publisher)


def test_a_topic_that_says_nothing_is_told_of_and_labels_go_on(node, probe):
    assert probe.set_parameters(label_size="as:/nowhere").successful
    assert sizes(probe) == {SIZE}
    probe.feed_until(lambda: "nobody publishes /nowhere" in node.log, "the warning",
                     lambda: picture(*SIZE))
    publisher = probe.node.create_publisher(PointCloud2, "/scan_points", 10)
    assert probe.set_parameters(label_size="as:/scan_points").successful
    with probe.listening(Image, "/sclip_seg/label") as labels:
        def told() -> bool:
            publisher.publish(cloud_of(300, 1))
            return "300x1" in node.log and bool(labels)
        probe.feed_until(told, "the warning", lambda: picture(*SIZE))
    probe.node.destroy_publisher(publisher)
    assert "organised" in node.log
    assert sizes(probe) == {SIZE}
    assert probe.set_parameters(label_size="camera").successful
