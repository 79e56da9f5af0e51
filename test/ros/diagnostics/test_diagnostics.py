"""The verdict on /diagnostics names what is wrong, the worst first."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.node import Node
from ros_harness import Probe, domain_for, stated

from sclip_seg_ros.models.loading import loading
from sclip_seg_ros.ros.cameras.frame_log import Counts
from sclip_seg_ros.ros.diagnostics import publisher as diagnostics_module
from sclip_seg_ros.ros.diagnostics.health import health_of
from sclip_seg_ros.ros.diagnostics.publisher import Diagnostics
from sclip_seg_ros.ros.diagnostics.verdict import Situation, Verdict, judge

FINE = Situation(Counts(received=9, labelled=9), silent_seconds=0.1, error_seconds=float("inf"),
                 miss_seconds=float("inf"), busy_seconds=0.0, worker_alive=True, wanted=True,
                 hopeless="", topic="/camera/image")

LATE = Counts(received=900, labelled=900, missed=8, missed_lately=3)
FAILING = Counts(received=9, failed=1, last_error="out of memory", failing=True)
ERRONEOUS = Counts(received=9, rejected=1, last_error="step 3 is too small")

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LEVELS = {OK: "OK", WARN: "WARN", ERROR: "ERROR"}
JUDGED = [
    (FINE, "labelling", OK, "labelling"),
    (replace(FINE, wanted=False), "idle", OK, "nobody listens"),
    (replace(FINE, enabled=False), "off", OK, "until ~/enable is called"),
    (replace(FINE, enabled=False, wanted=False), "off", OK, "until ~/enable is called"),
    (replace(FINE, counts=Counts(), silent_seconds=float("inf")), "waiting", WARN,
     "no image has arrived on /camera/image yet"),
    (replace(FINE, silent_seconds=7.4), "silent", WARN, "no image on /camera/image for 7 s"),
    (replace(FINE, counts=ERRONEOUS, error_seconds=2.0), "recent error", WARN,
     "step 3 is too small"),
    (replace(FINE, counts=ERRONEOUS, error_seconds=60.0), "labelling", OK, "labelling"),
    (replace(FINE, busy_seconds=31.0), "stuck", WARN, "31 s"),
    (replace(FINE, counts=FAILING, error_seconds=2.0), "failing", ERROR,
     "frames fail: out of memory"),
    (replace(FINE, counts=FAILING, error_seconds=60.0, silent_seconds=60.0), "silent", WARN,
     "no image on /camera/image for 60 s"),
    (replace(FINE, counts=FAILING, error_seconds=2.0, wanted=False), "recent error", WARN,
     "out of memory"),
    (replace(FINE, counts=FAILING, error_seconds=60.0, wanted=False), "idle", OK,
     "nobody listens"),
    (replace(FINE, counts=LATE, miss_seconds=1.0), "over budget", WARN,
     "3 of the last 200 frames missed the latency budget"),
    (replace(FINE, counts=LATE, miss_seconds=60.0), "labelling", OK, "labelling"),
    (replace(FINE, counts=replace(LATE, missed_lately=2), miss_seconds=1.0), "labelling", OK,
     "labelling"),
    (replace(FINE, hopeless="no quality level keeps the budget"), "hopeless", WARN,
     "no quality level keeps the budget"),
    (replace(FINE, worker_alive=False), "ended", ERROR, "thread has ended"),
    (replace(FINE, tower_trouble="out of memory"), "tower failing", ERROR,
     "the image tower fails: out of memory"),
    (replace(FINE, tower_trouble="out of memory", wanted=False), "idle", OK, "nobody listens"),
]
AT_REST = [(Verdict.UNCONFIGURED, "not configured"), (Verdict.INACTIVE, "inactive"),
           (Verdict.DEACTIVATING, "being deactivated"), (Verdict.SHUT_DOWN, "shut down")]


@pytest.mark.parametrize("situation, word, level, text", JUDGED)
def test_verdict(situation, word, level, text):
    verdict, sentence = judge(situation)
    assert (verdict.word, verdict.level) == (word, level)
    assert text in sentence


@pytest.mark.parametrize("at_rest, word", AT_REST)
def test_the_verdict_on_a_node_at_rest_is_its_state(at_rest, word):
    [(camera, status)] = health_of(None, at_rest)
    assert (camera, status.level, status.message) == ("", OK, word)
    assert stated(status)["verdict"] == word


def test_a_node_that_loads_is_told_from_one_that_waits():
    with loading("ViT-B/16"):
        [(_, status)] = health_of(None, Verdict.UNCONFIGURED)
    assert (status.level, status.message) == (WARN, "loading ViT-B/16")
    assert stated(status)["verdict"] == "loading"
    assert stated(status)["loading"] == "loading ViT-B/16"


def test_every_verdict_is_tested():
    assert {word for _, word, *_ in JUDGED} | {word for _, word in AT_REST} | {"loading"} \
        == {verdict.word for verdict in Verdict}


def test_the_document_has_every_verdict():
    page = (Path(__file__).resolve().parents[3] / "docs" / "topics.md").read_text()
    rows = "\n".join(f"| `{verdict.word}` | {LEVELS[verdict.level]} | {verdict.meaning} |"
                     for verdict in Verdict)
    assert f"| verdict | level | meaning |\n|---|---|---|\n{rows}\n\n" in page, \
        f"the table of docs/topics.md should be:\n{rows}"


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
