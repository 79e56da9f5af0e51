"""A segmentor is moved along the ladder, at the best level that its budget allows."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline

LADDER = parse_ladder({"levels": [
    {"name": "full"}, {"name": "pamr-2", "pamr.steps": 2}, {"name": "plain", "use_pamr": False},
    {"name": "small", "use_pamr": False, "inference": "whole", "short_side": 48}]})
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
AMPLE, NOT_ENOUGH = 1e5, 1e-3  # milliseconds


@pytest.fixture
def segmentor():
    """The best level takes twenty times the cheapest, so that no noise makes it look cheaper."""
    return SCLIPSegmentor("embedded", inference="slide", short_side=96, crop=64, stride=32,
                          use_pamr=True, pamr__steps=60, pamr__resolution=1.0)


@pytest.fixture
def vocabulary(segmentor):
    return segmentor.vocabulary(["floor", "wall"])


@pytest.fixture
def quality(segmentor, vocabulary):
    quality = QualityControl(segmentor, LADDER)
    quality.configure(segmentor.settings, AMPLE)
    assert quality.needs_warm_up
    assert quality.warm_up(IMAGE, vocabulary) == 4
    return quality


def frame(quality, segmentor, vocabulary, arrived=None):
    """Label one frame as the node does; return its result."""
    arrived = time.monotonic() if arrived is None else arrived
    quality.begin([IMAGE.shape[:2]], vocabulary)
    deadline = quality.deadline(arrived)
    results = quality.pipeline.predict([IMAGE], vocabulary, deadline)
    quality.end((time.monotonic() - arrived) * 1e3, results, tail_ms=1.0)
    return results[0]


def test_without_a_budget_the_settings_hold_as_they_are(segmentor, vocabulary):
    quality = QualityControl(segmentor, LADDER)
    base = segmentor.settings
    result = frame(quality, segmentor, vocabulary)
    assert quality.pipeline.settings == base and quality.state.names == ("full",)
    assert result.iterations == {"pamr": 60}
    assert quality.deadline(0.0) is None and not quality.needs_warm_up


def test_an_ample_budget_leaves_the_best_level(quality, segmentor, vocabulary):
    base = segmentor.settings
    for _ in range(3):
        frame(quality, segmentor, vocabulary)
    assert (quality.state.level, quality.state.name, quality.state.changes) == (0, "full", 0)
    assert quality.pipeline.settings == base and not quality.state.hopeless


def test_quality_comes_back_with_the_budget(quality, segmentor, vocabulary):
    quality.configure(quality.base, NOT_ENOUGH)
    frame(quality, segmentor, vocabulary)
    quality.configure(quality.base, AMPLE)
    frame(quality, segmentor, vocabulary)
    assert quality.state.level == 0 and quality.pipeline.settings == quality.base


def test_every_change_of_level_is_counted_whatever_it_came_from(quality, segmentor, vocabulary):
    for changes, budget_ms in enumerate((AMPLE, NOT_ENOUGH, AMPLE)):
        quality.configure(quality.base, budget_ms)
        frame(quality, segmentor, vocabulary)
        assert quality.state.changes == changes


@pytest.fixture
def pace(segmentor, monkeypatch):
    """Simulated time: the clock, and by how many times frames are slower than at the warm-up."""
    pace, label = SimpleNamespace(now=0.0, load=1.0), Pipeline.predict

    def predict(pipeline, images, vocabulary, keep_going=None):
        settings = pipeline.settings
        stages = {"encode": 10.0 if settings.inference == "slide" else 4.0,
                  "pamr": 6.0 * min(settings.pamr.steps, 6) if settings.use_pamr else 0.0}
        stages = {stage: pace.load * ms for stage, ms in stages.items()}
        pace.now += 1e-3 * sum(stages.values())
        return [replace(result, stage_ms=stages) for result in label(pipeline, images, vocabulary)]

    monkeypatch.setattr(Pipeline, "predict", predict)
    return pace


@pytest.fixture
def loaded(pace, segmentor, vocabulary):
    """A node's quality after ten frames of 138 ms, which took 46 ms at the warm-up."""
    quality = QualityControl(segmentor, LADDER, clock=lambda: pace.now)
    quality.configure(segmentor.settings, 200.0)
    quality.warm_up(IMAGE, vocabulary)
    pace.load = 3.0
    assert simulated_frames(10, quality, segmentor, vocabulary, pace) == ["full"] * 10
    return quality


