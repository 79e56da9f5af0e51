"""A frame cut short by its deadline is judged by what it would have taken in full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.latency.missing_iterations import missing_ms
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbone import DenseBackbone
from sclip_seg_ros.segmentation.refinement import crf_bilateral, crf_lattice, pamr
from sclip_seg_ros.segmentation.refinement.anytime import Iterations

LADDER = parse_ladder({"levels": [
    {"name": "full"}, {"name": "plain", "use_pamr": False, "use_densecrf": False}]})
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def ran(planned: int, iterations: int) -> Iterations:
    """Return a refinement that was stopped after some iterations."""
    progress = Iterations(planned, lambda before: before < iterations, "cpu")
    for _ in range(planned):
        progress()
    return progress


def price(*images, iteration_ms: float = 7.0, **usual_ms: float) -> dict[str, float]:
    return missing_ms(images, iteration_ms, lambda stage: usual_ms.get(stage, 0.0))


def test_what_ran_in_full_costs_nothing_more():
    assert price({"pamr": ran(10, 10), "densecrf": ran(5, 5)}, densecrf=100.0) \
        == {"pamr": 0.0, "densecrf": 0.0}
    assert price({}) == {}


def test_one_that_was_cut_short_is_priced_by_its_own_iterations():
    assert price({"pamr": ran(10, 4)}, pamr=1000.0) == {"pamr": 6 * 7.0}


def test_one_that_never_started_is_priced_by_what_its_stage_usually_takes():
    assert price({"pamr": ran(10, 4), "densecrf": ran(10, 0)}, pamr=80.0, densecrf=600.0) \
        == {"pamr": 6 * 7.0, "densecrf": 600.0}
    assert price({"densecrf": ran(10, 1)}, densecrf=600.0) == {"densecrf": pytest.approx(540.0)}
    assert price({"densecrf": ran(10, 0)}) == {"densecrf": 70.0}, "of which nothing is known"


def test_images_that_were_refined_together_pay_once():
    together, apart = ran(10, 4), ran(10, 0)
    assert price({"pamr": together}, {"pamr": apart}, {"pamr": together}, pamr=100.0) \
        == {"pamr": 6 * 7.0 + 100.0 / 2}


class Seconds:
    """A clock on which some functions take a given time and all else takes none.

    Attributes:
        load: factor on all of them.
    """

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        self.load = 1.0
        self._monkeypatch = monkeypatch

    def __call__(self) -> float:
        return self.now

    def let(self, owner: object, name: str, seconds: Callable[..., float]) -> None:
        """Have every call of a function take so long."""
        function = getattr(owner, name)

        def slow(*arguments, **keywords):
            self.now += self.load * seconds(*arguments)
            return function(*arguments, **keywords)

        self._monkeypatch.setattr(owner, name, slow)


@pytest.fixture
def clock(monkeypatch):
    """Return a clock by which ten iterations of PAMR take 150 ms an image, of the CRF 600 ms.

    The tower takes 10 ms for a batch.
    """
    clock = Seconds(monkeypatch)
    clock.let(DenseBackbone, "penultimate", lambda *_: 0.01)
    clock.let(pamr, "pamr_step", lambda scores, *_: 0.015 * len(scores))
    clock.let(crf_lattice.MeanField, "__init__", lambda *_: 0.2)
    clock.let(crf_lattice.MeanField, "step", lambda *_: 0.04)
    clock.let(crf_bilateral, "_filter_level", lambda *_: 0.02)
    return clock


class Frames:
    """A segmentor under a latency budget, in simulated time."""

    def __init__(self, clock: Seconds, budget_ms: float, warm_up: bool = True, **settings) -> None:
        self._clock = clock
        self._segmentor = SCLIPSegmentor("embedded", short_side=48, inference="whole", **settings)
        self._segmentor.clock = clock
        self._vocabulary = self._segmentor.vocabulary(["floor", "wall"])
        self._quality = QualityControl(self._segmentor, LADDER, clock)
        self._quality.configure(self._segmentor.settings, budget_ms)
        if warm_up:
            self._quality.warm_up(IMAGE, self._vocabulary)

    def label(self, frames: int, cameras: int = 1,
              tail_ms: float = 0.0) -> tuple[list[str], list[float]]:
        """Label frames; return the names of their levels and their milliseconds."""
        names, totals = [], []
        for _ in range(frames):
            begin = self._clock()
            self._quality.begin([IMAGE.shape[:2]] * cameras, self._vocabulary)
            deadline = self._quality.deadline(begin)
            results = self._segmentor.predict_batch([IMAGE] * cameras, self._vocabulary, deadline)
            totals.append((self._clock() - begin) * 1e3)
            names.append(self._quality.state.name)
            self._quality.end(totals[-1], results, deadline, tail_ms)
        return names, totals


REFINED = {"use_pamr": True, "use_densecrf": True, "crf__backend": "lattice"}


def test_a_level_whose_crf_is_always_cut_off_does_not_pass_for_one_that_fits(clock):
    frames = Frames(clock, 1800.0, **REFINED)
    names, totals = frames.label(3, cameras=2)
    assert names == ["full"] * 3 and totals == pytest.approx([1510.0] * 3)
    clock.load = 5.8  # PAMR alone takes 1740 ms, and no CRF of either camera is begun
    names, totals = frames.label(30, cameras=2)
    assert names == ["full"] + ["plain"] * 29
    assert totals[0] == pytest.approx(1798.0) and max(totals) < 1800.0


def test_that_holds_for_a_level_of_which_nothing_was_known(clock):
    names, totals = Frames(clock, 110.0, warm_up=False, **REFINED).label(3)
    assert names == ["full", "plain", "plain"]
    assert totals == pytest.approx([100.0, 10.0, 10.0]), "six iterations of PAMR"


def test_a_crf_of_fewer_passes_than_iterations_pays_for_those_alone(clock):
    names, totals = Frames(clock, 140.0, use_densecrf=True, crf__backend="bilateral").label(30)
    assert set(names) == {"full"} and totals == pytest.approx([110.0] * 30)


def test_pamr_of_several_cameras_pays_once(clock):
    frames = Frames(clock, 800.0, use_pamr=True)
    names, totals = frames.label(30, cameras=4, tail_ms=300.0)  # which the deadline leaves room for
    assert set(names) == {"full"}, "in full it takes 610 ms"
    assert totals == pytest.approx([610.0] + [490.0] * 29)
