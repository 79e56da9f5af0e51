"""The ablation as a Markdown table: what was measured, and beside it what the documents expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sclip_seg_ros.common.text import markdown_table

COLUMNS = ("stages", "mIoU", "gain", "expected", "boundary F1", "gain", "expected", "boundary IoU",
           "pixel accuracy", "ms/image", "speed", "expected", "MiB", "memory", "expected")
NOTES = (
    "Gains are percentage points over the plain method; expected gains, speeds and memory are the "
    "design documents', for OpenAI's ViT-B/16 on COCO-Stuff, and say nothing of other models and "
    "data sets.",
    "Every image went through all rows in turn. Speed is the median over images of plain time / "
    "time, so below 1 is slower; memory is the peak while the first image is segmented a second "
    "time: on a CPU of the whole process, on CUDA of its tensors.",
)


def ablation_table(results: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table and its notes."""
    lines = markdown_table(COLUMNS, map(cells, results["configurations"]), figures=True)
    for note in (*reasons(results), *NOTES):
        lines += ["", note]
    return lines


def reasons(results: Mapping[str, Any]) -> list[str]:
    """Return, once each, why rows were not measured."""
    return [f"Not measured: {reason}." for reason in
            dict.fromkeys(row["skipped"] for row in results["configurations"] if row["skipped"])]


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of one row; a row that was not measured holds its reason."""
    expected = row["expected"]
    if row["skipped"]:
        return [row["title"], row["skipped"].partition(":")[0], "", expected.get("miou_gain", ""),
                "", "", expected.get("boundary_f1_gain", ""), "", "", "", "",
                expected.get("speed", ""), "", "", expected.get("memory", "")]
    scores, compared = row["scores"], row["compared"]
    return [
        row["title"],
        _percent(scores["miou"]), _gain(compared["miou_gain"]), expected.get("miou_gain", ""),
        _percent(scores["boundary_f1"]), _gain(compared["boundary_f1_gain"]),
        expected.get("boundary_f1_gain", ""),
        _percent(scores["boundary_iou"]), _percent(scores["pixel_accuracy"]),
        f"{row['speed']['milliseconds_per_image']:.0f}", _ratio(compared["speed"]),
        expected.get("speed", ""),
        "-" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}",
        _ratio(compared["memory"]), expected.get("memory", ""),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _gain(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
