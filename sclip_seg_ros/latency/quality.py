"""A segmentor kept inside a latency budget: ladder, governor and deadline joined."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sclip_seg_ros.latency.deadline import Deadline
from sclip_seg_ros.latency.governor import Governor
from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel
from sclip_seg_ros.latency.level_measurements import LevelMeasurements, PreparedLevel, area
from sclip_seg_ros.segmentation import (
    SCLIPSegmentor,
    SegmentationResult,
    SegmentorSettings,
    Vocabulary,
)
from sclip_seg_ros.segmentation.backbones.steady_sizes import Size
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.upsamplers import upsampler_of

_GROWTH = 1.5  # of the images' area from which on all measurements are scaled anew
_TAILS = 20    # frames whose longest tail is kept free behind the refinements

_UNLIMITED = QualityLadder((QualityLevel("full", {}),))


@dataclass(frozen=True)
class QualityState:
    """What holds at one moment, for other threads to read.

    Attributes:
        level: in use, 0 being the best.
        names: of the levels that differ under the present settings and can run, the best first.
        changes: batches so far at another level than the one before.
        hopeless: whether even the cheapest level typically takes longer than the budget, or than
            ``run_ms`` where that is longer.
        budget_ms: milliseconds a frame may take, 0 for no limit.
        run_ms: milliseconds a run of the tower may take where frames do not wait for it; 0 where
            they do.
    """

    level: int
    names: tuple[str, ...]
    changes: int
    hopeless: bool
    budget_ms: float
    run_ms: float = 0.0

    @property
    def name(self) -> str:
        """Name of the level in use."""
        return self.names[self.level]


class QualityControl:
    """Choose a quality level, and with it a pipeline, for each batch of images.

    Without a budget the settings hold as they are. All methods belong to one thread; ``state``
    may be read by any.

    Attributes:
        pipeline: of the level in use.
        state: the level in use, and the like.
    """

    def __init__(self, segmentor: SCLIPSegmentor, ladder: QualityLadder,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a budget; :meth:`configure` sets one.

        Args:
            segmentor: prepares the levels; its settings are what they change at first.
            ladder: quality levels, the best first.
            clock: seconds; frames' arrivals are told in its time.
        """
        self._segmentor = segmentor
        self._whole_ladder = ladder
        self._clock = clock
        self._measurements = LevelMeasurements(clock)
        self._tails_ms: deque[float] = deque(maxlen=_TAILS)
        self._governor = Governor(1)
        self._changes = 0
        self._last_name = ""  # of the last batch's level
        self._levels: list[PreparedLevel] = []
        self._base, self._budget_ms, self._run_ms = segmentor.settings, 0.0, 0.0
        self.pipeline = segmentor.pipeline
        self.configure(self._base, 0.0)

    def configure(self, base: SegmentorSettings, budget_ms: float) -> None:
        """Take over settings and a budget, between two frames.

        Args:
            base: the settings that levels change; in force as they are while there is no budget.
            budget_ms: milliseconds from a frame's arrival to its last output; 0 = no limit.

        Raises:
            ValueError, WeightsError: settings, or a level of the ladder, that cannot work. All
                stays as it was.
        """
        ladder = self._ladder_for(base, budget_ms)
        # Reuse prepared levels, which hold CUDA graphs; but not interpolation in LoftUp's place,
        # which may be over.
        known = {} if self.pipeline.upsampler_fallback else {
            level.pipeline.settings: level.pipeline for level in self._levels}
        pipeline = known.get(base) or self._segmentor.prepare(base)
        levels = []
        for index, name in enumerate(ladder.names):
            settings = ladder.settings_for(base, index)
            levels.append(PreparedLevel(name, known.get(settings)
                                        or self._segmentor.prepare(settings)))
        self.pipeline = pipeline
        # Missing weights may come until it is next switched on.
        if upsampler_of(self._base) and not upsampler_of(base):
            self._segmentor.upsamplers.forget_fallback()
        former_levels, former_budget_ms = self._levels, self._budget_ms
        self._base, self._budget_ms = base, budget_ms
        self._levels = self._measurements.usable(levels)
        if former_budget_ms and budget_ms and _cost_the_same(former_levels, self._levels):
            if budget_ms != former_budget_ms:
                self._governor.budget_ms = self._level_ms  # what is known of the load stays
            self._tell()
        else:
            self._begin_anew()

    def run_every(self, milliseconds: float) -> None:
        """Let runs of the tower take longer than the budget, for frames do not wait for them.

        With a budget, levels are chosen so that a run takes no longer than this.

        Args:
            milliseconds: between two runs; 0 where every frame waits for its own.
        """
        if milliseconds != self._run_ms:
            self._run_ms = milliseconds
            self._governor.budget_ms = self._level_ms
            self._tell()

    def expected_ms(self) -> float:
        """Return what the level in use cost at warm-up; 0 where it was not measured."""
        measured = self._measurements.expected(self._levels[self._governor.level])
        return measured.total_ms if measured is not None else 0.0

    def lacking(self, base: SegmentorSettings, budget_ms: float) -> SegmentorSettings | None:
        """Return the first settings whose weights :meth:`configure` would load; None without any.

        Raises:
            ValueError: a level of the ladder that the settings do not allow.
        """
        ladder = self._ladder_for(base, budget_ms)
        wanted = (base, *(ladder.settings_for(base, index) for index in range(len(ladder))))
        stores = self._segmentor.upsamplers, self._segmentor.proxies
        return next((settings for settings in wanted
                     if any(store.lacks(settings) for store in stores)), None)

    @property
    def base(self) -> SegmentorSettings:
        """The settings that levels change."""
        return self._base

    @property
    def unusable(self) -> dict[str, str]:
        """Why levels could not run at the last warm-up, by their names."""
        return self._measurements.unusable

    @property
    def needs_warm_up(self) -> bool:
        """Whether there is a budget, and levels that no warm-up has tried."""
        return self._budget_ms > 0 and not self._warm

    def warm_up(self, image: np.ndarray, vocabulary: Vocabulary) -> int:
        """Warm every level up; measure those that have not been, where their cost matters.

        It ends after some seconds, see :meth:`LevelMeasurements.warm_up`. Levels that cannot run
        are left out, and stand in ``unusable``.

        Returns:
            How many levels were measured.

        Raises:
            Exception: what the best level raised, where none can run. It stays, and is not tried
                by another warm-up until something changes.
        """
        try:
            return self._measurements.warm_up(self._levels, image, vocabulary,
                                              measure=self._budget_ms > 0 or self._run_ms > 0)
        finally:
            self._warm = True
            self._levels = self._measurements.usable(self._levels)
            self.pipeline = self._levels[0].pipeline
            self._restart()

    def settle(self, sizes: Sequence[Size], vocabulary: Vocabulary,
               before: Callable[[], object] = lambda: None) -> bool:
        """On a GPU, warm every level up for images whose sizes keep coming.

        A CUDA graph holds for one layout of windows, and the first warm-up did not know the
        camera. Call it after every batch.

        Args:
            sizes: of the batch's images.
            vocabulary: they were labelled with.
            before: called before anything is computed.

        Returns:
            Whether something was done, which takes about a second.
        """
        return self._measurements.settle(self._levels, sizes, vocabulary, before)

    def forget(self) -> None:
        """Measure all levels anew at the next warm-up, because the weights were moved.

        Those that could not run are tried again.
        """
        self._measurements.forget()
        self.configure(self._base, self._budget_ms)
        self._begin_anew()

    def begin(self, sizes: Sequence[Size], vocabulary: Vocabulary) -> None:
        """Choose the level of the next batch; its pipeline is in force from now on.

        Args:
            sizes: of the batch's images.
            vocabulary: they will be compared with.
        """
        if area(sizes) > _GROWTH * self._seeded_area or not self._governor.predictor.frames:
            self._restart(sizes)
        level = self._levels[self._governor.decide(len(vocabulary.query_class))]
        self.pipeline = level.pipeline
        self._changes += level.name != (self._last_name or level.name)
        self._last_name = level.name
        self._tell()

    def deadline(self, arrived: float, budget_ms: float | None = None) -> Deadline | None:
        """Return what ends the refinements of a frame in time; None without a budget.

        Args:
            arrived: when the batch's oldest frame did, seconds of the clock.
            budget_ms: of the frame; by default the one that was configured.
        """
        budget_ms = self._budget_ms if budget_ms is None else budget_ms
        if not budget_ms:
            return None
        tail_ms = max(self._tails_ms, default=0.0)
        return Deadline(arrived + (budget_ms - tail_ms) * 1e-3, self._clock)

    def left_room(self, tail_ms: float) -> None:
        """Take what decoding and publishing took; the next deadlines leave room for it."""
        self._tails_ms.append(tail_ms)

    def ran(self, pipeline: Pipeline, run_ms: float, queries: int,
            stage_ms: Mapping[str, float]) -> None:
        """Take the measurement of a run of the tower that frames did not wait for.

        Args:
            pipeline: of a level; a run of one that is no more says nothing.
            run_ms: it took.
            queries: words it was compared with.
            stage_ms: of its stages.
        """
        for index, level in enumerate(self._levels):
            if level.pipeline is pipeline:
                self._governor.record(index, run_ms, queries, stage_ms)

    def end(self, total_ms: float, results: Sequence[SegmentationResult], tail_ms: float) -> None:
        """Take the measurement of the batch begun last.

        Args:
            total_ms: from the oldest frame's arrival to the last output.
            results: of the segmentor.
            tail_ms: what decoding and publishing took behind the refinements; the next deadlines
                leave room for it.
        """
        self.left_room(tail_ms)
        self._governor.record(self._governor.level, total_ms,
                              len(results[0].vocabulary.query_class), results[0].stage_ms)

    @property
    def _level_ms(self) -> float:
        """What a frame, or a run that frames do not wait for, may take; 0 for no limit."""
        return max(self._budget_ms, self._run_ms) if self._budget_ms else 0.0

    def _ladder_for(self, base: SegmentorSettings, budget_ms: float) -> QualityLadder:
        if not budget_ms:
            return _UNLIMITED
        return self._whole_ladder.for_base(self._segmentor.decide(base))

    def _begin_anew(self) -> None:
        self._warm = self._measurements.complete(self._levels)
        self._restart()

    def _restart(self, sizes: Sequence[Size] = ()) -> None:
        """Begin with a governor that knows the measured levels, scaled to the images' sizes."""
        self._governor = Governor(len(self._levels), self._level_ms)
        self._seeded_area = area(sizes)
        for index, level in enumerate(self._levels):
            expected = self._measurements.expected(level, sizes)
            if expected is not None:
                self._governor.warm_up(index, expected.total_ms, expected.queries,
                                       expected.stage_ms)
        self._tell()

    def _tell(self) -> None:
        """Publish the state, all of it at once: other threads read it at any time."""
        governor = self._governor
        self.state = QualityState(governor.level, tuple(level.name for level in self._levels),
                                  self._changes, governor.hopeless, self._budget_ms,
                                  self._run_ms)


def _cost_the_same(some: Sequence[PreparedLevel], others: Sequence[PreparedLevel]) -> bool:
    return [level.cost_key for level in some] == [level.cost_key for level in others]
