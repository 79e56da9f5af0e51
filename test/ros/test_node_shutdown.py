"""The process ends when told to, at any time, and refuses to start with one clear line."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from ros_harness import WAIT_SECONDS, NodeProcess, Probe, domain_for, picture
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
STOP_SECONDS = 3.0  # what the project promises


@pytest.fixture
def start(tmp_path):
    nodes = []

    def start(*arguments, fresh=True, **parameters) -> NodeProcess:
        nodes.append(NodeProcess(DOMAIN, tmp_path / f"log{len(nodes)}.txt", parameters,
                                 arguments=arguments, fresh=fresh))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()


def test_sigint_ends_a_working_node(start):
    node = start(classes=["floor", "wall"], fresh=False)
    node.wait_for("ready")
    with Probe(DOMAIN) as probe, probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels, "a label", lambda: picture(640, 480), rate=30)
        assert node.stop(signal.SIGINT, STOP_SECONDS) == 0
    assert "Traceback" not in node.log


def test_sigterm_ends_an_idle_node(start):
    node = start(classes=["floor", "wall"], fresh=False)
    node.wait_for("ready")
    assert node.stop(signal.SIGTERM, STOP_SECONDS) == 0
    assert "Traceback" not in node.log


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "a reader that left"])
def test_a_node_that_nobody_hears_works_and_ends_as_always(streams):
    reader, writer = os.pipe()
    os.close(reader)
    closed, heard = (streams, None) if "&" in streams else ("", writer)
    node = subprocess.Popen(
        ["bash", "-c", f"exec segment_node --ros-args -p threads:=1 {closed}"],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)}, stdout=heard, stderr=heard)
    os.close(writer)
    try:
        with Probe(DOMAIN) as probe, probe.listening(Image, "/sclip_seg/label") as labels:
            probe.feed_until(lambda: labels, "a label", lambda: picture(160, 120))
            node.send_signal(signal.SIGINT)
            assert node.wait(30) == 0
    finally:
        node.kill()


def test_sigterm_ends_a_node_that_is_still_loading(start):
    node = start(classes=[f"thing number {index}" for index in range(254)], fresh=False)
    node.wait_for("loading")
    assert node.stop(signal.SIGTERM, STOP_SECONDS) == 0
    assert "ready" not in node.log
    assert "Traceback" not in node.log


def test_an_unforeseen_error_is_told_and_is_no_success(start, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so: file too short')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    node = start()
    assert node.process.wait(WAIT_SECONDS) == 1
    assert "file too short" in node.log


@pytest.mark.parametrize("parameters, complaint, remedy", [
    ({"model": "ViT-B/32", "pretrained": "/no/such/weights.safetensors"},
     "'/no/such/weights.safetensors' does not exist", "give the path"),
    ({"classes": ["floor", "floor"]}, "'floor' stands in the classes twice", "keep one"),
    ({"device": "abacus"}, "device='abacus' is unknown", "use 'auto'"),
    ({"use_pamr": 3}, "use_pamr=3 is not a switch", "give true or false"),
], ids=["weights", "classes", "device", "type"])
def test_what_cannot_work_ends_the_start_with_one_clear_line(start, parameters, complaint, remedy):
    node = start(**parameters, fresh=False)
    assert node.process.wait(WAIT_SECONDS) == 1
    lines = [line for line in node.log.splitlines() if "[FATAL]" in line]
    assert len(lines) == 1, node.log
    assert complaint in lines[0] and remedy in lines[0], lines[0]
    assert "Traceback" not in node.log


@pytest.mark.parametrize("arguments, told, remedy", [
    (("--log-level", "loud"), "the log level 'loud'", "give debug, info"),
    (("--params-file", "{file}"), "parameter file '{file}'", "no values stand below"),
    (("--no-such-flag",), "--no-such-flag", "behind --ros-args"),
], ids=["log level", "parameter file", "flag"])
def test_arguments_that_ros_refuses_end_the_start_with_one_clear_line(start, tmp_path, arguments,
                                                                      told, remedy):
    file = tmp_path / "flat.yaml"
    file.write_text("classes: [floor, wall]\n")  # without the node's name and ros__parameters
    node = start(*(argument.format(file=file) for argument in arguments))
    assert node.process.wait(WAIT_SECONDS) == 1
    lines = [line for line in node.log.splitlines() if "[FATAL]" in line]
    assert len(lines) == 1, node.log
    assert told.format(file=file) in lines[0] and remedy in lines[0], lines[0]
    assert "Traceback" not in node.log
