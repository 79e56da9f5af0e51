"""The benchmark's results as JSON, and as tables to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sclip_seg_ros.common.text import markdown_table

LEGEND = {
    "ratio": "median over rounds of the reference's time / the pipeline's, taken in turn",
    "peak_mb": "MiB beyond what the process (on CUDA: the device) held before the frame, without "
               "CUDA graphs, which hold theirs all the time",
    "label_agreement": "share of pixels with the reference's label, which is float32",
    "matrix_rate_share": "operations of the tower's matrix products in its stage's time / the "
                         "measured rate of a large product in the same precision",
    "ratio_vs_pydensecrf": "pydensecrf's time on the CPU / DenseCRF's on the device",
}


def table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the results as lines of a Markdown table."""
    return _aligned(
        ("model", "size", "classes", "inference", "ms", "frames/s", "encode", "decode", "CRF",
         "MiB", "reference ms", "reference MiB", "ratio (lowest to highest)", "labels agree",
         "matrix rate"),
        [(f"{row['model']} {row['precision']}", "x".join(map(str, row["size"])), row["classes"],
          row["inference"], f"{row['total_ms']:.1f}", row["fps"],
          f"{row['stage_ms']['encode']:.1f}", f"{row['stage_ms']['decode']:.1f}",
          f"{row['stage_ms']['densecrf']:.1f}" if row["densecrf"] else "",
          _mebibytes(row["peak_mb"]), f"{row['reference_total_ms']:.1f}",
          _mebibytes(row["reference_peak_mb"]),
          f"{row['ratio']:.2f} ({row['ratio_lowest']:.2f} to {row['ratio_highest']:.2f})",
          f"{row['label_agreement']:.2%}", f"{row['matrix_rate_share']:.0%}") for row in rows])


def crf_table(crf: dict[str, Any]) -> list[str]:
    """Return the CRF's comparison as lines of a Markdown table."""
    return _aligned(("size", "classes", "iterations", "pydensecrf ms", "ms", "ratio", "argmax"), [(
        "x".join(map(str, crf["size"])), crf["classes"], crf["iterations"],
        f"{crf['pydensecrf_ms']:.0f}", f"{crf['total_ms']:.0f}",
        f"{crf['ratio_vs_pydensecrf']:.2f}", f"{crf['argmax_agreement']:.2%}")])


def curve_table(name: str, points: Sequence[dict[str, Any]]) -> list[str]:
    """Return one scaling curve as lines of a Markdown table, relative to its first point."""
    first = points[0]

    def place(point: dict[str, Any]) -> str:
        return "x".join(map(str, point["size"])) if name == "area" else str(point[name])

    return _aligned((name, "ms", "x first", "MiB"), [
        (place(point), f"{point['total_ms']:.1f}", f"{point['total_ms'] / first['total_ms']:.2f}",
         _mebibytes(point["peak_mb"])) for point in points])


def page(summary: dict[str, Any]) -> str:
    """Return everything as one Markdown page."""
    lines = [f"# {summary['device']}, {summary['date']}", "",
             f"`{summary['command']}`, commit {summary['commit']}, torch {summary['torch']}, "
             f"{summary['threads']} thread(s), {summary['clock']}.", "",
             "Measured matrix rate: " + ", ".join(
                 f"{rate:.0f} Gop/s in {name}" for name, rate in
                 summary["matrix_rate_gops"].items()) + ".", "",
             "## Frames", "", *table(summary["results"]), "",
             "## DenseCRF", "", *crf_table(summary["crf"])]
    for name, points in summary["curves"].items():
        lines += ["", f"## Against {name}", "", *curve_table(name, points)]
    lines += ["", "## What the columns mean", "",
              *(f"- {name}: {text}" for name, text in LEGEND.items())]
    return "\n".join(lines) + "\n"


def _aligned(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a table that also reads in a terminal."""
    return markdown_table(head, rows, aligned=True)


def _mebibytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
