"""What the log says of quality levels: the one in use, however they follow on each other."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from rclpy.clock import Clock
from rclpy.logging import get_logger

from sclip_seg_ros.latency.quality import QualityState
from sclip_seg_ros.ros.frames import reporter
from sclip_seg_ros.ros.frames.reporter import Reporter

NAMES = ("full", "no-overlap", "whole")


@pytest.fixture
def quality():
    """What a reporter reads of the quality control; the test says which level is in use."""
    return SimpleNamespace(state=QualityState(0, NAMES, 0, False, 50.0),
                           pipeline=SimpleNamespace(fallbacks=()))


@pytest.fixture
def told(quality, capfd):
    """Use a level for one frame, and return the levels that the log has told since."""
    reports = Reporter(SimpleNamespace(), quality, Clock(), get_logger("reporter"))

    def tell(level: int) -> list[str]:
        quality.state = QualityState(level, NAMES, 0, False, 50.0)
        reports.tell_of_level()
        return re.findall(r"quality level \d '([^']+)'", capfd.readouterr().err)

    return tell


def test_a_level_is_told_once(told):
    assert told(0) == []
    assert told(2) == ["whole"]
    assert told(2) == []


def test_a_level_that_follows_soon_and_stays_is_told_after_all(told, monkeypatch):
    monkeypatch.setattr(reporter, "THROTTLE_SECONDS", 0.5)
    assert told(2) == ["whole"]
    assert told(1) == [], "or levels that change with every frame would flood the log"
    time.sleep(0.6)
    assert told(1) == ["no-overlap"]


def test_a_level_left_again_at_once_is_not_told(told, monkeypatch):
    monkeypatch.setattr(reporter, "THROTTLE_SECONDS", 0.5)
    assert told(2) == ["whole"]
    assert told(1) == told(2) == []
    time.sleep(0.6)
    assert told(2) == []
