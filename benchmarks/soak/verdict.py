"""What a soak showed: a summary, the faults found, and a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.soak.process_sampler import Sample
from benchmarks.soak.trend import SIGNIFICANT, Trend, fit
from sclip_seg_ros.common.text import aligned

WARM_UP_SHARE = 0.25      # of the time, left out: caches fill, every level and size is met once
WARM_UP_SECONDS = 20.0    # left out at least, up to half the time: one round of all changes
MEMORY_MB = 10.0          # a smaller growth over the time measured is no leak one could tell ...
MEMORY_MB_A_MINUTE = 1.0  # ... nor is a slower one
FILES = 2.0               # a smaller growth of open files over the time measured is none
_FEW = 5                  # samples whose median is "at the end of the warm-up" and "at the end"
FATES = ("labelled", "dropped", "rejected", "failed", "skipped")


def summarise(samples: Sequence[Sample], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures and faults of a soak.

    Args:
        samples: of the node's process, over the whole time.
        counts: what camera and consumer counted, see :mod:`benchmarks.soak.driver`.
    """
    length = samples[-1].seconds
    begin = max(WARM_UP_SHARE * length, min(WARM_UP_SECONDS, length / 2))
    warm = [sample for sample in samples if sample.seconds >= begin]
    times = [sample.seconds for sample in warm]
    trends = {name: fit(times, [getattr(sample, name) for sample in warm])
              for name in ("resident_mb", "allocated_mb", "files")}
    threads = (median(sample.threads for sample in warm[:_FEW]),
               median(sample.threads for sample in warm[-_FEW:]))
    return {
        "seconds": round(samples[-1].seconds, 1),
        "warm_up_seconds": round(times[0], 1),
        **{name: _rounded(trend) for name, trend in trends.items()},
        "threads": {"after_warm_up": threads[0], "at_end": threads[1],
                    "highest": max(sample.threads for sample in samples)},
        "criterion": criterion((times[-1] - times[0]) / 60.0),
        **counts,
        "faults": [*_growing(trends, threads, times[-1] - times[0]), *_lost(counts),
                   *_untested(counts)],
    }


def criterion(minutes: float) -> str:
    """Return in words what counts as growth, for a time measured."""
    return (f"growth: a slope of more than {SIGNIFICANT:g} standard errors, and over the time "
            f"measured more than {memory_bound(minutes):.1f} MB of memory or {FILES:g} files")


def memory_bound(minutes: float) -> float:
    """Return how many MB the memory may grow in so many minutes."""
    return max(MEMORY_MB, MEMORY_MB_A_MINUTE * minutes)


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as aligned lines."""
    rows = [("", "first", "last", "highest", "slope a minute", "standard error")]
    for key, unit in (("resident_mb", "resident, MB"), ("allocated_mb", "allocated, MB"),
                      ("files", "open files")):
        trend = summary[key]
        rows.append((unit, *(f"{trend[name]:.1f}" for name in ("first", "last", "highest")),
                     f"{trend['slope']:+.3f}", f"{trend['error']:.3f}"))
    threads = summary["threads"]
    rows.append(("threads", f"{threads['after_warm_up']:g}", f"{threads['at_end']:g}",
                 f"{threads['highest']:g}", "", ""))
    frames = summary["frames"]
    fates = ", ".join(f"{frames[fate]} {fate}" for fate in FATES)
    return "\n".join([
        *aligned(rows),
        f"frames: {summary['sent']} sent, {frames['received']} received = {fates}; "
        f"{summary['labels_heard']} labels heard",
        f"changes: {summary['vocabulary_versions']} vocabularies, {summary['level_changes']} "
        f"quality levels, {summary['size_changes']} image sizes; "
        f"{summary['budget_misses']} frames over their budget",
        f"measured {summary['seconds'] - summary['warm_up_seconds']:.0f} s after "
        f"{summary['warm_up_seconds']:.0f} s of warm-up; {summary['criterion']}"])


def _rounded(trend: Trend) -> dict[str, float]:
    return {name: round(value, 4) for name, value in vars(trend).items()}


def _growing(trends: Mapping[str, Trend], threads: tuple[float, float],
             seconds: float) -> list[str]:
    memory = memory_bound(seconds / 60.0)
    bounds = {"resident_mb": ("resident memory grows", memory, "MB"),
              "allocated_mb": ("allocated memory grows", memory, "MB"),
              "files": ("open files grow", FILES, "files")}
    faults = []
    for name, (what, bound, unit) in bounds.items():
        trend = trends[name]
        if trend.grows(bound):
            faults.append(f"{what} by {trend.slope:.2f} {unit} a minute "
                          f"(standard error {trend.error:.2f})")
    if threads[1] > threads[0]:
        faults.append(f"threads were left behind: {threads[0]:g} after the warm-up, "
                      f"{threads[1]:g} at the end")
    return faults


def _lost(counts: Mapping[str, Any]) -> list[str]:
    """Return where the books of camera, node and consumer do not agree."""
    frames, faults = counts["frames"], []
    if frames["received"] != counts["sent"]:
        faults.append(f"{counts['sent']} frames were sent and {frames['received']} received")
    accounted = sum(frames[fate] for fate in FATES)
    if accounted != frames["received"]:
        faults.append(f"{frames['received']} frames were received and {accounted} accounted for")
    if counts["labels_heard"] != frames["labelled"]:
        faults.append(f"{frames['labelled']} frames were labelled and {counts['labels_heard']} "
                      "labels heard")
    if counts["strange_labels"]:
        faults.append(f"{counts['strange_labels']} labels had another size than their frame, or "
                      "ids that their vocabulary lacks")
    for fate in ("rejected", "failed", "skipped"):
        if frames[fate]:
            faults.append(f"{frames[fate]} frames were {fate}: {counts['last_error']}")
    return faults


def _untested(counts: Mapping[str, Any]) -> list[str]:
    """Return what did not change, though it should have all the while."""
    wanted = {"vocabulary_versions": "vocabulary", "level_changes": "quality level",
              "size_changes": "image size"}
    faults = [f"the {name} hardly changed" for key, name in wanted.items() if counts[key] < 2]
    if counts["refused_changes"]:
        faults.append(f"{counts['refused_changes']} parameter changes were refused")
    return faults
