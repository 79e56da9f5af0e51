"""Recorded calls: kept where faster, given up aloud, never used for what was not recorded."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from contextlib import suppress

import pytest
import torch
from torch import Tensor

from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones import cuda_graphs as replay
from sclip_seg_ros.segmentation.backbones.attention import neighbourhood_bias
from sclip_seg_ros.segmentation.backbones.backbone import Place
from sclip_seg_ros.segmentation.backbones.cuda_graphs import Replayed

SMALL = {"inference": "slide", "short_side": 48, "crop": 32, "stride": 16}
PLACE = Place()
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


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
        "graph" if call.__name__ == "run" else "eager"])
    return replays, times


def test_a_faster_recording_is_replayed_for_its_own_shape_alone(recorder):
    replays, _ = recorder
    call = Replayed(doubled, lambda: PLACE)
    call.record(torch.ones(2, 3))
    for shape in ((2, 3), (3, 3), (2, 3)):
        assert torch.equal(call(torch.ones(shape)), torch.full(shape, 2.0))
    assert replays == [(2, 3), (2, 3)]
    call(torch.ones(2, 3, dtype=torch.float64))
    assert len(replays) == 2


def test_a_recording_that_is_no_faster_is_dropped(recorder, caplog):
    replays, times = recorder
    times["graph"] = 9.9
    call = Replayed(doubled, lambda: PLACE)
    with caplog.at_level(logging.INFO, logger=replay.__name__):
        call.record(torch.ones(2))
    assert torch.equal(call(torch.ones(2)), torch.full((2,), 2.0))
    assert replays == []
    assert "10.00 ms launched one by one, 9.90 ms as a CUDA graph, which is dropped" in caplog.text


def test_moved_weights_end_a_recording_until_it_is_made_again(recorder):
    replays, _ = recorder
    place = [Place()]
    call = Replayed(doubled, lambda: place[0])
    call.record(torch.ones(2))
    call(torch.ones(2))
    place[0] = Place()
    call(torch.ones(2))
    assert len(replays) == 1
    call.record(torch.ones(2))
    call(torch.ones(2))
    assert len(replays) == 2


def test_moved_weights_take_the_memory_of_their_recordings_along(recorder, monkeypatch):
    def capture(call, argument):
        output = call(argument)
        held.append(weakref.ref(output))

        def run(argument: Tensor) -> Tensor:
            return output
        return run

    held: list[weakref.ref] = []
    monkeypatch.setattr(replay, "capture", capture)
    segmentor = SCLIPSegmentor(**SMALL)
    scorer = segmentor.prepare(segmentor.settings).scorer  # not in use, as a quality level's
    scorer.record(torch.rand(1, 3, 32, 32))
    gc.collect()
    assert held[0]() is not None
    segmentor.release()
    assert held[0]() is None


def test_of_many_recordings_those_used_last_are_kept(recorder, monkeypatch):
    monkeypatch.setattr(replay, "MOST", 3)
    replays, _ = recorder
    call = Replayed(doubled, lambda: PLACE)
    for length in (1, 2, 3):
        call.record(torch.ones(length))
    call(torch.ones(1))
    call.record(torch.ones(4))
    replays.clear()
    for length in (1, 2, 3, 4):
        assert call(torch.ones(length)).tolist() == [2.0] * length
    assert replays == [(1,), (3,), (4,)]


def test_threads_share_a_recording_one_after_the_other(monkeypatch):
    together, places = threading.Barrier(2), []

    def capture(call, argument):
        source = argument.clone()

        def run(argument: Tensor) -> Tensor:
            source.copy_(argument)
            with suppress(threading.BrokenBarrierError):
                together.wait(0.1)  # in which another thread may bring its input
            return call(source)
        return run

    monkeypatch.setattr(replay, "capture", capture)
    monkeypatch.setattr(replay, "milliseconds", lambda call, argument: call.__name__ == "doubled")
    call = Replayed(doubled, lambda: PLACE)
    call.record(torch.ones(2))
    inputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    threads = [threading.Thread(target=lambda row=row: places.append((row, call(row))))
               for row in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found, 2 * row) for row, found in places) and len(places) == 2


def test_settings_that_run_the_tower_alike_share_its_recordings(recorder):
    replays, _ = recorder
    segmentor = SCLIPSegmentor(**SMALL)
    windows, words = torch.rand(1, 3, 32, 32), segmentor.vocabulary(["floor", "wall"])
    segmentor.prepare(segmentor.settings).scorer.record(windows)

    def replayed(**changes) -> int:
        before = len(replays)
        scorer = segmentor.prepare(segmentor.settings.with_changes(**changes)).scorer
        scorer.dense(windows, words.embeddings, Stopwatch())
        return len(replays) - before

    assert replayed(use_pamr=False, probability_threshold=0.3, inference="whole") == 1
    assert replayed(naclip_sigma=2.0) == 1, "without effect on SCLIP's rule"
    assert replayed(attention="naclip") == replayed(residual=False) == 0


def test_a_recording_keeps_what_it_reads(recorder):
    segmentor = SCLIPSegmentor(attention="naclip", **SMALL)
    scorer = segmentor.prepare(segmentor.settings).scorer
    scorer.record(torch.rand(1, 3, 32, 32))
    grid, sigma = segmentor.backbone.grid(32, 32), segmentor.settings.naclip_sigma
    bias = weakref.ref(neighbourhood_bias(*grid, sigma, torch.device("cpu")))
    for side in range(40, 80):  # more grids than are remembered
        neighbourhood_bias(side, 1, sigma, torch.device("cpu"))
    gc.collect()
    assert bias() is not None
    segmentor.release()
    assert bias() is None


def test_what_cannot_be_recorded_is_run_as_before_and_reported(monkeypatch, caplog):
    def broken(call, argument):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(replay, "capture", broken)
    call = Replayed(doubled, lambda: PLACE)
    call.record(torch.ones(2))
    assert torch.equal(call(torch.ones(2)), torch.full((2,), 2.0))
    assert call.failure == "operation not permitted when stream is capturing"
    assert "launched one by one" in caplog.text


def test_two_threads_do_not_record_at_once(recorder, monkeypatch):
    together, met = threading.Barrier(2), []

    def capture(call, argument):
        try:
            met.append(together.wait(0.2))
        except threading.BrokenBarrierError:  # nobody else came
            return call

    monkeypatch.setattr(replay, "capture", capture)
    calls = [Replayed(doubled, lambda: PLACE) for _ in range(2)]
    threads = [threading.Thread(target=call.record, args=(torch.ones(2),)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together.broken and not met


def test_memory_is_given_back_once_a_recording_is_over(recorder, monkeypatch):
    events, begun = [], threading.Event()

    def capture(call, argument):
        begun.set()
        giving.join(0.2)
        events.append("recorded")
        return call

    monkeypatch.setattr(replay, "capture", capture)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("given back"))
    giving = threading.Thread(target=lambda: (begun.wait(), replay.give_back_device_memory()))
    giving.start()
    Replayed(doubled, lambda: PLACE).record(torch.ones(2))
    giving.join()
    assert events == ["recorded", "given back"]


@pytest.mark.parametrize("name", replay._END_ALLOCATION)
def test_the_memory_of_a_failed_recording_is_given_up_in_any_torch(monkeypatch, name):
    done = []
    for other in replay._END_ALLOCATION:
        monkeypatch.delattr(torch._C, other, raising=False)
    for own in (name, "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, own, lambda *where, own=own: done.append((own, *where)),
                            raising=False)
    replay._end_allocation(0, (0, 7))
    assert done == [(name, 0, (0, 7)), ("_cuda_releasePool", 0, (0, 7))]


def test_warming_up_a_cpu_changes_no_label():
    segmentor = SCLIPSegmentor(**SMALL)
    words = segmentor.vocabulary(["floor", "wall", "chair"])
    image = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8,
                          generator=torch.Generator().manual_seed(0))
    before = segmentor.predict_dense(image, words)
    segmentor.warm_up([(48, 64), (64, 48)], words)
    assert torch.equal(segmentor.predict_dense(image, words).scores, before.scores)
    assert segmentor.fallbacks == ()


@needs_cuda
def test_a_gpu_labels_the_same_before_and_after_warm_up_and_a_release():
    segmentor = SCLIPSegmentor(device="cuda", **SMALL)
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


@needs_cuda
def test_a_graph_is_recorded_while_another_thread_encodes_words():
    segmentor = SCLIPSegmentor(device="cuda", **SMALL)
    words = segmentor.vocabulary(["floor", "wall", "chair"])
    over, errors, encoded = threading.Event(), [], []

    def encode() -> None:
        try:
            while not over.is_set():
                encoded.append(segmentor.text.encode([f"thing {len(encoded)}"]))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    try:
        while not encoded and thread.is_alive():
            over.wait(0.01)
        for _ in range(5):
            segmentor.backbone.place = Place()  # as if moved: nothing is recorded
            segmentor.warm_up([(48, 64)], words)
            assert segmentor.fallbacks == ()
    finally:
        over.set()
        thread.join()
    assert not errors


@needs_cuda
def test_a_failed_recording_leaves_stream_and_memory_as_they_were(caplog):
    before = torch.cuda.current_stream()
    call = Replayed(lambda argument: argument * argument.sum().item(), lambda: PLACE)
    call.record(torch.ones(2, device="cuda"))
    assert call.failure
    assert torch.cuda.current_stream() == before
    torch.cuda.empty_cache()
    assert call(torch.ones(2, device="cuda")).tolist() == [2.0, 2.0]


@needs_cuda
def test_a_released_segmentor_leaves_nothing_on_a_gpu():
    gc.collect()
    before = torch.cuda.memory_allocated()
    segmentor = SCLIPSegmentor(device="cuda", use_densecrf=True, attention="naclip", **SMALL)
    words = ["floor", "wall", "chair"]
    segmentor.warm_up([(48, 64)], segmentor.vocabulary(words))
    segmentor.release()
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()  # CUDA's own
    assert torch.cuda.memory_allocated() <= before
