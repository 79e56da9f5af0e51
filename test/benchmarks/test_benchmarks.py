"""The benchmark: its plain form is the pipeline, and its figures are what they are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import measuring, report
from benchmarks.clocks import clock_of
from benchmarks.configurations import Configuration, Model, image, load
from benchmarks.matrix_rate import matrix_rate, tower_operations
from benchmarks.measuring import compare, own, peak
from benchmarks.reference import Reference
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones import cuda_graphs as replay
from sclip_seg_ros.segmentation.pipeline import Pipeline

CPU = torch.device("cpu")
SIZE = (240, 320)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("embedded", CPU)


@pytest.mark.parametrize("changes", [
    {"inference": "slide"}, {"inference": "whole"},
    {"use_densecrf": True, "crf__backend": "pydensecrf"}], ids=str)
def test_the_plain_form_labels_as_the_pipeline_does(model, changes):
    if changes.get("use_densecrf"):
        pytest.importorskip("pydensecrf", reason="pydensecrf is not installed")
    settings = SegmentorSettings(precision="fp32", use_pamr=False).with_changes(**changes)
    words, picture = model.words(20), image(*SIZE)
    model.plain.settings = settings
    expected = model.plain.segment(picture, words)
    plain = Reference(model.plain._model.clip, CPU, model.plain.pipeline.decided,
                      model.plain.logit_scale)
    labels, stages = plain(picture, words)
    assert np.mean(labels == expected) > 0.999
    assert len(np.unique(labels)) > 2
    assert list(stages)[:4] == ["preprocess", "encode", "similarity", "stitch"]
    assert ("densecrf" in stages) == settings.use_densecrf


def test_synonyms_share_a_label_in_the_plain_form(model):
    words = model.plain.vocabulary(["floor|red floor", "wall", "door|rug|lamp"])
    picture = image(*SIZE)
    model.plain.settings = SegmentorSettings(precision="fp32", use_pamr=False)
    plain = Reference(model.plain._model.clip, CPU, model.plain.pipeline.decided,
                      model.plain.logit_scale)
    assert np.mean(plain(picture, words)[0] == model.plain.segment(picture, words)) > 0.999


def test_a_configuration_s_figures_are_complete_and_fit_together(model):
    rates = {name: matrix_rate(CPU, name) for name in {"fp32", model.fast.precision}}
    row = compare(Configuration(size=SIZE, classes=8), model, 2, rates)
    wanted = {"device", "model", "size", "classes", "inference", "stage_ms", "total_ms", "fps",
              "peak_mb", "reference_total_ms", "ratio", "label_agreement"}
    assert wanted <= set(row)
    assert row["label_agreement"] > 0.99
    assert row["ratio_lowest"] <= row["ratio"] <= row["ratio_highest"]
    assert row["fps"] == pytest.approx(1e3 / row["total_ms"], rel=1e-2)
    assert min(row["ratio"], row["matrix_rate_share"], *row["stage_ms"].values()) > 0
    lines = report.table([row])
    assert len({len(line) for line in lines}) == 1
    assert "240x320" in lines[2]


def test_operations_are_those_of_all_windows_in_any_precision():
    windows = {"inference": "slide", "short_side": 336}
    plain, fast = (tower_operations(SCLIPSegmentor(precision=precision, **windows), (480, 640))
                   for precision in ("fp32", "bf16"))
    assert plain == fast
    one = tower_operations(SCLIPSegmentor(short_side=224), (224, 224))
    assert plain == 6 * one  # windows of 224 pixels every 112 in 336x448
    vit = tower_operations(SCLIPSegmentor("ViT-B/16", "random", short_side=224), (224, 224))
    assert vit == pytest.approx(2 * 17.6e9, rel=0.05)  # as published: 17.6 G multiply-adds


def test_several_cameras_are_measured_together(model):
    model.fast.settings = SegmentorSettings(precision=model.fast.precision)
    points = [{"cameras": count, **own(model.fast, [image(*SIZE)] * count, model.words(4), 1)}
              for count in (1, 2)]
    assert all(point["total_ms"] > 0 for point in points)
    assert [line.split("|")[1].strip() for line in report.curve_table("cameras", points)[2:]] == [
        "1", "2"]


def test_the_peak_is_what_a_call_takes_beyond_what_was_held():
    found = peak(lambda: torch.ones(64 << 18), CPU)
    if found is None:
        pytest.skip("this system does not tell a process's highest memory")
    assert 60 < found < 80


def test_a_frame_s_memory_is_measured_without_recordings_and_its_time_with_them(model, monkeypatch):
    replays, during = [], []

    def capture(call, argument):
        def run(argument):
            replays.append(argument.shape)
            return call(argument)
        return run

    def peak_during(work, device):
        before = len(replays)
        work()
        during.append(len(replays) - before)

    monkeypatch.setattr(replay, "capture", capture)
    monkeypatch.setattr(replay, "milliseconds", lambda call, argument: call.__name__ != "run")
    monkeypatch.setattr(Pipeline, "records", True)
    monkeypatch.setattr(measuring, "peak_during", peak_during)
    own(model.fast, [image(*SIZE)], model.words(4), 2)
    assert len(replays) == 3, "in the warm-up, and in two rounds"
    assert during == [0, 0]


def test_one_thread_is_timed_without_other_programs():
    assert torch.get_num_threads() == 1
    assert clock_of(CPU)[1] == "processor time of one thread"
