"""Bad frames and bad settings are counted, told, and harm nothing that comes after."""

from __future__ import annotations

import array
import math

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_harness import (
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    probe_fixture,
    ran,
    stamp_of,
    stated,
)
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)


node = node_fixture(DOMAIN, {"classes": ["floor", "wall"], "short_side": 112,
                             "loftup.source": "/absent/no-such-weights.pt"})
probe = probe_fixture(DOMAIN)


def spoilt(**changes) -> Image:
    message = picture()
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize("bad, complaint", [
    (lambda: spoilt(width=0), "0x120 pixels is empty"),
    (lambda: spoilt(height=0), "160x0 pixels is empty"),
    (lambda: spoilt(step=479), "step 479 is too small"),
    (lambda: spoilt(encoding="rainbow"), "encoding 'rainbow' is unknown"),
    (lambda: spoilt(data=array.array("B", bytes(1000))), "1000 bytes"),
    (lambda: spoilt(height=2**32 - 1), "bytes where"),
    (lambda: picture(160, 15), "160x15 pixels is smaller than one patch"),
    (lambda: Image(), "encoding '' is unknown"),
], ids=["no width", "no height", "step", "encoding", "cut short", "huge", "tiny", "nothing"])
def test_a_bad_frame_is_counted_told_and_survived(node, probe, bad, complaint):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels and statuses, "a label", picture)
        probe.spin(0.3)
        before = statuses[-1]
        stamp = probe.publish(bad())
        probe.wait(lambda: stamp in by_stamp(statuses), "the status of the bad frame")
        rejected = by_stamp(statuses)[stamp]
        assert rejected.frames_rejected == before.frames_rejected + 1
        assert rejected.frames_failed == before.frames_failed
        assert complaint in rejected.last_error

        good = probe.feed_until(lambda: stamp_of(labels[-1]) > stamp, "the next label", picture)
        assert stamp not in by_stamp(labels)
        assert stamp_of(labels[-1]) in good
    assert "frame rejected: " in node.log
    assert "Traceback" not in node.log


def test_a_stamp_before_1970_costs_only_the_age(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels and statuses, "a label", picture)
        probe.spin(0.3)
        failed = statuses[-1].frames_failed
        stamp = probe.publish(picture(), stamp=-5 * 10**9)
        probe.wait(lambda: stamp in by_stamp(statuses) and stamp in by_stamp(labels),
                   "label and status of that frame")
        assert math.isnan(by_stamp(statuses)[stamp].age_ms)
        assert by_stamp(statuses)[stamp].frames_failed == failed
    assert "frame failed" not in node.log


def test_diagnostics_warn_of_bad_frames(probe):
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(Image, "/sclip_seg/label"):
        probe.feed_until(lambda: diagnostics and "rainbow" in diagnostics[-1].status[0].message,
                         "a warning", lambda: spoilt(encoding="rainbow"))
        status = diagnostics[-1].status[0]
        assert status.level == DiagnosticStatus.WARN
        values = stated(status)
        assert values["verdict"] == "recent error"
        assert int(values["frames rejected"]) > 0
        assert "rainbow" in values["last error"]


def test_a_stage_whose_weights_are_missing_is_told_and_switched_off_again(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        assert probe.set_parameters(use_loftup=True).successful
        probe.feed_until(lambda: statuses and "no-such-weights.pt" in statuses[-1].last_error,
                         "the refusal", picture)
        assert "settings refused" in statuses[-1].last_error
        assert "settings refused" in node.log
        probe.wait(lambda: probe.get_parameter("use_loftup") is False, "the old value")
        before = statuses[-1].frames_labelled
        probe.feed_until(lambda: statuses[-1].frames_labelled > before + 2, "labels", picture)
        assert list(statuses[-1].fallbacks) == []
        assert probe.set_parameters(use_tlp=True).successful
        before = len(statuses)
        probe.feed_until(lambda: ran(statuses[before:], "tlp"), "another stage", picture)
        assert probe.set_parameters(use_tlp=False).successful


def test_what_was_changed_together_with_a_refused_stage_stays(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(Image, "/sclip_seg/probabilities") as grids:
        probe.feed_until(lambda: grids and statuses and not ran(statuses[-1:], "tlp"),
                         "plain frames", picture)
        width, before = grids[-1].width, len(statuses)
        assert probe.set_parameters(use_loftup=True, short_side=64, use_tlp=True, **{
            "loftup.adaptive": False, "loftup.factor": 3.0}).successful
        probe.feed_until(lambda: grids[-1].width < width and ran(statuses[before:], "tlp"),
                         "the other changes", picture)
        assert "no-such-weights.pt" in statuses[-1].last_error
        node.wait_for("settings refused, back to use_loftup=False, loftup.adaptive=True, "
                      "loftup.factor=2.0")
        probe.wait(lambda: probe.get_parameter("use_loftup") is False
                   and probe.get_parameter("loftup.factor") == 2.0, "the old values")
        probe.feed(3, picture)
        assert probe.get_parameter("use_tlp") is True
        assert probe.get_parameter("short_side") == 64
        assert grids[-1].width < width
