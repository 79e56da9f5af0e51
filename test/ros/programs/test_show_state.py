"""The command that prints a node's state: of a working node, of one at rest, and of none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from threading import Event, Thread

import pytest
import torch
from rclpy.node import Node
from ros_harness import NodeProcess, Probe, domain_for, node_fixture, picture
from sclip_seg_ros.msg import Vocabulary, VocabularyClass
from sensor_msgs.msg import Image

from sclip_seg_ros.ros.programs.show_state.text import CameraState, NodeState, state_text

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall|partition", "ball"]


def show_state(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "sclip_seg_ros.ros.programs.show_state.command",
                           *arguments],
                          env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)}, timeout=120,
                          capture_output=True, text=True)


# Every frame with a run of its own, whatever the computer is busy with: its stages are looked at.
node = node_fixture(DOMAIN, {"classes": CLASSES, "background": "floor", "short_side": 112,
                             "threads": 1, "temporal.enabled": False})


def test_a_working_node_is_shown_whole(node):
    shown, done = [], Event()
    asking = Thread(target=lambda: (shown.append(show_state("--colour", "always")), done.set()))
    with Probe(DOMAIN) as probe, probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: len(labels) > 3, "labels", picture)
        asking.start()
        probe.feed_until(done.is_set, "the state", picture)
    run = shown[0]
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    table = {words[0]: words[1:] for words in map(str.split, lines) if words}
    assert table["node"] == ["/sclip_seg"]
    assert table["lifecycle"] == ["active"]
    assert table["model"] == ["embedded"]
    assert table["device"][0] == ("cuda:0," if torch.cuda.is_available() else "cpu,")
    assert table["budget"] == ["none"]
    assert table["verdict"] == ["OK:", "labelling"]
    counts = dict(zip(["camera", *table["camera"]],
                      next(line for line in lines if "/image_raw" in line).split(), strict=False))
    assert counts["camera"] == "-" and counts["topic"] == "/image_raw"
    assert float(counts["in/s"]) > 0 and int(counts["labelled"]) > 3
    assert table["ms"] == ["p50", "p95", "max"]
    for stage in ("encode", "publish", "total"):
        median, high, most = map(float, table[stage])
        assert 0 < median <= high <= most
    assert "vocabulary version 1, 3 classes" in run.stdout
    wall = next(line for line in lines if "wall" in line)
    assert "1" in wall and "#" in wall and "= partition" in wall and "\033[48;2;" in wall
    assert "(background)" in next(line for line in lines if " floor" in line)


def test_another_nodes_name_is_refused_with_the_ones_in_sight(node):
    run = show_state("/nobody/sclip_seg", "--timeout", "3", "--ros-args", "-r", "__node:=asking")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "'/nobody/sclip_seg'" in run.stderr and "in sight: /sclip_seg" in run.stderr


def test_a_second_node_of_the_same_name_is_told(node):
    """A second launch: both answer, and both publish on the same topics."""
    assert "nodes have this name" not in show_state().stdout
    with Probe(DOMAIN) as probe:
        namesake = Node("sclip_seg", context=probe.node.context)
        try:
            for _ in range(10):  # until it is discovered
                run = show_state()
                if "nodes have this name" in run.stdout:
                    break
        finally:
            namesake.destroy_node()
    assert run.returncode == 0, run.stderr
    assert "warning    2 nodes have this name" in run.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_for_a_node_ends_on_ctrl_c_without_a_traceback(node, number):
    command = [sys.executable, "-m", "sclip_seg_ros.ros.programs.show_state.command",
               "/nobody/sclip_seg", "--timeout", "100"]
    with subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
                          stderr=subprocess.PIPE, text=True) as waiting, Probe(DOMAIN) as probe:
        probe.wait(lambda: ("show_state", "/") in probe.node.get_node_names_and_namespaces(),
                   "the waiting command")
        waiting.send_signal(number)
        assert waiting.wait(60) == 130
        assert waiting.stderr.read() == "show_state: interrupted\n"


def test_a_node_at_rest_says_that_it_is_not_configured(tmp_path):
    node = NodeProcess(DOMAIN, tmp_path / "log.txt", {"autostart": False},
                       {"__node": "resting"})
    try:
        run = show_state("resting", "--timeout", "60")
    finally:
        node.kill()
    assert run.returncode == 0, run.stderr
    assert "unconfigured" in run.stdout and "not configured" in run.stdout
    assert "\033[" not in run.stdout


def camera(name: str, level: int = 0, **values: str) -> CameraState:
    facts = {"topic": f"/{name}/image_raw", "model": "embedded", "device": "cpu",
             "precision": "fp32", "budget ms": "40", "quality level": "2 'no-overlap'",
             "quality level changes": "3", "fallbacks": "", "memory MB": "400",
             "images per second": "10.0", "labelled per second": "5.0", "budget missed": "0",
             "last error": ""}
    facts.update({f"frames {key}": "7" for key in ("received", "labelled", "dropped", "rejected",
                                                   "failed", "skipped")})
    return CameraState(name, level, "labelling", {**facts, **values})


def test_several_cameras_stand_in_aligned_columns():
    text = state_text(NodeState("/sclip_seg", "active", (
        camera("front", **{"encode ms p50/p95/max": "1.5 / 20.0 / 100.0"}),
        camera("rear", 2, **{"encode ms p50/p95/max": "11.5 / 2.0 / 3.0",
                             "last error": "step 3 is too small"})), None), colour=False)
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("ms"))
    encode = next(line for line in lines if line.startswith("encode"))
    assert head.split() == ["ms", "front", "p50", "p95", "max", "rear", "p50", "p95", "max"]
    assert encode.split() == ["encode", "1.5", "20.0", "100.0", "11.5", "2.0", "3.0"]
    for title in ("front p50", "rear p50"):
        end = head.index(title) + len(title)
        assert encode[end - 1].isdigit() and encode[end:end + 1] in (" ", "")
    assert "budget      40 ms" in text and "level 2 'no-overlap', 3 changes" in text
    assert "ERROR: labelling" in text and "last error  step 3 is too small" in text


def test_a_list_of_words_without_frames_has_no_latencies():
    vocabulary = Vocabulary(version=4, background_id=-1, classes=[
        VocabularyClass(id=0, name="floor", synonyms=["floor"], colour=[1, 2, 3])])
    text = state_text(NodeState("/sclip_seg", "active", (camera(""),), vocabulary), colour=False)
    assert "p50" not in text
    assert "#010203" in text and "vocabulary version 4, 1 class\n" in text
