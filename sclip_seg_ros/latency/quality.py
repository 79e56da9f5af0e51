"""A segmentor kept inside a latency budget: ladder, governor and deadline joined."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sclip_seg_ros.latency.deadline import Deadline
from sclip_seg_ros.latency.governor import Governor
from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel, effective_settings
from sclip_seg_ros.latency.missing_iterations import missing_ms
from sclip_seg_ros.latency.steady_sizes import Size, SteadySizes
from sclip_seg_ros.segmentation import (
    SCLIPSegmentor,
    SegmentationResult,
    SegmentorSettings,
    Vocabulary,
)
from sclip_seg_ros.segmentation.segmentor import Prepared

WARM_UP_SECONDS = 15.0   # at most; levels not reached are estimated from those that were
_GROWTH = 1.5            # of the images' area from which on all measurements are scaled anew
_TAILS = 20              # frames whose longest tail is kept free behind the refinements
# Stages that work on every pixel of the image; the others on its shrunk copy.
_FULL_SIZE_STAGES = frozenset({"preprocess", "densecrf", "decode"})

_UNLIMITED = QualityLadder((QualityLevel("full", {}),))


@dataclass(frozen=True)
class Measurement:
    """What a level cost at warm-up.

    Attributes:
        total_ms: milliseconds of the frame.
        stage_ms: of its stages.
        queries: words it was compared with.
        pixels: of the image, and of its copy at the working size.
    """

    total_ms: float
    stage_ms: dict[str, float]
    queries: int
    pixels: tuple[int, int]

    def scaled(self, pixels: tuple[int, int]) -> Measurement:
        """Return what it would have cost for images of another size."""
        full, working = (wanted / had for wanted, had in zip(pixels, self.pixels, strict=True))
        stages = {name: value * (full if name in _FULL_SIZE_STAGES else working)
                  for name, value in self.stage_ms.items()}
        rest = max(self.total_ms - sum(self.stage_ms.values()), 0.0)
        return Measurement(sum(stages.values()) + rest, stages, self.queries, pixels)


@dataclass(frozen=True)
class _Level:
    """A level of the ladder that differs under the present settings."""

    name: str
    prepared: Prepared
    cost_key: SegmentorSettings  # the part of its settings that decides what a frame costs


@dataclass(frozen=True)
class QualityState:
    """What holds at one moment, for other threads to read.

    Attributes:
        level: in use, 0 being the best.
        names: of the levels that differ under the present settings and can run, the best first.
        changes: of level so far.
        hopeless: whether even the cheapest level typically takes longer than the budget.
        budget_ms: milliseconds a frame may take, 0 for no limit.
    """

    level: int
    names: tuple[str, ...]
    changes: int
    hopeless: bool
    budget_ms: float

    @property
    def name(self) -> str:
        """Name of the level in use."""
        return self.names[self.level]


class QualityControl:
    """Choose a quality level for each batch of images, and run a segmentor at it.

    Without a budget the settings hold as they are. All methods belong to one thread; ``state``
    may be read by any.

    Attributes:
        state: the level in use, and the like.
        unusable: why levels could not run at the last warm-up, by their names.
    """

    def __init__(self, segmentor: SCLIPSegmentor, ladder: QualityLadder,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a budget; :meth:`configure` sets one.

        Args:
            segmentor: its settings are what the ladder's levels change.
            ladder: quality levels, the best first.
            clock: seconds; frames' arrivals are told in its time.
        """
        self._segmentor = segmentor
        self._whole_ladder = ladder
        self._clock = clock
        self._measured: dict[SegmentorSettings, Measurement] = {}  # by cost key
        self._broken: set[SegmentorSettings] = set()               # cost keys that cannot run
        self._sizes = SteadySizes()
        self._tails_ms: deque[float] = deque(maxlen=_TAILS)
        self._governor = Governor(1)
        self._changes_before = 0
        self._levels: list[_Level] = []
        self.unusable: dict[str, str] = {}
        self.configure(segmentor.settings, 0.0)

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
        # Those at hand keep what their warm-up made; not with a fallback, which may be over.
        known = {} if self._segmentor.fallbacks else {level.prepared.settings: level.prepared
                                                      for level in self._levels}
        prepared = known.get(base) or self._segmentor.prepare(base)
        levels = []
        for index, name in enumerate(ladder.names):
            settings = ladder.settings_for(base, index)
            levels.append(_Level(name, known.get(settings) or self._segmentor.prepare(settings),
                                 _cost_key(settings)))
        self._segmentor.use(prepared)
        usable = [level for level in levels if level.cost_key not in self._broken]
        self._base, self._budget_ms, self._levels = base, budget_ms, usable or levels
        self._warm = all(level.cost_key in self._measured for level in self._levels)
        if not self._warm:
            self._sizes = SteadySizes()
        self._restart((0, 0))

    def lacking(self, base: SegmentorSettings, budget_ms: float) -> SegmentorSettings | None:
        """Return the first settings whose weights :meth:`configure` would load; None without any.

        Raises:
            ValueError: a level of the ladder that the settings do not allow.
        """
        ladder = self._ladder_for(base, budget_ms)
        wanted = (base, *(ladder.settings_for(base, index) for index in range(len(ladder))))
        return next(filter(self._segmentor.lacks_weights, wanted), None)

    @property
    def base(self) -> SegmentorSettings:
        """The settings that levels change."""
        return self._base

    @property
    def needs_warm_up(self) -> bool:
        """Whether there is a budget, and levels that no warm-up has come to know."""
        return self._budget_ms > 0 and not self._warm

    def warm_up(self, image: np.ndarray, vocabulary: Vocabulary) -> int:
        """Warm every level up; with a budget, measure those that have not been.

        The cheapest come first; after WARM_UP_SECONDS the rest is left to estimation. Levels are
        measured together, since only their ratios matter. A level that cannot run, for want of
        memory, say, is left out, and stands in ``unusable``.

        Returns:
            How many levels were measured.

        Raises:
            Exception: what the cheapest level raised, if none can run.
        """
        begin, count, self.unusable = self._clock(), 0, {}
        for level in reversed(self._levels.copy()):
            if level.cost_key in self._measured:
                continue
            if self._clock() - begin > WARM_UP_SECONDS:
                break
            try:
                self._segmentor.use(level.prepared)
                self._segmentor.warm_up([image.shape[:2]], vocabulary)
                if self._budget_ms:
                    self._measured[level.cost_key] = self._run(image, vocabulary)
                    count += 1
            except Exception as error:
                if len(self._levels) == 1:
                    raise
                self._levels.remove(level)
                self._broken.add(level.cost_key)
                self.unusable[level.name] = str(error)
        self._segmentor.use(self._levels[0].prepared)
        self._warm = True
        self._restart((0, 0))
        return count

    def settle(self, sizes: Sequence[Size], vocabulary: Vocabulary) -> bool:
        """On a GPU, warm every level up for images whose sizes keep coming.

        A CUDA graph holds for one layout of windows, and the first warm-up did not know the
        camera. Call it after every batch.

        Returns:
            Whether something was done, which takes about a second.
        """
        if not self._segmentor.records or not self._sizes.news(sizes):
            return False
        for level in self._levels:
            self._segmentor.use(level.prepared)
            self._segmentor.warm_up(sizes, vocabulary)
        return True

    def forget(self) -> None:
        """Measure all levels anew at the next warm-up, also those that could not run: the weights
        were moved.
        """
        self._measured.clear()
        self._broken.clear()
        self.configure(self._base, self._budget_ms)

    def begin(self, sizes: Sequence[Size], vocabulary: Vocabulary) -> None:
        """Choose the level of the next batch, and set the segmentor to it.

        Args:
            sizes: of the batch's images.
            vocabulary: they will be compared with.
        """
        pixels = self._pixels(sizes)
        if pixels[0] > _GROWTH * self._seeded_for[0] or not self._governor.predictor.frames:
            self._restart(pixels)
        self._governor.decide(len(vocabulary.query_class))
        self._segmentor.use(self._levels[self._governor.level].prepared)
        self._tell()

    def deadline(self, arrived: float) -> Deadline | None:
        """Return what ends the refinements of a frame in time; None without a budget.

        Args:
            arrived: when the batch's oldest frame did, seconds of the clock.
        """
        if not self._budget_ms:
            return None
        tail_ms = max(self._tails_ms, default=0.0)
        return Deadline(arrived + (self._budget_ms - tail_ms) * 1e-3, self._clock)

    def end(self, total_ms: float, results: Sequence[SegmentationResult],
            deadline: Deadline | None, tail_ms: float) -> None:
        """Take the measurement of the batch begun last.

        Args:
            total_ms: from the oldest frame's arrival to the last output.
            results: of the segmentor.
            deadline: the refinements were stopped by. The governor judges a level by what its
                frames would have taken in full, or a level that is always cut short would pass
                for one that fits.
            tail_ms: what decoding and publishing took behind the refinements; the next deadlines
                leave room for it.
        """
        self._tails_ms.append(tail_ms)
        stages, level = dict(results[0].stage_ms), self._governor.level
        queries = len(results[0].vocabulary.query_class)
        if deadline is not None:
            missing = missing_ms([result.refinements for result in results],
                                 deadline.iteration_seconds * 1e3,
                                 lambda stage: self._governor.predictor.stage_ms(level, stage,
                                                                                 queries))
            total_ms += sum(missing.values())
            stages = {stage: value + missing.get(stage, 0.0) for stage, value in stages.items()}
        self._governor.record(level, total_ms, queries, stages)

    def _ladder_for(self, base: SegmentorSettings, budget_ms: float) -> QualityLadder:
        return self._whole_ladder.for_base(base) if budget_ms else _UNLIMITED

    def _run(self, image: np.ndarray, vocabulary: Vocabulary) -> Measurement:
        begin = self._clock()
        result = self._segmentor.predict_dense(image, vocabulary)
        return Measurement((self._clock() - begin) * 1e3, dict(result.stage_ms),
                           len(vocabulary.query_class), self._pixels([image.shape[:2]]))

    def _restart(self, pixels: tuple[int, int]) -> None:
        """Begin with a governor that knows the measured levels, scaled to the images' area."""
        self._changes_before += self._governor.changes
        self._governor = Governor(len(self._levels), self._budget_ms)
        self._seeded_for = pixels
        for index, level in enumerate(self._levels):
            measured = self._measured.get(level.cost_key)
            if measured is not None:
                if pixels[0]:
                    measured = measured.scaled(pixels)
                self._governor.warm_up(index, measured.total_ms, measured.queries,
                                       measured.stage_ms)
        self._tell()

    def _tell(self) -> None:
        """Publish the state, all of it at once: other threads read it at any time."""
        governor = self._governor
        self.state = QualityState(governor.level, tuple(level.name for level in self._levels),
                                  self._changes_before + governor.changes, governor.hopeless,
                                  self._budget_ms)

    def _pixels(self, sizes: Sequence[Size]) -> tuple[int, int]:
        """Return the area of images, and that of their copies at the best level's size."""
        working = [self._segmentor.working_size(*size, self._base) for size in sizes]
        return (sum(height * width for height, width in sizes),
                sum(height * width for height, width in working))


def _cost_key(settings: SegmentorSettings) -> SegmentorSettings:
    """Return the part of the settings that decides what a frame costs."""
    return replace(effective_settings(settings), probability_threshold=0.0, logit_scale=0.0)
