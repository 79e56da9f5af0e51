"""The results of a day with a GPU as one Markdown page."""

from __future__ import annotations

from typing import Any

from benchmarks import report as bench_report
from sclip_seg_ros.common.text import markdown_table


def page(summary: dict[str, Any]) -> str:
    """Return everything as Markdown; what is missing has its reason.

    Args:
        summary: as in the JSON file beside it.
    """
    found = {step["name"]: step for step in summary["steps"]}
    lines = [f"# {summary['name']}, {summary['date']}", "",
             f"`{summary['command']}`, commit {summary['commit']}, torch {summary['torch']}.", "",
             *markdown_table(("step", "seconds", "result"), [
                 (step["name"], f"{step['seconds']:.0f}", step["problem"] or "done")
                 for step in summary["steps"]], aligned=True)]
    lines += _tests(found.get("tests", {}).get("figures", {}))
    lines += _nodes([step["figures"] for name, step in found.items()
                     if name.startswith("node") and step["figures"]])
    lines += _crf(found.get("crf", {}).get("figures", {}))
    lines += _bench(found.get("bench", {}).get("figures", {}))
    lines += _levels(found.get("doctor", {}).get("figures", {}))
    for name, step in found.items():
        if step["problem"]:
            lines += ["", f"## What went wrong with {name}", "",
                      f"`{step['command']}`: {step['problem']}", "", "```", step["said"], "```"]
    return "\n".join(lines) + "\n"


def _tests(figures: dict[str, Any]) -> list[str]:
    if not figures:
        return []
    return ["", "## Tests", "", f"{figures['passed']} passed, {len(figures['failed'])} failed, "
            f"{figures['skipped']} skipped.", *(f"- {name}" for name in figures["failed"])]


def _nodes(figures: list[dict[str, Any]]) -> list[str]:
    if not figures:
        return []
    return ["", "## The node, end to end", "", *markdown_table(
        ("model", "device", "labelled", "dropped", "p50 ms", "p95 ms", "capture to label p50 ms"),
        [(node["model"], node["device"], f"{node['frames_labelled']} of {node['frames_published']}",
          node["frames_dropped"], node["latency_ms"]["p50"], node["latency_ms"]["p95"],
          node["capture_to_label_ms"]["p50"]) for node in figures], aligned=True)]


def _crf(figures: dict[str, Any]) -> list[str]:
    if not figures:
        return []
    return ["", "## DenseCRF", "", *markdown_table(
        ("classes", "pydensecrf s", "lattice s", "half resolution s", "same labels"),
        [(row["classes"], f"{row['pydensecrf_seconds']:.3f}", f"{row['lattice_seconds']:.4f}",
          f"{row['lattice_half_resolution_seconds']:.4f}", f"{row['argmax_agreement']:.2%}")
         for row in figures["results"]], aligned=True)]


def _bench(figures: dict[str, Any]) -> list[str]:
    if not figures:
        return []
    return ["", "## Frames, beside the plain form", "", *bench_report.table(figures["results"])]


def _levels(figures: dict[str, Any]) -> list[str]:
    costs = figures.get("levels", {}).get("costs")
    if not costs:
        return []
    return ["", "## Quality levels of the embedded model", "", *markdown_table(
        ("level", "ms", "labels of the best level"),
        [(cost["name"], f"{cost['total_ms']:.2f}", f"{cost['agreement']:.1%}") for cost in costs],
        aligned=True)]
