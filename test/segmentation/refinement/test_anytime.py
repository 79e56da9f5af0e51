"""Refinement that stops when the caller says so, and tells how far it came."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.pamr import pamr

CLASSES = ["floor", "wall", "chair", "table"]
SMALL = {"precision": "fp32", "inference": "slide", "short_side": 48, "crop": 32, "stride": 16}


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(**SMALL)


@pytest.fixture(scope="module")
def words(segmentor):
    return segmentor.vocabulary(CLASSES)


def picture(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Return coloured blocks with grain."""
    generator = np.random.default_rng(seed)
    blocks = np.kron(generator.integers(30, 226, (-(-height // 16), -(-width // 16), 3)),
                     np.ones((16, 16, 1)))[:height, :width]
    return (blocks + generator.integers(-20, 21, blocks.shape)).astype(np.uint8)


def allow(count: int):
    """Return a question that is answered with yes so many times."""
    left = [count]

    def keep_going(*_) -> bool:
        left[0] -= 1
        return left[0] >= 0

    keep_going.left = left
    return keep_going


def switch(segmentor, **changes) -> None:
    off = {"use_pamr": False, "use_densecrf": False}
    segmentor.settings = segmentor.settings.with_changes(**{**off, **changes})


def test_without_a_question_every_iteration_runs(segmentor, words):
    switch(segmentor, use_pamr=True, use_densecrf=True, pamr__steps=6, crf__iterations=3)
    assert segmentor.predict_dense(picture(), words).iterations == {"pamr": 6, "densecrf": 3}


def test_a_stage_that_is_off_counts_nothing(segmentor, words):
    switch(segmentor)
    assert segmentor.predict_dense(picture(), words).iterations == {}


@pytest.mark.parametrize("allowed", [0, 1, 3, 4, 9])
def test_pamr_stopped_after_n_iterations_equals_pamr_of_n(segmentor, words, allowed):
    switch(segmentor, use_pamr=True, pamr__steps=4)
    stopped = segmentor.predict_dense(picture(), words, keep_going=allow(allowed))
    assert stopped.iterations == {"pamr": min(allowed, 4)}
    switch(segmentor, use_pamr=True, pamr__steps=min(allowed, 4))
    expected = segmentor.predict_dense(picture(), words)
    assert torch.equal(stopped.scores, expected.scores)
    assert np.array_equal(stopped.labels, expected.labels)


@pytest.mark.parametrize("backend", ["lattice", "pydensecrf"])
@pytest.mark.parametrize("allowed", [1, 2, 9])
def test_densecrf_stopped_after_n_iterations_equals_densecrf_of_n(segmentor, words, backend,
                                                                  allowed):
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf", reason="pydensecrf is not installed")
    switch(segmentor, use_densecrf=True, crf__iterations=4, crf__backend=backend)
    stopped = segmentor.predict_dense(picture(), words, keep_going=allow(allowed))
    assert stopped.iterations == {"densecrf": min(allowed, 4)}
    switch(segmentor, use_densecrf=True, crf__iterations=min(allowed, 4))
    expected = segmentor.predict_dense(picture(), words)
    assert np.array_equal(stopped.labels, expected.labels)
    assert np.array_equal(stopped.confidence, expected.confidence)


def test_a_no_before_the_start_leaves_the_unrefined_labels(segmentor, words):
    switch(segmentor)
    plain = segmentor.predict_dense(picture(), words)
    switch(segmentor, use_pamr=True, use_densecrf=True)
    question = allow(0)
    stopped = segmentor.predict_dense(picture(), words, keep_going=question)
    assert stopped.iterations == {"pamr": 0, "densecrf": 0}
    assert question.left[0] == -2  # one question a stage, no more
    assert np.array_equal(stopped.labels, plain.labels)
    assert np.array_equal(stopped.confidence, plain.confidence)


def test_both_stages_share_what_is_allowed(segmentor, words):
    switch(segmentor, use_pamr=True, use_densecrf=True, pamr__steps=4, crf__iterations=5)
    result = segmentor.predict_dense(picture(), words, keep_going=allow(6))
    assert result.iterations == {"pamr": 4, "densecrf": 2}


def test_every_question_says_how_many_iterations_of_its_refinement_ran(segmentor, words):
    switch(segmentor, use_pamr=True, use_densecrf=True, pamr__steps=2, crf__iterations=3)
    asked = []
    segmentor.predict_batch([picture(), picture(seed=1)], words,
                            keep_going=lambda ran: asked.append(ran) is None)
    assert asked == [0, 1, *[0, 1, 2] * 2], "PAMR for both images together, the CRF for each"


def test_images_of_one_size_stop_together_and_each_says_how_far_it_came(segmentor, words):
    switch(segmentor, use_pamr=True, pamr__steps=5)
    images = [picture(seed=1), picture(64, 48, seed=2), picture(seed=3)]
    results = segmentor.predict_batch(images, words, keep_going=allow(3))
    assert [result.iterations["pamr"] for result in results] == [3, 0, 3]
    switch(segmentor, use_pamr=True, pamr__steps=3)
    for index in (0, 2):
        alone = segmentor.predict_dense(images[index], words)
        assert torch.allclose(results[index].scores, alone.scores, atol=1e-5)


def test_all_classes_stop_at_the_same_iteration():
    generator = torch.Generator().manual_seed(0)
    image, scores = torch.rand(1, 3, 9, 12, generator=generator), torch.rand(1, 3, 9, 12)
    stopped = pamr(image, scores, 6, (2,), keep_going=allow(2))
    assert torch.equal(stopped, pamr(image, scores, 2, (2,)))


def test_asking_ahead_asks_once_for_the_first_iteration():
    question = allow(2)
    progress = Iterations(3, question, "cpu")
    assert progress.may_start()
    assert [progress() for _ in range(3)] == [True, True, False]
    assert (progress.ran, progress.missing, question.left[0]) == (2, 1, -1)


def test_a_gpu_is_waited_for_in_its_own_stream_alone(monkeypatch):
    done = []
    streams = {"cuda:1": SimpleNamespace(synchronize=lambda: done.append("waited"))}
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[str(device)])
    progress = Iterations(2, lambda ran: done.append(ran) is None, "cuda:1")
    assert progress.may_start() and progress() and progress()
    assert done == ["waited", 0, "waited", 1]


@pytest.mark.parametrize(("changes", "planned"), [
    ({"backend": "lattice"}, 7), ({"backend": "auto"}, 7),
    ({"backend": "bilateral"}, 5), ({"backend": "bilateral", "bilateral_sxy": 4.0}, 3),
    ({"backend": "bilateral", "bilateral_sxy": 16.0, "resolution": 0.25}, 3),
    ({"iterations": 0}, 0), ({"iterations": 0, "backend": "bilateral"}, 0),
])
def test_what_a_crf_plans_is_what_it_runs(segmentor, words, changes, planned):
    switch(segmentor, use_densecrf=True, **{f"crf__{name}": value for name, value in
                                            {"iterations": 7, "resolution": 1.0,
                                             "bilateral_sxy": 80.0, **changes}.items()})
    progress = segmentor.predict_dense(picture(), words).refinements["densecrf"]
    assert (progress.planned, progress.ran, progress.missing) == (planned, planned, 0)


def test_a_crf_that_has_nothing_to_weigh_plans_nothing(segmentor):
    switch(segmentor, use_densecrf=True, crf__iterations=7)
    result = segmentor.predict_dense(picture(), ["floor|ground"], keep_going=allow(0))
    assert result.refinements["densecrf"].missing == 0
    assert (result.labels == 0).all()


def test_images_that_are_refined_together_share_what_they_ran(segmentor, words):
    switch(segmentor, use_pamr=True, use_densecrf=True, pamr__steps=2, crf__iterations=1)
    images = [picture(seed=1), picture(64, 48, seed=2), picture(seed=3)]
    first, other, second = (result.refinements for result in segmentor.predict_batch(images, words))
    assert first["pamr"] is second["pamr"] is not other["pamr"]
    assert first["densecrf"] is not second["densecrf"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_finished_its_iteration_when_it_is_asked():
    on_gpu = SCLIPSegmentor(device="cuda", use_pamr=True, use_densecrf=True, **SMALL)
    idle = []

    def keep_going(ran: int) -> bool:
        idle.append(torch.cuda.current_stream().query())
        return True

    on_gpu.predict_dense(picture(), CLASSES, keep_going=keep_going)
    assert len(idle) == 20 and all(idle)
