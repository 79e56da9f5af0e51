"""Settings and budget come into force between two frames, each stage for itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import rclpy.logging
from options import options
from rclpy.clock import Clock

from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.frames.pipeline import FramePipeline
from sclip_seg_ros.ros.frames.settings_change import adopt_settings
from sclip_seg_ros.ros.frames.tower import Tower
from sclip_seg_ros.ros.frames.tracker import Tracker
from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer
from sclip_seg_ros.ros.frames.weights_loader import WeightsLoader
from sclip_seg_ros.ros.parameters.groups import BUDGET, STAGES
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.segmentation import SCLIPSegmentor

FULL, NO_OVERLAP = {"name": "full"}, {"name": "no-overlap", "stride": 224}
ENLARGED = {"name": "enlarged", "use_loftup": True}
ABSENT = "/absent/no-such-weights.pt"
PATIENCE = 60.0
FIRST = {"inference": "slide", "short_side": 64, "loftup.source": ABSENT}


def finish(adopt: Callable[[], object], ledger: Ledger) -> None:
    """Adopt until nothing waits for weights any more."""
    deadline = time.monotonic() + PATIENCE
    while any(ledger.untried(part) for part in (*STAGES, BUDGET)):
        assert time.monotonic() < deadline, "the weights never came"
        adopt()
        time.sleep(0.01)


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
def ledger(refusals):
    return Ledger(options(**FIRST), lambda refusal: refusals.append(str(refusal)))


@pytest.fixture
def adopt(segmentor, ledger, quality):
    """Return a function that does between two frames what a node does there."""
    loader = WeightsLoader(segmentor.upsamplers)
    return lambda control=quality: adopt_settings(control, ledger, loader)


@pytest.fixture
def ask(quality, ledger, adopt):
    """Return a function that changes parameters and has them taken over."""
    given = dict(FIRST)

    def ask(control: QualityControl = quality, **changes) -> None:
        given.update(changes)
        ledger.ask(options(**given))
        finish(lambda: adopt(control), ledger)
        assert not adopt(control), "all has been tried"

    return ask


def test_settings_and_a_stage_come_into_force_together(ask, quality, refusals):
    ask(short_side=96, use_tlp=True, **{"tlp.steps": 3})
    settings = quality.pipeline.settings
    assert (settings.short_side, settings.use_tlp, settings.tlp.steps) == (96, True, 3)
    assert refusals == []


def test_a_stage_that_cannot_work_is_refused_without_the_others(ask, quality, refusals):
    ask(use_loftup=True, use_pamr=False, short_side=96)
    settings = quality.pipeline.settings
    assert (settings.use_loftup, settings.use_pamr, settings.short_side) == (False, False, 96)
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
    ask(quality, latency_budget_ms=3000.0, use_pamr=False)
    assert quality.state.budget_ms == 0.0 and not quality.pipeline.settings.use_pamr
    assert len(refusals) == 1
    assert refusals[0].startswith("latency budget refused, back to latency_budget_ms=0.0: ")
    assert ABSENT in refusals[0]


EMBEDDED_LOFTUP = {**FIRST, "loftup.source": "embedded"}


def test_only_the_stage_whose_weights_are_on_their_way_waits(quality, ledger, adopt,
                                                              slow_weights, refusals):
    ledger.ask(options(**EMBEDDED_LOFTUP, use_loftup=True, use_pamr=False))
    assert adopt()
    for _ in range(3):
        assert not adopt()
        settings = quality.pipeline.settings
        assert (settings.use_loftup, settings.use_pamr) == (False, False)
    slow_weights.set()
    finish(adopt, ledger)
    assert quality.pipeline.settings.use_loftup and slow_weights.times == 1 and refusals == []
    ledger.ask(options(**EMBEDDED_LOFTUP))
    assert adopt() and not quality.pipeline.settings.use_loftup
    ledger.ask(options(**EMBEDDED_LOFTUP, use_loftup=True))
    assert adopt() and quality.pipeline.settings.use_loftup, "the weights have stayed"
    assert slow_weights.times == 1


def test_weights_that_nobody_asks_for_any_more_change_nothing(quality, ledger, adopt,
                                                               slow_weights):
    ledger.ask(options(**EMBEDDED_LOFTUP, use_loftup=True))
    adopt()
    ledger.ask(options(**EMBEDDED_LOFTUP))
    adopt()
    slow_weights.set()
    assert not adopt() and not quality.pipeline.settings.use_loftup
    ledger.ask(options(**EMBEDDED_LOFTUP, use_loftup=True))
    finish(adopt, ledger)
    assert quality.pipeline.settings.use_loftup


def test_a_budget_waits_for_the_weights_of_its_levels(segmentor, ledger, adopt, slow_weights):
    quality = QualityControl(segmentor, parse_ladder({"levels": [ENLARGED, FULL]}))
    quality.configure(options(**EMBEDDED_LOFTUP).settings, 0.0)
    ledger.ask(options(**EMBEDDED_LOFTUP, latency_budget_ms=3000.0, use_pamr=False))
    adopt(quality)
    assert quality.state.budget_ms == 0.0 and not quality.pipeline.settings.use_pamr
    slow_weights.set()
    finish(lambda: adopt(quality), ledger)
    assert quality.state.names == ("enlarged", "full") and quality.state.budget_ms == 3000.0


def test_parts_that_need_the_same_weights_on_other_terms_do_not_hinder_each_other(
        segmentor, ledger, adopt, slow_weights):
    """The stage may fall back, the budget's level, which is tried for itself, may not."""
    quality = QualityControl(segmentor, parse_ladder({"levels": [ENLARGED, FULL]}))
    quality.configure(options(**FIRST).settings, 0.0)
    ledger.ask(options(**FIRST, use_loftup=True, latency_budget_ms=3000.0,
                       **{"loftup.allow_fallback": True}))
    for _ in range(10):
        adopt(quality)
    assert slow_weights.times == 2
    slow_weights.set()
    finish(lambda: adopt(quality), ledger)
    assert quality.pipeline.fallbacks == ("loftup -> bilinear",) and slow_weights.times == 2