def simulated_frames(count, quality, segmentor, vocabulary, pace):
    """Label frames in simulated time; return the levels they were labelled at."""
    names = []
    for _ in range(count):
        arrived = pace.now
        quality.begin([IMAGE.shape[:2]], vocabulary)
        results = quality.pipeline.predict([IMAGE], vocabulary)
        quality.end((pace.now - arrived) * 1e3, results, tail_ms=0.0)
        names.append(quality.state.name)
    return names


def test_a_budget_out_of_reach_leads_to_the_cheapest_level_at_once(pace, segmentor, vocabulary):
    quality = QualityControl(segmentor, LADDER, clock=lambda: pace.now)
    quality.configure(segmentor.settings, AMPLE)
    quality.warm_up(IMAGE, vocabulary)
    quality.configure(quality.base, 3.0)  # the cheapest takes 4 ms
    assert simulated_frames(1, quality, segmentor, vocabulary, pace) == ["small"]
    assert quality.state.hopeless
    assert not quality.pipeline.settings.use_pamr


def test_another_budget_is_met_by_what_frames_cost_under_the_present_load(
        loaded, segmentor, vocabulary, pace):
    loaded.configure(loaded.base, 100.0)
    assert simulated_frames(1, loaded, segmentor, vocabulary, pace) == ["pamr-2"]  # 66 ms
    loaded.configure(loaded.base, 200.0)
    assert simulated_frames(1, loaded, segmentor, vocabulary, pace) == ["full"]


def test_another_threshold_does_not_make_the_load_forgotten(loaded, segmentor, vocabulary, pace):
    loaded.configure(loaded.base, 100.0)
    simulated_frames(1, loaded, segmentor, vocabulary, pace)
    loaded.configure(loaded.base.with_changes(probability_threshold=0.5), 100.0)
    assert simulated_frames(3, loaded, segmentor, vocabulary, pace) == ["pamr-2"] * 3
    assert loaded.pipeline.settings.probability_threshold == 0.5 and loaded.state.changes == 1


def test_only_what_changes_the_cost_is_measured_again(quality, vocabulary):
    quality.configure(quality.base.with_changes(probability_threshold=0.5, logit_scale=30.0), AMPLE)
    assert not quality.needs_warm_up
    quality.configure(quality.base.with_changes(pamr__steps=9), AMPLE)
    assert quality.needs_warm_up
    assert quality.warm_up(IMAGE, vocabulary) == 1  # the other levels have their own steps, or none
    quality.configure(quality.base.with_changes(short_side=80), AMPLE)
    assert quality.warm_up(IMAGE, vocabulary) == 3


def test_a_warm_up_that_takes_too_long_is_not_begun_again(segmentor, vocabulary):
    seconds = itertools.count(step=10.0)
    quality = QualityControl(segmentor, LADDER, clock=lambda: next(seconds))
    quality.configure(segmentor.settings, AMPLE)
    assert 0 < quality.warm_up(IMAGE, vocabulary) < 4
    assert not quality.needs_warm_up  # or each frame would wait for the next part of it
    quality.begin([IMAGE.shape[:2]], vocabulary)
    assert quality.state.level in range(4)


