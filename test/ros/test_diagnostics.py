"""The verdict on /diagnostics names what is wrong, the worst first."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.node import Node
from ros_harness import Probe, domain_for

from sclip_seg_ros.ros.cameras.frame_log import Counts
from sclip_seg_ros.ros.diagnostics import publisher as diagnostics_module
from sclip_seg_ros.ros.diagnostics.publisher import Diagnostics
from sclip_seg_ros.ros.diagnostics.verdict import Situation, judge

FINE = Situation(Counts(received=9, labelled=9), silent_seconds=0.1, error_seconds=float("inf"),
                 miss_seconds=float("inf"), busy_seconds=0.0, worker_alive=True, wanted=True,
                 hopeless="", topic="/camera/image")

LATE = Counts(received=900, labelled=900, missed=8, missed_lately=3)
FAILING = Counts(received=9, failed=1, last_error="out of memory", failing=True)


@pytest.mark.parametrize("situation, level, text", [
    (FINE, DiagnosticStatus.OK, "labelling"),
    (replace(FINE, wanted=False), DiagnosticStatus.OK, "nobody listens"),
    (replace(FINE, counts=Counts(), silent_seconds=float("inf")), DiagnosticStatus.WARN,
     "no image has arrived on /camera/image yet"),
    (replace(FINE, silent_seconds=7.4), DiagnosticStatus.WARN, "no image on /camera/image for 7 s"),
    (replace(FINE, counts=Counts(received=9, rejected=1, last_error="step 3 is too small"),
             error_seconds=2.0), DiagnosticStatus.WARN, "step 3 is too small"),
    (replace(FINE, counts=Counts(received=9, rejected=1, last_error="step 3 is too small"),
             error_seconds=60.0), DiagnosticStatus.OK, "labelling"),
    (replace(FINE, busy_seconds=31.0), DiagnosticStatus.WARN, "31 s"),
    (replace(FINE, counts=FAILING, error_seconds=2.0), DiagnosticStatus.ERROR,
     "frames fail: out of memory"),
    (replace(FINE, counts=FAILING, error_seconds=60.0, silent_seconds=60.0), DiagnosticStatus.WARN,
     "no image on /camera/image for 60 s"),
    (replace(FINE, counts=FAILING, error_seconds=2.0, wanted=False), DiagnosticStatus.WARN,
     "out of memory"),
    (replace(FINE, counts=FAILING, error_seconds=60.0, wanted=False), DiagnosticStatus.OK,
     "nobody listens"),
    (replace(FINE, counts=LATE, miss_seconds=1.0), DiagnosticStatus.WARN,
     "3 of the last 200 frames missed the latency budget"),
    (replace(FINE, counts=LATE, miss_seconds=60.0), DiagnosticStatus.OK, "labelling"),
    (replace(FINE, counts=replace(LATE, missed_lately=2), miss_seconds=1.0), DiagnosticStatus.OK,
     "labelling"),
    (replace(FINE, hopeless="no quality level keeps the budget"), DiagnosticStatus.WARN,
     "no quality level keeps the budget"),
    (replace(FINE, worker_alive=False), DiagnosticStatus.ERROR, "thread has ended"),
    (replace(FINE, tower_trouble="out of memory"), DiagnosticStatus.ERROR,
     "the image tower fails: out of memory"),
    (replace(FINE, tower_trouble="out of memory", wanted=False), DiagnosticStatus.OK,
     "nobody listens"),
])
def test_verdict(situation, level, text):
    found, message = judge(situation)
    assert found == level
    assert text in message


@contextmanager
def publishing(monkeypatch, health):
    """Publish diagnostics every few milliseconds from a node of this test's own."""
    monkeypatch.setattr(diagnostics_module, "PERIOD_SECONDS", 0.02)
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    node = Node("sclip_seg", context=context)
    diagnostics = Diagnostics(node, health)
    try:
        yield diagnostics
    finally:
        diagnostics.stop(20.0)
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_a_second_that_is_lost_is_told_once_and_the_next_one_comes(monkeypatch, capfd):
    calls = []

    def health():
        calls.append(1)
        if len(calls) < 10:
            raise IndexError("tuple index out of range")
        return [("", DiagnosticStatus(message="labelling"))]

    with Probe(domain_for(__file__)) as probe, \
            publishing(monkeypatch, health), \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        probe.wait(lambda: diagnostics, "diagnostics after those lost")
    lines = [line for line in capfd.readouterr().err.splitlines() if "[WARN]" in line]
    assert len(lines) == 1
    assert "without diagnostics: IndexError: tuple index out of range" in lines[0]


def test_the_end_does_not_wait_for_diagnostics_that_are_stuck(monkeypatch):
    stuck, go_on = threading.Event(), threading.Event()

    def health():
        stuck.set()
        go_on.wait(60.0)
        return []

    with publishing(monkeypatch, health) as diagnostics:
        assert stuck.wait(20.0)
        assert not diagnostics.stop(0.05)
        go_on.set()
        assert diagnostics.stop(20.0)


def test_another_node_of_this_name_is_told_once(monkeypatch, capfd):
    """Two launches without namespaces: whoever listens gets the outputs of both."""
    monkeypatch.setattr(diagnostics_module, "NAMESAKE_SECONDS", 3)
    told = ""

    def warnings() -> list[str]:
        nonlocal told
        told += capfd.readouterr().err
        return [line for line in told.splitlines() if "another node is called" in line]

    with Probe(domain_for(__file__)) as probe, \
            publishing(monkeypatch, lambda: [("", DiagnosticStatus())]), \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        probe.wait(lambda: len(diagnostics) > 6, "diagnostics of a node alone")
        assert not warnings()
        namesake = Node("sclip_seg", context=probe.node.context)
        try:
            probe.wait(warnings, "the warning")
            published = len(diagnostics)
            probe.wait(lambda: len(diagnostics) > published + 6, "more diagnostics")
            [warning] = warnings()
        finally:
            namesake.destroy_node()
    assert "/sclip_seg" in warning and "namespace:=" in warning
