"""Levels are measured once, and the measurements carried to images of other sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sclip_seg_ros.latency.level_measurements import (
    LevelMeasurements,
    Measurement,
    PreparedLevel,
)
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def segmentor():
    return SCLIPSegmentor("embedded", short_side=96, inference="whole")


@pytest.fixture
def vocabulary(segmentor):
    return segmentor.vocabulary(["floor", "wall"])


@pytest.fixture
def levels(segmentor):
    """Return a level that works on images of up to 96 rows as they are, and one of up to 48."""
    base = segmentor.settings
    return [PreparedLevel("full", segmentor.prepare(base)),
            PreparedLevel("small", segmentor.prepare(base.with_changes(short_side=48)))]


@pytest.fixture
def measurements():
    return LevelMeasurements()


def test_a_measurement_grows_with_the_images_area_stage_by_stage():
    measured = Measurement(100.0, {"encode": 50.0, "decode": 20.0}, 2, (1000, 500))
    larger = measured.scaled((4000, 1000))
    assert larger.stage_ms == {"encode": 100.0, "decode": 80.0}
    assert larger.total_ms == 180.0 + 30.0  # what no stage accounts for does not depend on it


def test_each_level_grows_by_the_size_it_works_at_itself(measurements, levels, vocabulary):
    assert measurements.warm_up(levels, IMAGE, vocabulary) == 2
    growth = []
    for level in levels:
        measured, expected = (measurements.expected(level, sizes) for sizes in ((), [(96, 128)]))
        growth.append({stage: round(expected.stage_ms[stage] / measured.stage_ms[stage])
                       for stage in ("encode", "decode")})
    assert growth == [{"encode": 4, "decode": 4}, {"encode": 1, "decode": 4}]


def test_several_images_cost_what_they_cost_together(measurements, levels, vocabulary):
    measurements.warm_up(levels, IMAGE, vocabulary)
    one, three = (measurements.expected(levels[0], [IMAGE.shape[:2]] * count) for count in (1, 3))
    assert three.stage_ms["encode"] == pytest.approx(3 * one.stage_ms["encode"])


def test_what_was_measured_is_not_measured_again(measurements, levels, vocabulary):
    assert not measurements.complete(levels) and measurements.expected(levels[0]) is None
    assert measurements.warm_up(levels[1:], IMAGE, vocabulary) == 1
    assert not measurements.complete(levels)
    assert measurements.warm_up(levels, IMAGE, vocabulary) == 1
    assert measurements.complete(levels)
    measurements.forget()
    assert measurements.expected(levels[0]) is None


def test_a_warm_up_alone_measures_nothing(measurements, levels, vocabulary):
    assert measurements.warm_up(levels, IMAGE, vocabulary, measure=False) == 0
    assert measurements.expected(levels[0]) is None


def test_a_level_that_fails_is_remembered_by_what_it_costs(measurements, segmentor, levels,
                                                           vocabulary, monkeypatch):
    def predict(pipeline, *arguments):
        if pipeline.settings.short_side == 96:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return label(pipeline, *arguments)

    label = Pipeline.predict
    monkeypatch.setattr(Pipeline, "predict", predict)
    assert measurements.warm_up(levels, IMAGE, vocabulary) == 1
    assert measurements.unusable == {"full": "CUDA out of memory"}
    assert measurements.usable(levels) == levels[1:]
    stricter = levels[0].pipeline.settings.with_changes(probability_threshold=0.5)
    alone = [PreparedLevel("full", segmentor.prepare(stricter))]
    assert measurements.usable([*alone, levels[1]]) == levels[1:]
    assert measurements.usable(alone) == alone, "better one that may fail than none"
    measurements.forget()
    assert measurements.usable(levels) == levels