def test_a_level_that_cannot_run_is_left_out(segmentor, vocabulary, monkeypatch):
    def predict(pipeline, images, vocabulary, keep_going=None):
        if pipeline.settings.use_pamr:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return label(pipeline, images, vocabulary, keep_going)

    label = Pipeline.predict
    monkeypatch.setattr(Pipeline, "predict", predict)
    quality = QualityControl(segmentor, LADDER)
    quality.configure(segmentor.settings, AMPLE)
    assert quality.warm_up(IMAGE, vocabulary) == 2
    assert quality.unusable == {"full": "CUDA out of memory", "pamr-2": "CUDA out of memory"}
    frame(quality, segmentor, vocabulary)
    assert quality.state.names == ("plain", "small") and quality.state.name == "plain"
    quality.configure(quality.base.with_changes(probability_threshold=0.5), AMPLE)
    assert not quality.needs_warm_up, "another threshold does not make it fit"
    quality.forget()
    monkeypatch.undo()
    assert quality.state.names == ("full", "pamr-2", "plain", "small")
    assert quality.warm_up(IMAGE, vocabulary) == 4 and quality.unusable == {}


def test_a_warm_up_without_any_level_that_runs_fails_once(segmentor, vocabulary, monkeypatch):
    def fail(pipeline, *arguments):
        raise torch.cuda.OutOfMemoryError(f"CUDA out of memory at {pipeline.settings.short_side}")

    quality = QualityControl(segmentor, LADDER)
    quality.configure(segmentor.settings, AMPLE)
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "predict", fail)
        # The best level, which is tried last.
        with pytest.raises(torch.cuda.OutOfMemoryError, match="at 96"):
            quality.warm_up(IMAGE, vocabulary)
    assert not quality.needs_warm_up, "or every frame would wait for it again"
    assert quality.state.names == ("full",)
    assert frame(quality, segmentor, vocabulary).iterations == {"pamr": 60}
    quality.configure(quality.base.with_changes(short_side=80), AMPLE)
    assert quality.needs_warm_up


def test_on_a_gpu_all_levels_are_warmed_up_for_the_camera_s_size(quality, segmentor, vocabulary,
                                                                 monkeypatch):
    warmed = []
    monkeypatch.setattr(
        Pipeline, "warm_up",
        lambda pipeline, sizes, words: warmed.append((pipeline.settings, list(sizes))))
    assert [quality.settle([(90, 160)], vocabulary) for _ in range(5)] == [False] * 5
    monkeypatch.setattr(Pipeline, "records", True)
    assert [quality.settle([(90, 160)], vocabulary) for _ in range(5)] \
        == [False, False, True, False, False]
    assert len({settings for settings, _ in warmed}) == len(quality.state.names) == len(warmed)
    assert all(sizes == [(90, 160)] for _, sizes in warmed)
    frame(quality, segmentor, vocabulary)
    assert quality.state.name == "full"


def test_refinement_stops_when_the_time_is_up(quality, segmentor, vocabulary):
    late = frame(quality, segmentor, vocabulary, arrived=time.monotonic() - AMPLE)
    assert late.iterations == {"pamr": 0}
    assert frame(quality, segmentor, vocabulary).iterations.get("pamr", 0) in (0, 2)  # lower level
    assert quality.state.level > 0


def test_a_level_that_cannot_work_is_refused_and_all_stays_as_it_was(segmentor):
    ladder = parse_ladder({"levels": [{"name": "full"}, {"name": "no-overlap", "stride": 224}]})
    quality = QualityControl(segmentor, ladder)
    base = segmentor.settings
    with pytest.raises(ValueError, match="'no-overlap' does not fit"):
        quality.configure(base.with_changes(short_side=80), 50.0)
    assert quality.pipeline.settings == base == quality.base and quality.state.budget_ms == 0.0


def test_dilations_may_come_as_a_list(segmentor, vocabulary):
    quality = QualityControl(segmentor, LADDER)
    quality.configure(segmentor.settings.with_changes(pamr__dilations=[4, 8]), AMPLE)
    assert quality.warm_up(IMAGE, vocabulary) == 4


def test_levels_share_one_network(quality, segmentor, vocabulary):
    tower = next(segmentor.backbone.visual.parameters()).data_ptr()
    for budget in (NOT_ENOUGH, AMPLE):
        quality.configure(quality.base, budget)
        frame(quality, segmentor, vocabulary)
        assert next(segmentor.backbone.visual.parameters()).data_ptr() == tower
