"""A camera that cannot be heard is looked into, and told with the setting that mends it."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_harness import domain_for, picture
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from sclip_seg_ros.ros.cameras import camera as camera_module
from sclip_seg_ros.ros.cameras import silence
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.diagnostics.verdict import Situation, judge
from sclip_seg_ros.ros.parameters.camera_topics import CameraTopic

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(camera_module, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(silence, "PATIENCE_SECONDS", 0.4)
    monkeypatch.setattr(silence, "TYPE_SECONDS", 0.2)


class Listening:
    """A camera that listens, and a node beside it that publishes."""

    def __init__(self, context: Context) -> None:
        self.node = Node("sclip_seg", context=context)
        self._away = Context()  # a participant has one type a topic
        rclpy.init(context=self._away, domain_id=domain_for(__file__))
        self.other = Node("driver", context=self._away)
        self.heard: list = []
        self.warnings: list[str] = []
        self.camera: Camera | None = None
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)

    def listen(self, monkeypatch, topic: str = "/cam/image", compressed: bool = False,
               reliability: str = "auto") -> None:
        monkeypatch.setattr(self.node.get_logger(), "warning", self.warnings.append)
        self.camera = Camera(self.node, CameraTopic("", topic, compressed))
        self.camera.subscribe(self._on_image, reliability)
        self.other.create_subscription(Image, "/sclip_seg/label", lambda message: None, 1)

    def _on_image(self, message) -> None:
        self.camera.log.received()
        self.heard.append(message)

    def wait(self, condition, what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come: {self.camera.silence}"
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        if self.camera is not None:
            self.camera.close()
        self._executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()
        rclpy.shutdown(context=self._away)


@contextmanager
def new_listening():
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    listening = Listening(context)
    try:
        yield listening
    finally:
        listening.close()
        rclpy.shutdown(context=context)


@pytest.fixture
def listening():
    with new_listening() as new:
        yield new


@pytest.mark.parametrize("published, at, compressed, expected", [
    (CompressedImage, "/cam/image/compressed", False,
     "nobody publishes /cam/image, but /cam/image/compressed is there; set image_transport to "
     "compressed"),
    (Image, "/cam/image", True,
     "nobody publishes /cam/image/compressed, but /cam/image is there; set image_transport to raw"),
    (CompressedImage, "/cam/image", False,
     "/cam/image carries sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image; set "
     "image_transport to compressed and remap image_raw/compressed to /cam/image"),
    (Image, "/cam/image/compressed", True,
     "/cam/image/compressed carries sensor_msgs/msg/Image, not sensor_msgs/msg/CompressedImage; "
     "set image_transport to raw and remap image_raw to /cam/image/compressed"),
    (String, "/cam/image", False,
     "/cam/image carries std_msgs/msg/String, not sensor_msgs/msg/Image; that is not an image; no "
     "image topic is in sight"),
    (String, "/cam/image/theora", False,
     "nobody publishes /cam/image, but /cam/image/theora carries std_msgs/msg/String; have the "
     "camera publish raw or compressed images, too, or turn those into images with `ros2 run "
     "image_transport republish`"),
    (String, "/cam/image/ffmpeg", True,
     "nobody publishes /cam/image/compressed, but /cam/image/ffmpeg carries std_msgs/msg/String"),
    (Image, "/camera/image", False,
     "nobody publishes /cam/image; image topics in sight: /camera/image; remap image_raw to one"),
    (String, "/chatter", False,
     "nobody publishes /cam/image; no image topic is in sight; see that the camera runs"),
], ids=["compressed beside", "raw beside", "compressed instead", "raw instead", "no image",
        "stream beside", "stream beside compressed", "another name", "nothing"])
def test_a_silence_is_told_once_with_what_mends_it(listening, monkeypatch, published, at,
                                                   compressed, expected):
    listening.other.create_publisher(published, at, 1)
    listening.listen(monkeypatch, compressed=compressed)
    listening.wait(lambda: expected in listening.camera.silence, expected)
    listening.wait(lambda: listening.warnings, "a warning")
    for _ in range(10):  # as many looks
        listening._executor.spin_once(timeout_sec=0.1)
    assert len([text for text in listening.warnings if expected in text]) == 1


def test_packed_depth_is_not_taken_for_a_camera(listening, monkeypatch):
    topic = "/cam/depth/compressedDepth"
    listening.other.create_publisher(CompressedImage, topic, 1)
    listening.listen(monkeypatch, topic)
    listening.wait(lambda: "that is depth; no image topic" in listening.camera.silence, "a reason")


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_a_remapping_to_the_compressed_topic_itself_is_understood(listening, monkeypatch,
                                                                  compressed):
    """Whatever image_transport says: the likeliest mistake of all."""
    publisher = listening.other.create_publisher(CompressedImage, "/cam/image/compressed", 1)
    listening.other.create_publisher(CameraInfo, "/cam/camera_info", 1)
    listening.listen(monkeypatch, topic="/cam/image/compressed", compressed=compressed)
    assert listening.camera.topic == "/cam/image/compressed"

    def heard() -> bool:
        publisher.publish(CompressedImage(format="jpeg"))
        return bool(listening.heard)

    listening.wait(heard, "an image")
    listening.wait(lambda: listening.node.count_subscribers("/cam/camera_info"), "its camera_info")


def test_a_quality_of_service_that_cannot_match_is_told(listening, monkeypatch):
    listening.other.create_publisher(Image, "/cam/image", BEST_EFFORT)
    listening.listen(monkeypatch, reliability="reliable")
    listening.wait(lambda: "set image_reliability to auto" in listening.camera.silence, "the cure")
    assert "quality of service of /cam/image does not fit" in listening.camera.silence


def test_an_image_ends_the_silence(listening, monkeypatch):
    listening.listen(monkeypatch)
    listening.wait(lambda: "nobody publishes" in listening.camera.silence, "the silence")
    camera = listening.other.create_publisher(Image, "/cam/image", LATCHED)
    camera.publish(picture())
    listening.wait(lambda: listening.heard and not listening.camera.silence, "the image")


@pytest.mark.parametrize("reliability", ["auto", "reliable"])
def test_an_image_published_once_and_latched_arrives(listening, monkeypatch, reliability):
    """A map, a still: sent before the node was there, as by image_publisher."""
    camera = listening.other.create_publisher(Image, "/cam/image", LATCHED)
    camera.publish(picture())
    listening.listen(monkeypatch, reliability=reliability)
    listening.wait(lambda: listening.heard, "the image")


def test_a_camera_info_published_once_and_latched_arrives(listening, monkeypatch):
    publisher = listening.other.create_publisher(CameraInfo, "/cam/camera_info", LATCHED)
    publisher.publish(CameraInfo(height=240, width=320))
    listening.listen(monkeypatch)
    listening.wait(lambda: listening.camera.outputs.camera_info is not None, "the camera_info")
    assert listening.camera.outputs.camera_info.width == 320


def test_one_publisher_that_is_not_latched_is_heard_too(listening, monkeypatch):
    latched = listening.other.create_publisher(Image, "/cam/image", LATCHED)
    latched.publish(picture())
    plain = listening.other.create_publisher(Image, "/cam/image", BEST_EFFORT)
    listening.listen(monkeypatch)

    def both() -> bool:
        plain.publish(picture())
        return len(listening.heard) > 2

    listening.wait(both, "images of the other one")


def test_the_verdict_says_why(listening):
    from sclip_seg_ros.ros.cameras.frame_log import Counts

    situation = Situation(Counts(), *[float("inf")] * 3, 0.0, True, True, False, "/cam/image",
                          "nobody publishes /cam/image; turn it on")
    assert judge(situation)[1] == ("no image has arrived on /cam/image yet: nobody publishes "
                                   "/cam/image; turn it on")
