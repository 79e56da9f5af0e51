"""Results for people: a Markdown page beside the JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.tools.benchmark.ablation_table import ablation_table

TITLES = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy",
           "frequency_weighted_iou": "frequency-weighted IoU", "boundary_f1": "boundary F1",
           "boundary_iou": "boundary IoU", "tc": "temporal consistency", "flips": "flips"}
COLUMNS = {"iou": "IoU", "accuracy": "accuracy", "boundary_f1": "boundary F1",
            "boundary_iou": "boundary IoU", "share_of_truth": "share of the truth"}


def write_results(results: Mapping[str, Any], path: Path) -> list[Path]:
    """Write results as JSON to a path, and as Markdown beside it; return both paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = path.with_suffix(".md")
    replace_text(path, json.dumps(results, indent=2) + "\n")
    replace_text(page, markdown(results))
    return [path, page]


def markdown(results: Mapping[str, Any]) -> str:
    """Describe results as a Markdown page: scores or the ablation's table, origin, classes."""
    dataset, model = results["dataset"], results["model"]
    lines = [f"# {dataset['name']}: {model['name']}, {results['method']}", "",
             f"{dataset['images']} images. Scores in percent.", *_warning(model), ""]
    lines += ablation_table(results) if "configurations" in results else _scores(results)
    lines += ["", "## Origin", "", *markdown_table(("", ""), (
        (key, "none" if value is None else value) for key, value in origin(results).items()))]
    if "by_class" in results:
        lines += ["", "## Classes", "", *markdown_table(("class", *COLUMNS.values()), (
            (name, *(percent(row[key]) for key in COLUMNS))
            for name, row in results["by_class"].items()))]
    return "\n".join([*lines, ""])


def summary(results: Mapping[str, Any]) -> str:
    """Return the scores and the speed in one line, or the ablation's table."""
    if "configurations" in results:
        return "\n".join(ablation_table(results))
    scores = ", ".join(f"{TITLES[key]} {percent(value)}"
                       for key, value in results["scores"].items())
    rate = results["speed"]["images_per_second"]
    return f"{scores} (percent); {rate:.2f} images/s"


def origin(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the figures depend on, for a table of two columns."""
    model, source = results["model"], results["provenance"]
    rows = {
        "weights": model["weights_file"],
        "weights' SHA-256": model["weights_sha256"],
        "upsamplers' weights": ", ".join(f"{title} {origin}" for title, origin
                                         in model["upsamplers"].items()) or "none",
        "precision": model["precision"],
        "profile, method": f"{results['profile'] or 'none'}, {results['method']}",
        "replaced stages": ", ".join(results["fallbacks"]) or "none",
        "command": source["command"],
        "date": source["date"],
        "commit": source["commit"],
        "device": source["device"],
    }
    if "speed" in results:
        rows |= _speed(results)
    return rows | {
        "versions": ", ".join(f"{name} {number}" for name, number in source["versions"].items()),
        "settings": json.dumps(results["settings"]),
    }


def percent(value: float | None) -> str:
    """Write a share as percent with two digits; None is a dash."""
    return "-" if value is None else f"{100 * value:.2f}"


def replace_text(path: Path, text: str) -> None:
    """Write a file in one step, so that no half of it is ever seen."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _scores(results: Mapping[str, Any]) -> list[str]:
    return [f"{len(results['by_class'])} classes in the truth.", "",
            *markdown_table(("score", "%", "meaning"), (
                (TITLES[key], percent(value), results["definitions"][key])
                for key, value in results["scores"].items()))]


def _speed(results: Mapping[str, Any]) -> dict[str, str]:
    stages = ", ".join(f"{stage} {value:.1f}"
                       for stage, value in results["speed"]["stage_ms"].items())
    memory = ", ".join(f"{key.removesuffix('_mib')} {value:.0f}"
                       for key, value in results["memory"].items() if value is not None)
    return {"images/s": f"{results['speed']['images_per_second']:.3f}",
            "milliseconds by stage": stages, "peak memory, MiB": memory}


def _warning(model: Mapping[str, Any]) -> list[str]:
    if model["weights_sha256"] is not None:
        return []
    return ["", "**Random weights: these figures say nothing about a model.**"]
