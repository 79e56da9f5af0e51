"""What ROS adds to the doctor: each fault that is put there is found, and cameras are heard."""

from __future__ import annotations

import subprocess
import threading
from collections import namedtuple
from functools import partial

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import domain_for, picture
from sclip_seg_ros.msg import Vocabulary
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.common.checkup import FAULT, OK, WARNING, examine
from sclip_seg_ros.ros.programs.doctor import checks
from sclip_seg_ros.ros.programs.doctor.cameras import Cameras
from sclip_seg_ros.tools.doctor import command

OF_ROS = "sclip_seg_ros.ros.programs.doctor.checks"
Usage = namedtuple("Usage", "total used free")
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_for(__file__)))


def test_every_check_has_a_remedy():
    table, rate = checks.ros_checks()
    assert [check.name for check in table] == ["ROS", "middleware", "socket buffers",
                                               "shared memory", "cameras"]
    assert all(len(check.remedy) > 15 for check in table) and rate() == 0.0


def test_messages_that_are_built_and_fit_are_well():
    assert checks.installation().state == OK


@pytest.mark.parametrize("module, state, told", [
    ("sclip_seg_ros.msg", FAULT, "ModuleNotFoundError: gone"),
    ("vision_msgs.msg", OK, "without vision_msgs")])
def test_messages_that_are_missing_are_told(monkeypatch, module, state, told):
    def importing(name):
        if name == module:
            raise ModuleNotFoundError("gone")
        return __import__(name, fromlist=["x"])

    monkeypatch.setattr(checks, "import_module", importing)
    found = checks.installation()
    assert found.state == state and told in found.text


def test_messages_that_break_are_told(monkeypatch):
    """As those compiled against NumPy 1 do under NumPy 2."""
    def broken(message):
        raise SystemError("initialization of _sensor_msgs failed")

    monkeypatch.setattr(checks, "serialize_message", broken)
    [_, found] = next(examine(checks.ros_checks()[0]))
    assert found.state == FAULT and "SystemError" in found.text and "NumPy below 2" in found.remedy


def test_the_middleware_carries_an_image():
    assert checks.middleware().state == OK
    assert f"domain {domain_for(__file__)}" in checks.middleware().text


def test_a_middleware_that_makes_no_node_is_told(monkeypatch):
    monkeypatch.setenv("ROS_STATIC_PEERS", "robot2..local")
    found = checks.middleware()
    assert found.state == FAULT and found.remedy.startswith("see ROS_STATIC_PEERS")
    assert "refuses to make a node: Unable to resolve peer robot2..local" in found.text


def test_a_middleware_that_carries_nothing_is_told(monkeypatch):
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(Node, "create_subscription", lambda *_: None)
    assert checks.middleware().state == FAULT


@pytest.mark.parametrize("distribution, variable, exists, told", [
    ("kilted", "FASTDDS", True, ""), ("jazzy", "FASTRTPS", True, ""),
    ("kilted", "FASTRTPS", True, "FASTRTPS_DEFAULT_PROFILES_FILE has no effect here"),
    ("jazzy", "FASTDDS", True, "FASTDDS_DEFAULT_PROFILES_FILE has no effect here"),
    ("kilted", "FASTDDS", False, "is not a file")])
def test_profiles_that_the_middleware_does_not_read_are_told(monkeypatch, tmp_path, distribution,
                                                             variable, exists, told):
    file = tmp_path / "profiles.xml"
    if exists:
        file.touch()
    for name in checks.PROFILES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    monkeypatch.setenv(f"{variable}_DEFAULT_PROFILES_FILE", str(file))
    found = checks.idle_profile()
    assert (told in found[0]) if told else found is None
    if told:
        assert checks.middleware().state == FAULT


@pytest.mark.parametrize("name, value, found", [
    ("RMW_IMPLEMENTATION", "rmw_nope", "cannot be imported: "),
    ("ROS_DOMAIN_ID", "500", "ROS_DOMAIN_ID=500 is beyond what DDS has ports for")])
