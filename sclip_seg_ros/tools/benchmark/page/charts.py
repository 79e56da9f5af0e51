"""The numbers behind the page's charts: confusion between classes, and time by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.segmentation.refinement import REFINEMENTS
from sclip_seg_ros.tools.figures.metrics import NONE, Confusion

LARGEST = 24  # classes in the confusion matrix; more could not be read


@dataclass(frozen=True)
class ConfusionChart:
    """Which share of a class's pixels was taken for which class.

    Attributes:
        names: of the classes shown, the most frequent ones.
        hidden: how many classes of the truth are not shown.
        rows: name, shares by column, share taken for classes not shown, share without a class.
    """

    names: tuple[str, ...]
    hidden: int
    rows: tuple[tuple[str, tuple[float, ...], float, float], ...]


@dataclass(frozen=True)
class Bar:
    """The time of one configuration, by stage.

    Attributes:
        title: of the configuration.
        total: milliseconds an image.
        parts: stage, milliseconds, share of the longest bar.
    """

    title: str
    total: float
    parts: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class TimeChart:
    """Bars on one scale, and the stages in running order for the legend."""

    bars: tuple[Bar, ...]
    stages: tuple[str, ...]


def confusion_chart(records: Iterable[Mapping[str, Any]], names: Sequence[str],
                    by_class: Mapping[str, Mapping[str, float]]) -> ConfusionChart:
    """Gather the confusion of the most frequent classes, in the data set's order.

    Args:
        records: of a journal.
        names: of the classes, for records that bring none of their own.
        by_class: the classes in the truth with their `share_of_truth`.
    """
    confusion = Confusion()
    for record in records:
        confusion.add_cells(record["confusion"], record.get("classes", names))
    frequent = set(sorted(by_class, key=lambda name: -by_class[name]["share_of_truth"])[:LARGEST])
    shown = tuple(name for name in by_class if name in frequent)
    rows = []
    for name, shares in zip(shown, confusion.shares(shown, [*shown, NONE]), strict=True):
        *known, none = shares
        rows.append((name, tuple(known), max(0.0, 1.0 - sum(shares)), none))
    return ConfusionChart(shown, len(by_class) - len(shown), tuple(rows))


def time_chart(speeds: Iterable[tuple[str, Mapping[str, Any]]]) -> TimeChart:
    """Lay the stage times of configurations out on one scale.

    Args:
        speeds: title and `speed` of every configuration.
    """
    speeds = list(speeds)
    longest = max(sum(speed["stage_ms"].values()) for _, speed in speeds)
    stages = dict.fromkeys(stage for _, speed in speeds for stage in speed["stage_ms"])
    order = sorted(stages, key=_place)
    bars = tuple(Bar(title, speed["milliseconds_per_image"],
                     tuple((stage, speed["stage_ms"][stage], speed["stage_ms"][stage] / longest)
                           for stage in order if stage in speed["stage_ms"]))
                 for title, speed in speeds)
    return TimeChart(bars, tuple(order))


def _place(stage: str) -> int:
    """Return a stage's place in the way of an image, which no single configuration shows."""
    way = ("preprocess", "encode", "proxy", "upsample", "similarity", "stitch", "prune",
           *REFINEMENTS, "decode")
    return way.index(stage) if stage in way else len(way)
