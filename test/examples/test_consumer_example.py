"""The example consumer keeps ids and names together while the vocabulary changes under it."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from ros_harness import Probe, by_stamp, domain_for, picture, pixels_of, running_node
from sclip_seg_ros.msg import ClassConfidence, ClassConfidenceArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

DOMAIN = domain_for(__file__)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "consumer.py"
COSTS = {"floor": 0, "wall": 254, "ball": 100}  # "ball" is none of the example's own
UNKNOWN = 255  # the example's own cost of what is unlabelled


@pytest.fixture
def consumer():
    process = subprocess.Popen([sys.executable, str(EXAMPLE)],
                               env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)})
    yield process
    alive = process.poll() is None
    process.kill()
    process.wait()
    assert alive, "the consumer ended early"


def test_costs_follow_the_names_when_ids_change_places(tmp_path, consumer):
    parameters = {"classes": ["floor", "wall", "ball"], "short_side": 112, "threads": 1}
    with running_node(DOMAIN, tmp_path / "log.txt", parameters), Probe(DOMAIN) as probe, \
            probe.listening(Image, "/consumer/costs") as costs, \
            probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as classes:
        def feed_until_version(version: int) -> None:
            probe.feed_until(lambda: sum(
                entry.vocabulary_version == version and stamp in by_stamp(costs)
                for stamp, entry in by_stamp(classes).items()) >= 3,
                f"costs of version {version}", picture)

        feed_until_version(1)
        assert probe.set_parameters(classes=["wall", "ball", "floor"]).successful
        feed_until_version(2)
    checked = {1: 0, 2: 0}
    for stamp, message in by_stamp(costs).items():
        if stamp not in by_stamp(labels) or stamp not in by_stamp(classes):
            continue
        entry, label = by_stamp(classes)[stamp], pixels_of(by_stamp(labels)[stamp])
        table = np.full(256, UNKNOWN, np.uint8)  # of a frame that nothing is known of yet
        table[:3] = [COSTS[name.class_name] for name in entry.classes]
        assert np.array_equal(pixels_of(message), table[label])
        assert message.header == by_stamp(labels)[stamp].header
        checked[entry.vocabulary_version] += 1
    assert min(checked.values()) >= 2


def ended_by(number: signal.Signals) -> tuple[int, str] | None:
    """Send the example a signal; return its exit code and what it said, None if it went on."""
    process = subprocess.Popen([sys.executable, str(EXAMPLE)], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)})
    try:
        with Probe(DOMAIN) as probe:
            probe.get_parameter("use_sim_time", "/consumer")  # answered by a node that spins
            probe.spin(0.5)  # rclpy's own spin ends in an error where a signal finds it at work
        process.send_signal(number)
        return process.wait(20), process.stderr.read()
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_traceback(number):
    # rclpy's signal handling itself hangs once in some 200 times: two more tries.
    answers = (ended_by(number) for _ in range(3))
    assert next(filter(None, answers), None) == (0, "")


@pytest.fixture
def node():
    """The example in this process, with the costs it publishes kept in ``published``."""
    rclpy.init(domain_id=DOMAIN)
    node = runpy.run_path(str(EXAMPLE))["Consumer"]()
    node.published = []
    node.costs.publish = node.published.append
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_messages_without_a_partner_do_not_pile_up(node):
    """Nor do they when the clock jumps back, as that of a looping bag does."""
    for second in range(1000, 1500):
        node.on_message(Image(header=Header(stamp=Time(sec=second))))
    assert len(node.waiting) == runpy.run_path(str(EXAMPLE))["WAITING"]
    for second in range(20):  # the clock has jumped back
        node.on_message(Image(header=Header(stamp=Time(sec=second))))
        node.on_message(ClassConfidenceArray(header=Header(stamp=Time(sec=second)),
                                             vocabulary_version=1))
    assert [cost.header.stamp.sec for cost in node.published] == list(range(20))
    assert not node.waiting


def test_another_nodes_words_count_though_its_versions_begin_again(node):
    for second, names in enumerate((["floor", "wall"], ["wall", "floor"])):
        header = Header(stamp=Time(sec=second))
        node.on_message(Image(header=header, height=1, width=2, data=[0, 1]))
        node.on_message(ClassConfidenceArray(header=header, vocabulary_version=1, classes=[
            ClassConfidence(class_id=index, class_name=name) for index, name in enumerate(names)]))
    assert [cost.data.tolist() for cost in node.published] == [[0, 254], [254, 0]]


def test_the_example_stays_short_and_starts_only_as_a_program():
    code = [line for line in EXAMPLE.read_text().splitlines()
            if line.strip() and not line.startswith(("import ", "from ", "#!", '"""'))]
    assert len(code) <= 33
    assert "Consumer" in runpy.run_path(str(EXAMPLE))