def test_what_would_end_ros_itself_is_told(name, value, found, monkeypatch, capsys):
    """A middleware that is not installed as soon as it is imported, a domain when it begins.

    The checks that need no ROS are left out here.
    """
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(command, "checks", lambda arguments: [])
    assert command.main(["--no-levels"], "doctor", OF_ROS) == 1
    stdout = capsys.readouterr().out
    assert f"FAULT  ROS            {found}" in stdout
    said = " ".join(stdout.split())
    assert value in said and (f"unset {name}" in said or "or unset it" in said)


@pytest.mark.parametrize("largest, state", [(212992, WARNING), (33554432, OK)])
def test_small_socket_buffers_are_told(monkeypatch, tmp_path, largest, state):
    file = tmp_path / "rmem_max"
    file.write_text(f"{largest}\n")
    monkeypatch.setattr(checks, "BUFFERS", file)
    assert checks.socket_buffers().state == state


@pytest.mark.parametrize("free, state", [(40, WARNING), (512, OK)])
def test_little_shared_memory_is_told(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(checks, "SHARED", tmp_path)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: Usage(0, 0, free * 2**20))
    assert checks.shared_memory().state == state


def test_no_shared_memory_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "SHARED", tmp_path / "none")
    assert checks.shared_memory().state == WARNING
    assert "cannot be written to (No such file" in checks.shared_memory().text


@pytest.fixture
def driver():
    """A camera driver beside the doctor, which publishes until the end of the test."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    node = Node("driver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    yield node
    stop.set()
    thread.join(60)
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


def send(driver: Node, kind: type, topic: str, message, qos=5) -> None:
    publisher = driver.create_publisher(kind, topic, qos)
    driver.create_timer(0.1, lambda: publisher.publish(message))


look = partial(Cameras, discovery_seconds=1.0, listen_seconds=1.5, patience_seconds=30.0)


def test_without_a_camera_that_is_told():
    cameras = Cameras(discovery_seconds=0.2, patience_seconds=0.2)
    assert cameras.look().text == "no image topic is in sight" and cameras.rate == 0.0


def test_cameras_are_told_with_type_size_rate_and_quality_of_service(driver):
    send(driver, Image, "/front/image_raw", picture(160, 120))
    send(driver, CompressedImage, "/rear/image_raw/compressed",
         CompressedImage(format="jpeg", data=bytes(2000)), BEST_EFFORT)
    cameras = look()
    found = cameras.look()
    front, rear = found.text.split("; ")
    assert found.state == OK
    assert front.startswith("/front/image_raw: Image, rgb8 160x120, ") and "reliable" in front
    assert rear.startswith("/rear/image_raw/compressed: CompressedImage, 'jpeg' 2 kB, ")
    assert "best effort" in rear and cameras.rate > 0


def test_a_camera_that_sends_nothing_is_told(driver):
    driver.create_publisher(Image, "/dead/image", 1)
    found = look().look()
    assert found.state == WARNING and "/dead/image: Image, nothing came" in found.text
    assert found.remedy == "nothing came on /dead/image: see that the camera sends"


def test_large_images_sent_best_effort_are_told(driver):
    send(driver, Image, "/front/image_raw", picture(320, 240), BEST_EFFORT)
    found = look(listen_seconds=6.0).look()
    assert found.state == WARNING and "/front/image_raw published reliably" in found.remedy


def test_a_segmentation_nodes_own_images_are_no_cameras(driver):
    driver.create_publisher(Vocabulary, "/sclip_seg/vocabulary", 1)
    send(driver, Image, "/sclip_seg/overlay", picture(160, 120))
    send(driver, Image, "/front/image_raw", picture(160, 120))
    text = look().look().text
    assert text.startswith("/front/image_raw: ") and "overlay" not in text


def test_the_installed_program_answers(driver):
    send(driver, Image, "/front/image_raw", picture(160, 120))  # or it waits for a camera
    done = subprocess.run(["doctor", "--no-levels"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "   ok  middleware " in done.stdout and "21 checks: 0 faulty" in done.stdout
