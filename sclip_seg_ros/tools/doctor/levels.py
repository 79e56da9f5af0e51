"""What each quality level takes on this computer, and the parameters that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sclip_seg_ros.tools.level_costs import LevelCost

ROUNDS = 3
SPARE = 0.8  # of a budget, that a level may take by the median: other frames take longer
ROUND_MS = 5.0  # to whose multiples a budget is rounded


@dataclass(frozen=True)
class Levels:
    """What was measured.

    Attributes:
        model, device, ladder: with which.
        costs: of the levels, the best first.
    """

    model: str
    device: str
    ladder: str
    costs: Sequence[LevelCost]


@dataclass(frozen=True)
class Advice:
    """What to set.

    Attributes:
        latency_budget_ms: that keeps a rate; of the cheapest level, where none does.
        quality_ladder: whose levels were measured.
        level: that is expected to hold.
        keeps: whether it keeps the rate.
        rate: wanted, in frames a second.
    """

    latency_budget_ms: float
    quality_ladder: str
    level: str
    keeps: bool
    rate: float

    @property
    def yaml(self) -> list[str]:
        """Return the two lines of a parameter file."""
        return [f"latency_budget_ms: {self.latency_budget_ms:.1f}",
                f"quality_ladder: {self.quality_ladder}"]

    @property
    def why(self) -> str:
        """Return in one line what to expect."""
        rate = f"{float(f'{self.rate:.3g}'):g}"  # of a camera: 4.99, not 4.99436
        if self.keeps:
            return f"keeps {rate} frames a second, at level '{self.level}' on this picture"
        return (f"no level keeps {rate} frames a second: the cheapest, '{self.level}', "
                f"reaches {1000 / self.latency_budget_ms:.1f}; use a GPU or a smaller model")


def measure_levels(model: str, pretrained: str, device: str, rounds: int = ROUNDS) -> Levels:
    """Run every level of the ladder for a device on one picture of 640x480.

    Args:
        model, pretrained, device: as of the node.
        rounds: after each level has been warmed up.

    Raises:
        WeightsError, ValueError: a model that cannot be had, or a device that is not there.
    """
    from sclip_seg_ros.common.cores import set_threads
    from sclip_seg_ros.io.ladders import ladder_for, read_ladder
    from sclip_seg_ros.models import resolve_device
    from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
    from sclip_seg_ros.tools.doctor.device import WORDS, picture
    from sclip_seg_ros.tools.figures.provenance import device_name
    from sclip_seg_ros.tools.level_costs import measure

    where = resolve_device(device)
    set_threads()  # as the node does
    ladder = ladder_for(where)
    segmentor = SCLIPSegmentor(model, pretrained, where, SegmentorSettings())
    costs = measure(segmentor, read_ladder(ladder, where), picture(), segmentor.vocabulary(WORDS),
                    rounds)
    return Levels(segmentor.name, device_name(where), ladder, costs)


def advise(levels: Levels, rate: float) -> Advice:
    """Return the budget that keeps a rate with the best level that can.

    Args:
        levels: as measured.
        rate: frames a second, of the camera.
    """
    budget = 1000.0 / rate
    for cost in levels.costs:
        if cost.total_ms <= SPARE * budget:
            return Advice(_rounded(budget), levels.ladder, cost.name, True, rate)
    cheapest = min(levels.costs, key=lambda cost: cost.total_ms)
    return Advice(_rounded(cheapest.total_ms / SPARE, up=True), levels.ladder, cheapest.name,
                  False, rate)


def _rounded(milliseconds: float, up: bool = False) -> float:
    """Return a round number of milliseconds; below the smallest, one with a decimal."""
    steps = milliseconds // ROUND_MS + (up and milliseconds % ROUND_MS > 0)
    return steps * ROUND_MS if steps else round(milliseconds, 1)