def test_missing_weights_are_not_looked_for_with_every_change(segmentor, quality, ask,
                                                              monkeypatch):
    looked, load = [], segmentor.upsamplers.load
    monkeypatch.setattr(segmentor.upsamplers, "load", lambda settings: looked.append(1)
                        or load(settings))
    ask(use_loftup=True, **{"loftup.allow_fallback": True})
    ladder = parse_ladder({"levels": [FULL, {"name": "no-loftup", "use_loftup": False}]})
    base, quality = quality.base, QualityControl(segmentor, ladder)
    quality.configure(base, 0.0)
    ask(quality, latency_budget_ms=3000.0)
    ask(quality, probability_threshold=0.2)
    assert len(looked) == 1 and quality.state.names == ("full", "no-loftup")
    ask(quality, use_loftup=False)
    ask(quality, use_loftup=True)
    assert len(looked) == 2, "they may be there by now"


def test_a_simpler_stage_is_warned_of_once(segmentor, quality, capfd):
    ledger = Ledger(options(**FIRST), print)
    vocabularies = VocabularyServer(
        lambda asked, wanted: segmentor.vocabulary(asked.classes), ledger)
    pipeline = FramePipeline(segmentor, quality, vocabularies, [], ledger, Clock(),
                             rclpy.logging.get_logger("pipeline"),
                             Tracker(quality, Tower(segmentor.device, 1), 1))

    def warnings(**values) -> int:
        ledger.ask(options(**{**FIRST, **values}))
        finish(pipeline.idle, ledger)
        pipeline.idle()
        return capfd.readouterr().err.count("a simpler stage stands in: loftup -> bilinear")

    with_fallback = {"use_loftup": True, "loftup.allow_fallback": True}
    assert warnings(**with_fallback) == 1
    assert warnings(**with_fallback, probability_threshold=0.2) == 0
    assert warnings(**with_fallback, use_pamr=False) == 0
    assert warnings() == 0
    assert warnings(**with_fallback) == 1
    assert vocabularies.stop(20.0)
