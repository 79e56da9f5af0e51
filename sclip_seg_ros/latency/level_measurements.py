"""What quality levels cost on this computer: measured at warm-up, scaled to the images to come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sclip_seg_ros.segmentation import SegmentorSettings, Vocabulary
from sclip_seg_ros.segmentation.backbones.steady_sizes import Size, SteadySizes
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.refinement import REFINEMENTS

WARM_UP_SECONDS = 15.0  # at most; levels not reached are estimated from those that were


@dataclass(frozen=True)
class PreparedLevel:
    """A level of the ladder that differs under the present settings."""

    name: str
    pipeline: Pipeline

    @cached_property
    def cost_key(self) -> SegmentorSettings:
        """The part of its settings that decides what a frame costs."""
        return replace(self.pipeline.decided.effective(), probability_threshold=0.0,
                       logit_scale=0.0)


@dataclass(frozen=True)
class Measurement:
    """What a level cost at warm-up.

    Attributes:
        total_ms: milliseconds of the frame.
        stage_ms: of its stages.
        queries: words it was compared with.
        pixels: of the image, and of its copy at the level's working size.
    """

    total_ms: float
    stage_ms: dict[str, float]
    queries: int
    pixels: tuple[int, int]

    def scaled(self, pixels: tuple[int, int]) -> Measurement:
        """Return what it would have cost for images of another size."""
        full, working = (wanted / had for wanted, had in zip(pixels, self.pixels, strict=True))
        stages = {name: value * (full if _at_full_size(name) else working)
                  for name, value in self.stage_ms.items()}
        rest = max(self.total_ms - sum(self.stage_ms.values()), 0.0)
        return Measurement(sum(stages.values()) + rest, stages, self.queries, pixels)


class LevelMeasurements:
    """Warm levels up, measure them, and remember those that cannot run.

    What was measured is kept by the settings that decide the cost: another threshold, or a level
    that was there before, needs no new measurement.

    Attributes:
        unusable: why levels could not run at the last warm-up, by their names.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing measured, by a clock of seconds."""
        self._clock = clock
        self._measured: dict[SegmentorSettings, Measurement] = {}  # by cost key
        self._broken: set[SegmentorSettings] = set()               # cost keys
        self._settling: set[SegmentorSettings] = set()             # cost keys the sizes are for
        self._sizes = SteadySizes()
        self.unusable: dict[str, str] = {}

    def complete(self, levels: Sequence[PreparedLevel]) -> bool:
        """Tell whether all levels have been measured."""
        return all(level.cost_key in self._measured for level in levels)

    def usable(self, levels: Sequence[PreparedLevel]) -> list[PreparedLevel]:
        """Return the levels that are not known to fail; all of them where all do."""
        return [level for level in levels if level.cost_key not in self._broken] or list(levels)

    def expected(self, level: PreparedLevel, sizes: Sequence[Size] = ()) -> Measurement | None:
        """Return what a level would cost for images of some sizes; None if it was not measured.

        Without sizes it is what the level did cost.
        """
        measured = self._measured.get(level.cost_key)
        if measured is None or not sizes:
            return measured
        return measured.scaled(self._pixels(level, sizes))

    def warm_up(self, levels: Sequence[PreparedLevel], image: np.ndarray, vocabulary: Vocabulary,
                measure: bool = True) -> int:
        """Run the levels that have not been measured; measure them, if that is wanted.

        The last, cheapest ones come first; after WARM_UP_SECONDS the rest is left out. Levels are
        measured together, since only their ratios matter. One that cannot run, for want of memory,
        say, is noted in ``unusable``, and :meth:`usable` leaves it out from now on.

        Returns:
            How many levels were measured.

        Raises:
            Exception: what the first, best level raised, where none of them can run.
        """
        begin, count, self.unusable = self._clock(), 0, {}
        for level in reversed(levels):
            if level.cost_key in self._measured:
                continue
            if self._clock() - begin > WARM_UP_SECONDS:
                break
            try:
                level.pipeline.warm_up([image.shape[:2]], vocabulary)
                if measure:
                    self._measured[level.cost_key] = self._run(level, image, vocabulary)
                    count += 1
            except Exception as error:
                if len(self.unusable) + 1 == len(levels):
                    raise
                self._broken.add(level.cost_key)
                self.unusable[level.name] = str(error)
        return count

    def settle(self, levels: Sequence[PreparedLevel], sizes: Sequence[Size],
               vocabulary: Vocabulary, before: Callable[[], object] = lambda: None) -> bool:
        """On a GPU, warm levels up for images whose sizes keep coming.

        Returns:
            Whether something was done.
        """
        if not levels[0].pipeline.records:
            return False
        keys = {level.cost_key for level in levels}
        if keys != self._settling:
            self._settling, self._sizes = keys, SteadySizes()
        if not self._sizes.news(sizes):
            return False
        before()
        for level in levels:
            level.pipeline.warm_up(sizes, vocabulary)
        return True

    def forget(self) -> None:
        """Forget everything, also which levels could not run."""
        self._measured.clear()
        self._broken.clear()
        self._settling.clear()

    def _run(self, level: PreparedLevel, image: np.ndarray,
             vocabulary: Vocabulary) -> Measurement:
        begin = self._clock()
        [result] = level.pipeline.predict([image], vocabulary)
        return Measurement((self._clock() - begin) * 1e3, dict(result.stage_ms),
                           len(vocabulary.query_class), self._pixels(level, [image.shape[:2]]))

    def _pixels(self, level: PreparedLevel, sizes: Sequence[Size]) -> tuple[int, int]:
        """Return the area of images, and that of their copies at the level's working size."""
        working = [level.pipeline.working_size(*size) for size in sizes]
        return area(sizes), area(working)


def area(sizes: Sequence[Size]) -> int:
    """Return the pixels of images of some sizes."""
    return sum(height * width for height, width in sizes)


def _at_full_size(stage: str) -> bool:
    """Tell whether a stage works on every pixel of the image; the others see its shrunk copy."""
    return stage in ("preprocess", "decode") \
        or stage in REFINEMENTS and REFINEMENTS[stage].of_probabilities
