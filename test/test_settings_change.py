"""Settings and budget come into force between two frames, each stage for itself."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; use `make test`")

import rclpy.logging
from options import options
from rclpy.clock import Clock

from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.ledger import Ledger
from sclip_seg_ros.ros.pipeline import FramePipeline
from sclip_seg_ros.ros.settings_change import adopt_settings
from sclip_seg_ros.ros.vocabulary_server import VocabularyServer
from sclip_seg_ros.segmentation import SCLIPSegmentor

FULL, NO_OVERLAP = {"name": "full"}, {"name": "no-overlap", "stride": 224}
ENLARGED = {"name": "enlarged", "use_loftup": True}
ABSENT = "/absent/no-such-weights.pt"
FIRST = {"short_side": 64, "loftup_source": ABSENT}


@pytest.fixture
def segmentor():
    return SCLIPSegmentor("embedded", settings=options(**FIRST).settings)


@pytest.fixture
def quality(segmentor):
    return QualityControl(segmentor, parse_ladder({"levels": [FULL, NO_OVERLAP]}))


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def ask(quality, refusals):
    """Return a function that changes parameters and has them taken over."""
    ledger = Ledger(options(**FIRST), lambda refusal: refusals.append(str(refusal)))
    given = dict(FIRST)

    def ask(control: QualityControl = quality, **changes) -> None:
        given.update(changes)
        ledger.ask(options(**given))
        adopt_settings(control, ledger)
        assert not adopt_settings(control, ledger), "all has been tried"

    return ask


def test_settings_and_a_stage_come_into_force_together(ask, segmentor, refusals):
    ask(short_side=96, use_pamr=True, pamr_steps=3)
    settings = segmentor.settings
    assert (settings.short_side, settings.use_pamr, settings.pamr.steps) == (96, True, 3)
    assert refusals == []


def test_a_stage_that_cannot_work_is_refused_without_the_others(ask, segmentor, refusals):
    ask(use_loftup=True, use_pamr=True, short_side=96)
    settings = segmentor.settings
    assert (settings.use_loftup, settings.use_pamr, settings.short_side) == (False, True, 96)
    assert len(refusals) == 1
    assert refusals[0].startswith("settings refused, back to use_loftup=False: WeightsError: ")


def test_settings_that_a_level_does_not_allow_do_not_cost_the_budget(quality, ask, refusals):
    ask(latency_budget_ms=3000.0)
    ask(crop=160)
    assert (quality.state.budget_ms, quality.base.crop) == (3000.0, 224)
    assert len(refusals) == 1
    assert refusals[0].startswith("settings refused, back to crop=224: ValueError: quality level")


def test_such_settings_and_the_end_of_the_budget_come_together(quality, ask, refusals):
    ask(latency_budget_ms=3000.0)
    ask(crop=160, latency_budget_ms=0.0)
    assert (quality.state.budget_ms, quality.base.crop) == (0.0, 160)
    ask(crop=224, latency_budget_ms=3000.0)
    assert (quality.state.budget_ms, quality.base.crop) == (3000.0, 224)
    assert refusals == []


def test_a_budget_whose_level_cannot_be_prepared_is_refused_alone(segmentor, ask, refusals):
    quality = QualityControl(segmentor, parse_ladder({"levels": [FULL, ENLARGED]}))
    ask(quality, latency_budget_ms=3000.0, use_pamr=True)
    assert quality.state.budget_ms == 0.0 and segmentor.settings.use_pamr
    assert len(refusals) == 1
    assert refusals[0].startswith("latency budget refused, back to latency_budget_ms=0.0: ")
    assert ABSENT in refusals[0]


def test_a_simpler_stage_is_warned_of_once(segmentor, quality, capfd):
    ledger = Ledger(options(**FIRST), print)
    vocabularies = VocabularyServer(
        lambda asked, wanted: segmentor.vocabulary(asked.classes), ledger)
    pipeline = FramePipeline(segmentor, quality, vocabularies, [], ledger, Clock(),
                             rclpy.logging.get_logger("pipeline"))

    def warnings(**values) -> int:
        ledger.ask(options(**{**FIRST, **values}))
        pipeline.idle()
        return capfd.readouterr().err.count("a simpler stage stands in: loftup -> bilinear")

    with_fallback = {"use_loftup": True, "loftup_allow_fallback": True}
    assert warnings(**with_fallback) == 1
    assert warnings(**with_fallback, probability_threshold=0.2) == 0
    assert warnings(**with_fallback, use_pamr=True) == 0
    assert warnings() == 0
    assert warnings(**with_fallback) == 1
    assert vocabularies.stop(20.0)
