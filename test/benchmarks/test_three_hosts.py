"""Camera, segmenter and consumer on three hosts: network namespaces, real DDS, loss and delay.

Needs root and /dev/net/tun; skips with the reason where they are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE_BYTES = 640 * 480 * 3


@pytest.fixture(scope="module")
def three_hosts():
    """The benchmark's modules; skips where hosts cannot be made."""
    from benchmarks.three_hosts import hosts, measures

    if reason := hosts.reason_not_allowed():
        pytest.skip(reason)
    return argparse.Namespace(hosts=hosts, measures=measures)


def ping(hosts, host: str, number: int) -> float | None:
    """Return the seconds of a round trip between two hosts by TCP, None where none came back."""
    listener = subprocess.Popen(
        [*hosts.inside("consumer"), sys.executable, "-Sc",
         "import socket; s = socket.create_server(('10.213.0.3', 7)); print('up', flush=True)\n"
         "while True: s.accept()[0].close()"], stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout.readline() == "up\n"
        program = ("import socket, time; begin = time.monotonic()\n"
                   f"socket.create_connection(('10.213.0.{number}', 7), timeout=3)\n"
                   "print(time.monotonic() - begin)")
        run = subprocess.run([*hosts.inside(host), sys.executable, "-Sc", program],
                             capture_output=True, text=True)
        return float(run.stdout) if run.returncode == 0 else None
    finally:
        listener.kill()
        listener.wait()
        listener.stdout.close()


def test_the_cable_delays_and_loses_what_it_is_told_to(three_hosts):
    with three_hosts.hosts.Hosts() as hosts:
        assert ping(hosts, "camera", 3) is not None
        hosts.cable.delay = 0.1
        assert ping(hosts, "camera", 3) >= 0.2, "a tenth of a second each way"
        hosts.cable.delay, hosts.cable.loss = 0.0, 1.0
        assert ping(hosts, "camera", 3) is None
        assert hosts.cable.lost > 0
        hosts.cable.loss = 0.0
        assert ping(hosts, "camera", 3) is not None, "the way back from an outage"
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert hosts._tag not in spaces, "nothing is left behind"


def test_images_and_labels_pass_over_the_network_and_nothing_else(ros, three_hosts, tmp_path):
    """Labels of real images reach the third host, later by the delay of both ways."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.three_hosts", "--seconds", "5", "--rate", "3",
         "--loss", "0", "--delay", "30", "--middleware", "small datagrams", "--transport", "raw",
         "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    [row] = json.loads((tmp_path / "summary.json").read_text())
    assert row["labels_arrived"] > 0, run.stdout
    assert row["network_ms"]["p50"] >= 60
    assert row["message_bytes"] == IMAGE_BYTES
    assert row["megabytes_carried"] * 1e6 >= row["worked_on"] * IMAGE_BYTES
    assert row["frames_refused"] == 0
    assert "| small datagrams | raw, reliable | 0 % | 30 ms |" in run.stdout


def test_the_node_finds_its_camera_again_after_an_outage(ros, three_hosts, tmp_path):
    """The link is down for longer than DDS takes to give its partners up, and comes back."""
    from examples.child_processes import ChildProcesses

    module = three_hosts.hosts
    environment = {**module.ENVIRONMENT, **module.MIDDLEWARES["small datagrams"]}

    def heard() -> int:
        return processes.log("topics").read_text().count("label\n")

    def wait_for_labels(more_than: int) -> None:
        deadline = time.monotonic() + 90
        while heard() <= more_than:
            processes.check_alive()
            assert time.monotonic() < deadline, "no label came"
            time.sleep(0.2)

    listen = tmp_path / "listen.py"
    listen.write_text(
        "import rclpy\nfrom rclpy.node import Node\nfrom sensor_msgs.msg import Image\n"
        "rclpy.init()\nnode = Node('listener')\n"
        "node.create_subscription(Image, '/sclip_seg/jpeg/label',\n"
        "                         lambda m: print('label', flush=True), 5)\nrclpy.spin(node)\n")
    paths = {"PYTHONPATH": f"{ROOT}:{tmp_path}:{os.environ['PYTHONPATH']}"}
    with module.Hosts() as hosts, ChildProcesses(tmp_path) as processes:
        processes.start("node", "sclip_seg_ros.ros.node", "--ros-args", "-p",
                        'image_topics:=["/raw/image", "/jpeg/image/compressed"]',
                        "-p", "threads:=1", "-p", "short_side:=112",
                        prefix=hosts.inside("segmenter"), environment=environment)
        processes.start("topics", "listen", prefix=hosts.inside("consumer"),
                        environment={**environment, **paths})
        processes.wait_for("node", "ready", 90)
        processes.start("camera", "benchmarks.three_hosts.camera", "--transport", "jpeg",
                        "--reliability", "reliable", "--rate", "3",
                        "--output", str(tmp_path / "camera.json"),
                        prefix=hosts.inside("camera"), environment={**environment, **paths})
        wait_for_labels(more_than=2)
        hosts.cable.loss = 1.0
        time.sleep(25)  # participants are given up after 20 s without a sign of life
        before = heard()
        time.sleep(2)
        assert heard() == before, "a cut cable carries nothing"
        hosts.cable.loss = 0.0
        wait_for_labels(more_than=before + 2)
