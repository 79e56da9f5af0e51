"""Recorded calls: kept where faster, given up aloud, never used for what was not recorded."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor, replay
from sclip_seg_ros.segmentation.replay import Replayed


def doubled(argument: Tensor) -> Tensor:
    return 2 * argument


@pytest.fixture
def recorder(monkeypatch):
    """Stand in for the GPU: say what capturing gives, and which way is faster."""
    replays = []

    def capture(call, argument):
        def run(argument: Tensor) -> Tensor:
            replays.append(tuple(argument.shape))
            return call(argument)
        return run

    times = {"eager": 10.0, "graph": 5.0}
    monkeypatch.setattr(replay, "capture", capture)
    monkeypatch.setattr(replay, "milliseconds", lambda call, argument: times[
        "eager" if call is doubled else "graph"])
    return replays, times


def test_a_faster_recording_is_replayed_for_its_own_shape_alone(recorder):
    replays, _ = recorder
    call = Replayed(doubled, lambda: 0)
    call.record(torch.ones(2, 3))
    for shape in ((2, 3), (3, 3), (2, 3)):
        assert torch.equal(call(torch.ones(shape)), torch.full(shape, 2.0))
    assert replays == [(2, 3), (2, 3)]
    call(torch.ones(2, 3, dtype=torch.float64))
    assert len(replays) == 2


def test_a_recording_that_is_no_faster_is_dropped(recorder, caplog):
    replays, times = recorder
    times["graph"] = 9.9
    call = Replayed(doubled, lambda: 0)
    with caplog.at_level(logging.INFO, logger=replay.__name__):
        call.record(torch.ones(2))
    assert torch.equal(call(torch.ones(2)), torch.full((2,), 2.0))
    assert replays == []
    assert "10.00 ms launched one by one, 9.90 ms as a CUDA graph, which is dropped" in caplog.text


def test_moved_weights_end_a_recording_until_it_is_made_again(recorder):
    replays, _ = recorder
    version = [0]
    call = Replayed(doubled, lambda: version[0])
    call.record(torch.ones(2))
    call(torch.ones(2))
    version[0] += 1
    call(torch.ones(2))
    assert len(replays) == 1
    call.record(torch.ones(2))
    call(torch.ones(2))
    assert len(replays) == 2


def test_what_cannot_be_recorded_is_run_as_before_and_reported(monkeypatch, caplog):
    def broken(call, argument):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(replay, "capture", broken)
    call = Replayed(doubled, lambda: 0)
    call.record(torch.ones(2))
    assert torch.equal(call(torch.ones(2)), torch.full((2,), 2.0))
    assert call.failure == "operation not permitted when stream is capturing"
    assert "launched one by one" in caplog.text


def test_warming_up_a_cpu_changes_no_label():
    segmentor = SCLIPSegmentor(short_side=48, crop=32, stride=16)
    words = segmentor.vocabulary(["floor", "wall", "chair"])
    image = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8,
                          generator=torch.Generator().manual_seed(0))
    before = segmentor.predict_dense(image, words)
    segmentor.warm_up([(48, 64), (64, 48)], words)
    assert torch.equal(segmentor.predict_dense(image, words).scores, before.scores)
    assert segmentor.fallbacks == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_labels_the_same_before_and_after_warm_up_and_a_release():
    segmentor = SCLIPSegmentor(device="cuda", short_side=48, crop=32, stride=16)
    words = segmentor.vocabulary(["floor", "wall", "chair"])
    image = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8)
    before = segmentor.predict_dense(image, words).scores
    segmentor.warm_up([(48, 64)], words)
    assert segmentor.fallbacks == ()
    torch.testing.assert_close(segmentor.predict_dense(image, words).scores, before, atol=2e-3,
                               rtol=0)
    segmentor.release()
    segmentor.restore()
    torch.testing.assert_close(segmentor.predict_dense(image, words).scores, before, atol=2e-3,
                               rtol=0)
