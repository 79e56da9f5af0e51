"""What docs/security.md promises: no network, no files, and a policy that fits the node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ros_harness import Probe, domain_for, picture, ran
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import Image

from sclip_seg_ros.models.resources import config_path

DOMAIN = domain_for(__file__)
NODE = "/sclip_seg"
POLICY = config_path("security/sclip_seg.policy.xml")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
# Python tells of each look-up of a name, connection and file it opens; the node runs as it is.
WATCHED_NODE = """
import os, sys
report = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        os.write(report, f"network {event} {arguments[-1] if arguments else ''}\\n".encode())
    elif event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            os.write(report, f"file {os.fspath(path)}\\n".encode())
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        os.write(report, f"process {arguments[0]}\\n".encode())
sys.addaudithook(watch)
os.write(report, b"watching\\n")
from sclip_seg_ros.ros.node import main
main()
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A working node, and the report of what it did outside of itself."""
    folder = tmp_path_factory.mktemp("watched")
    report, log = folder / "report.txt", folder / "log.txt"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", WATCHED_NODE, str(report), "--ros-args", "-p",
             "classes:=[floor, wall]", "-p", "short_side:=112", "-p", "threads:=1"],
            stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "PYTHONUNBUFFERED": "1"})
    yield process, report
    process.kill()
    process.wait()


@pytest.fixture
def probe(watched):
    with Probe(DOMAIN) as probe:
        yield probe


def test_a_working_node_asks_no_network_writes_no_file_and_starts_no_program(watched, probe):
    process, report = watched
    with probe.listening(Image, f"{NODE}/overlay") as overlays, \
            probe.listening(SegmentationStatus, f"{NODE}/status") as statuses:
        probe.feed_until(lambda: len(overlays) >= 3, "overlays", picture)
        assert probe.set_parameters(classes=["red ball", "lamp", "floor"], use_pamr=True,
                                    use_densecrf=True, use_resclip=True).successful
        probe.feed_until(lambda: statuses[-1].vocabulary_version == 2
                         and ran(statuses, "densecrf"), "new words and stages", picture)
    assert process.poll() is None
    lines = report.read_text().splitlines()
    assert lines[0] == "watching"
    # Python's own ctypes asks ldconfig where the system's libraries are.
    harmless = {f"file {os.devnull}", "process /sbin/ldconfig"}
    assert [line for line in lines[1:] if line not in harmless] == []


def test_the_watch_sees_what_it_is_for(tmp_path):
    """The same watch reports a connection, a file and a process of a program that makes them."""
    report = tmp_path / "report.txt"
    program = WATCHED_NODE.partition("from sclip_seg_ros")[0] + (
        "import socket, subprocess\n"
        "try: socket.create_connection(('192.0.2.1', 9), timeout=0.1)\n"
        "except OSError: pass\n"
        f"open({str(tmp_path / 'file')!r}, 'w').close()\nsubprocess.run(['true'])\n")
    subprocess.run([sys.executable, "-c", program, str(report)], check=True)
    text = report.read_text()
    assert "network socket.connect ('192.0.2.1', 9)" in text
    assert f"file {tmp_path / 'file'}" in text
    assert "process true" in text


def test_the_demo_runs_where_there_is_no_network_at_all(tmp_path):
    """Camera, node and consumer in a network namespace that has nothing but its own loopback."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"],
                                                     capture_output=True).returncode:
        pytest.skip("network namespaces are not allowed here")
    run = subprocess.run([*alone, sys.executable, "-m", "examples.demo", "--frames",
                          "12", "--rate", "2", "--output", str(tmp_path)],
                         capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "frames labelled" in run.stdout


# The policy


def policy(path: Path = POLICY) -> dict[tuple[str, str], set[str]]:
    """Return the names that a policy allows, resolved, by kind and direction."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == "policy" and root.get("version") == "0.2.0"
    [profile] = root.findall("enclaves/enclave/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", NODE[1:])
    allowed: dict[tuple[str, str], set[str]] = {}
    for group in profile:
        [(direction, verdict)] = group.items()
        assert verdict == "ALLOW"
        names = {name.text.replace("~", NODE) for name in group}
        allowed[group.tag, direction] = {name if name[0] == "/" else f"/{name}" for name in names}
    return allowed


def test_the_policy_allows_what_the_node_does_and_no_more(watched, probe):
    graph = probe.node

    def names(ask) -> set[str]:
        return {name for name, _ in ask(NODE[1:], "/")}

    probe.wait(lambda: (NODE[1:], "/") in graph.get_node_names_and_namespaces(), "the node")
    probe.wait(lambda: f"{NODE}/status" in
               names(graph.get_publisher_names_and_types_by_node), "its outputs")
    allowed = policy()
    assert set(allowed) == {("topics", "publish"), ("topics", "subscribe"), ("services", "reply")}
    # where vision_msgs is installed, and with depth_topics
    optional = {f"{NODE}/label_info", f"{NODE}/points"}
    published = names(graph.get_publisher_names_and_types_by_node)
    assert published | optional == allowed["topics", "publish"]
    subscribed = names(graph.get_subscriber_names_and_types_by_node)
    # by parameters, and where the camera publishes its calibration
    optional = {"/image_raw", "/image_raw/compressed", "/clock", "/camera_info"}
    assert subscribed | optional == allowed["topics", "subscribe"]
    optional = {f"{NODE}/get_type_description"}  # not before ROS 2 Iron
    served = names(graph.get_service_names_and_types_by_node)
    assert served | optional == allowed["services", "reply"]
    assert names(graph.get_client_names_and_types_by_node) == set()


def test_the_documented_command_puts_the_documented_camera_into_the_policy(tmp_path):
    """Who pastes the commands gets a policy for the camera that the last of them subscribes to."""
    text = DOCUMENT.read_text()
    [command] = re.findall(r"^sed .*\\\n.*$", text, re.MULTILINE)
    installed = "$(ros2 pkg prefix --share sclip_seg_ros)/config/security/sclip_seg.policy.xml"
    assert installed in command
    subprocess.run(["sh", "-c", command.replace(installed, f"'{POLICY}'")], cwd=tmp_path,
                   check=True)
    [camera] = re.findall(r"segment_node .*-r image_raw:=(\S+)", text)
    made, shipped = policy(tmp_path / "policy.xml"), policy()
    assert made.pop(("topics", "subscribe")) == {camera, f"{camera}/compressed", "/clock",
                                                 f"{camera.rpartition('/')[0]}/camera_info"}
    del shipped["topics", "subscribe"]
    assert made == shipped
