"""The verdict on /diagnostics names what is wrong, the worst first."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("diagnostic_msgs.msg", reason="ROS 2 is not installed; use `make test`")

from diagnostic_msgs.msg import DiagnosticStatus

from sclip_seg_ros.ros.health import Situation, judge
from sclip_seg_ros.ros.status import Counts

FINE = Situation(Counts(received=9, labelled=9), silent_seconds=0.1, error_seconds=float("inf"),
                 miss_seconds=float("inf"), busy_seconds=0.0, worker_alive=True, wanted=True,
                 hopeless=False, topic="/camera/image")


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
    (replace(FINE, counts=Counts(received=9, failed=1, last_error="out of memory", failing=True),
             error_seconds=60.0, wanted=False), DiagnosticStatus.ERROR, "frames fail: out of"),
    (replace(FINE, miss_seconds=1.0), DiagnosticStatus.WARN, "miss the latency budget"),
    (replace(FINE, miss_seconds=60.0), DiagnosticStatus.OK, "labelling"),
    (replace(FINE, hopeless=True, miss_seconds=1.0), DiagnosticStatus.WARN,
     "no quality level keeps the latency budget"),
    (replace(FINE, worker_alive=False), DiagnosticStatus.ERROR, "thread has ended"),
])
def test_verdict(situation, level, text):
    found, message = judge(situation)
    assert found == level
    assert text in message
