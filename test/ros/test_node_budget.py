"""The node keeps its latency budget under load from outside, and quality comes back after it."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import contextmanager

import numpy as np
import pytest
from node_in_process import node_in_process
from ros_harness import Probe, by_stamp, domain_for, picture, probe_fixture, running_node
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus

from sclip_seg_ros.latency.quality import QualityControl

DOMAIN = domain_for(__file__)
FRAMES = 30  # to judge by
LADDER = """levels:
  - name: full
  - name: pamr-4
    pamr.steps: 4
    stride: 112
  - name: no-pamr
    use_pamr: false
  - name: whole-64
    use_pamr: false
    inference: whole
    short_side: 64
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "ladder.yaml").write_text(LADDER)
    with running_node(DOMAIN, folder / "log.txt", {
            "classes": ["floor", "wall", "ball"], "short_side": 224,
            "pamr.steps": 10, "pamr.resolution": 1.0,  # as published: there is something to give up
            "temporal.enabled": False,  # each frame waits for its run, and the ladder is felt
            "quality_ladder": str(folder / "ladder.yaml")}) as running:
        yield running


probe = probe_fixture(DOMAIN)


@contextmanager
def loaded_cores():
    """Load every core with several processes for the length of the ``with`` block."""
    context = multiprocessing.get_context("spawn")
    burners = [context.Process(target=burn, daemon=True)
               for _ in range(4 * len(os.sched_getaffinity(0)))]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def burn() -> None:
    """Compute until killed."""
    while True:
        sum(range(10000))


def video():
    return picture(320, 240)


def test_quality_goes_down_under_load_and_comes_back(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        probe.feed_until(lambda: len(statuses) > FRAMES, "frames without a budget", video)
        assert statuses[-1].quality_level_name == "full" and not statuses[-1].budget_misses
        usual = np.percentile([status.total_ms for status in statuses[-20:]], 95)
        assert probe.set_parameters(latency_budget_ms=float(2.5 * usual)).successful
        probe.feed_until(lambda: statuses[-1].latency_budget_ms > 0, "the budget", video)
        assert "4 of 4 quality levels measured" in node.log
        probe.feed_until(lambda: statuses[-1].quality_level == 0, "the best level", video)

        with loaded_cores():
            probe.feed_until(lambda: statuses[-1].quality_level > 0, "a cheaper level", video)
        lowered = statuses[-1]
        assert lowered.quality_level_name in ("pamr-4", "no-pamr", "whole-64")
        assert lowered.level_changes > 0 and lowered.budget_misses > 0

        probe.feed_until(lambda: statuses[-1].quality_level == 0, "the best level again", video)
        assert statuses[-1].level_changes > lowered.level_changes
        probe.wait(lambda: summaries[-1].header.stamp == statuses[-1].header.stamp, "its summary")
        summary = summaries[-1]
        assert (summary.quality_level, summary.quality_level_name) == (0, "full")
        assert summary.latency_budget_ms == statuses[-1].latency_budget_ms
        assert [stage.stage for stage in summary.stages][:2] == ["wait", "convert"]


def test_a_budget_out_of_reach_is_said_loudly_and_the_cheapest_level_runs(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        assert probe.set_parameters(latency_budget_ms=0.5).successful
        probe.feed_until(lambda: statuses and statuses[-1].latency_budget_ms == 0.5
                         and statuses[-1].budget_missed, "a miss", video)
        node.wait_for("no quality level keeps the latency budget of 0.5 ms")
        misses = statuses[-1].budget_misses
        probe.feed_until(lambda: statuses[-1].budget_misses > misses, "another miss", video)
        assert statuses[-1].quality_level > 0
        assert probe.set_parameters(latency_budget_ms=0.0).successful
        probe.feed_until(lambda: statuses[-1].quality_level_name == "full", "no budget", video)


def test_settings_that_a_level_does_not_allow_are_refused_and_the_budget_stays(node, probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        assert probe.set_parameters(latency_budget_ms=5000.0).successful
        probe.feed_until(lambda: statuses and statuses[-1].latency_budget_ms == 5000.0,
                         "the budget", video)
        answer = probe.set_parameters(atomically=True, crop=96, stride=96)
        assert not answer.successful
        assert "quality level 'pamr-4' does not fit" in answer.reason
        assert "set latency_budget_ms to 0" in answer.reason
        newest = probe.publish(video())
        probe.wait(lambda: newest in by_stamp(statuses), "its status")
        assert by_stamp(statuses)[newest].latency_budget_ms == 5000.0
        assert probe.get_parameter("latency_budget_ms") == 5000.0
        assert probe.get_parameter("crop") == 224
        assert probe.set_parameters(atomically=True, crop=96, stride=96,
                                    latency_budget_ms=0.0).successful


def test_levels_are_chosen_by_the_times_that_statuses_tell(monkeypatch):
    """A frame that is over the budget for one and not for the other lowers a level unexplained."""
    chosen_by = []
    end = QualityControl.end

    def note(self, total_ms, *arguments):
        chosen_by.append(float(np.float32(total_ms)))  # as messages hold it
        end(self, total_ms, *arguments)

    monkeypatch.setattr(QualityControl, "end", note)
    domain = domain_for("the same times")
    with node_in_process(domain, classes=["floor", "wall"], latency_budget_ms=500.0,
                         **{"temporal.enabled": False}) as node, Probe(domain) as probe:
        assert node.start()
        with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
            probe.feed_until(lambda: len(statuses) >= 5, "five frames", picture)
            told = [status.total_ms for status in statuses[:5]]
            count = len(chosen_by)
            probe.feed_until(lambda: len(chosen_by) > count + 1, "the fifth frame's end", picture)
    first = chosen_by.index(told[0])  # status before may have found no listener yet
    assert chosen_by[first:first + 5] == told
