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
from sclip_seg_ros.segmentation import (
    SCLIPSegmentor,
    SegmentationResult,
    SegmentorSettings,
    Vocabulary,
)
from sclip_seg_ros.segmentation.preprocessing import working_size
from sclip_seg_ros.segmentation.segmentor import Prepared

WARM_UP_SECONDS = 15.0   # at most; levels not reached are estimated from those that were
_GROWTH = 1.5            # of the images' area from which on all measurements are scaled anew
_TAILS = 20              # frames whose longest tail is kept free behind the refinements
# Stages that work on every pixel of the image; the others on its shrunk copy.
_FULL_SIZE_STAGES = frozenset({"preprocess", "densecrf", "decode"})

_UNLIMITED = QualityLadder((QualityLevel("full", {}),))

Size = tuple[int, int]   # height and width of an image, pixels


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


class QualityControl:
    """Choose a quality level for each batch of images, and run a segmentor at it.

    Without a budget the settings hold as they are. All methods belong to one thread.
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
        self._measured: dict[SegmentorSettings, Measurement] = {}
        self._tails_ms: deque[float] = deque(maxlen=_TAILS)
        self._governor = Governor(1)
        self._changes_before = 0
        self._levels: list[Prepared] = []
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
        ladder = self._whole_ladder.for_base(base) if budget_ms else _UNLIMITED
        # Those at hand keep what their warm-up made; not with a fallback, which may be over.
        known = {} if self._segmentor.fallbacks else {level.settings: level
                                                      for level in self._levels}
        prepared = known.get(base) or self._segmentor.prepare(base)
        wanted = [ladder.settings_for(base, level) for level in range(len(ladder))]
        levels = [known.get(settings) or self._segmentor.prepare(settings) for settings in wanted]
        self._segmentor.use(prepared)
        self._base, self._budget_ms, self._ladder, self._levels = base, budget_ms, ladder, levels
        # Here and not for each frame: the settings are checked anew by every copy.
        self._keys = [_cost_key(settings) for settings in wanted]
        self._warm = all(key in self._measured for key in self._keys)
        self._restart((0, 0))

    @property
    def base(self) -> SegmentorSettings:
        """The settings that levels change."""
        return self._base

    @property
    def budget_ms(self) -> float:
        """Milliseconds a frame may take, 0 for no limit."""
        return self._budget_ms

    @property
    def level(self) -> int:
        """The level in use, 0 being the best."""
        return self._governor.level

    @property
    def level_name(self) -> str:
        """Its name on the ladder."""
        return self._ladder.names[self.level]

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels that differ under the present settings, the best first."""
        return self._ladder.names

    @property
    def changes(self) -> int:
        """Changes of level so far."""
        return self._changes_before + self._governor.changes

    @property
    def hopeless(self) -> bool:
        """Whether even the cheapest level typically takes longer than the budget."""
        return self._governor.hopeless

    @property
    def needs_warm_up(self) -> bool:
        """Whether there is a budget, and levels that no warm-up has come to know."""
        return self._budget_ms > 0 and not self._warm

    def warm_up(self, image: np.ndarray, vocabulary: Vocabulary) -> int:
        """Warm every level up; with a budget, measure those that have not been.

        The cheapest come first; after WARM_UP_SECONDS the rest is left to estimation. Levels are
        measured together, since only their ratios matter.

        Returns:
            How many levels were measured.
        """
        begin, count = self._clock(), 0
        try:
            for level, key in zip(reversed(self._levels), reversed(self._keys), strict=True):
                if key in self._measured:
                    continue
                if self._clock() - begin > WARM_UP_SECONDS:
                    break
                self._segmentor.use(level)
                self._segmentor.warm_up([image.shape[:2]], vocabulary)
                if self._budget_ms:
                    self._measured[key] = self._run(image, vocabulary)
                    count += 1
        finally:
            self._segmentor.use(self._levels[0])
        self._warm = True
        self._restart((0, 0))
        return count

    def forget(self) -> None:
        """Measure all levels anew at the next warm-up: the weights were moved."""
        self._measured.clear()
        self._warm = False

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
        self._segmentor.use(self._levels[self.level])

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
        stages = dict(results[0].stage_ms)
        queries = len(results[0].vocabulary.query_class)
        missing_ms = {"pamr": 0.0, "densecrf": 0.0}
        settings = self._levels[self.level].settings
        wanted = {"pamr": settings.pamr.steps, "densecrf": settings.crf.iterations}
        for result in results if deadline else ():
            for stage, ran in result.iterations.items():
                missing_ms[stage] += (wanted[stage] - ran) * deadline.iteration_seconds * 1e3
        for stage, value in missing_ms.items():
            if stage in stages:
                stages[stage] += value
        self._governor.record(self.level, total_ms + sum(missing_ms.values()), queries, stages)

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
        for level, key in enumerate(self._keys):
            measured = self._measured.get(key)
            if measured is not None:
                if pixels[0]:
                    measured = measured.scaled(pixels)
                self._governor.warm_up(level, measured.total_ms, measured.queries,
                                       measured.stage_ms)

    def _pixels(self, sizes: Sequence[Size]) -> tuple[int, int]:
        """Return the area of images, and that of their copies at the best level's size."""
        base = self._base
        working = [working_size(*size, base.short_side, base.enlarge) for size in sizes]
        return (sum(height * width for height, width in sizes),
                sum(height * width for height, width in working))


def _cost_key(settings: SegmentorSettings) -> SegmentorSettings:
    """Return the part of the settings that decides what a frame costs."""
    return replace(effective_settings(settings), probability_threshold=0.0, logit_scale=0.0)
