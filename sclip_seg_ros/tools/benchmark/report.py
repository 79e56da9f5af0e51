"""Results for people: a Markdown page beside the JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TITLES = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy",
           "frequency_weighted_iou": "frequency-weighted IoU", "boundary_f1": "boundary F1",
           "boundary_iou": "boundary IoU"}
_COLUMNS = {"iou": "IoU", "accuracy": "accuracy", "boundary_f1": "boundary F1",
            "boundary_iou": "boundary IoU", "share_of_truth": "share of the truth"}


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results as JSON to a path, and as Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, json.dumps(results, indent=2) + "\n")
    _replace(path.with_suffix(".md"), markdown(results))


def markdown(results: Mapping[str, Any]) -> str:
    """Describe results as a Markdown page: scores, origin, speed, classes."""
    dataset, model = results["dataset"], results["model"]
    lines = [f"# {dataset['name']}: {model['name']}, {results['method']}", "",
             f"{dataset['images']} images, {len(results['by_class'])} classes in the truth. "
             "Scores in percent.", *_warning(model), "", "| score | % | meaning |", "|---|---|---|"]
    lines += [f"| {_TITLES[key]} | {_percent(value)} | {results['definitions'][key]} |"
              for key, value in results["scores"].items()]
    lines += ["", "## Origin", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in _origin(results).items()]
    lines += ["", "## Classes", "", f"| class | {' | '.join(_COLUMNS.values())} |",
              "|---" * (len(_COLUMNS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_percent(row[key]) for key in _COLUMNS)} |"
              for name, row in results["by_class"].items()]
    return "\n".join([*lines, ""])


def summary(results: Mapping[str, Any]) -> str:
    """Return the scores and the speed in one line."""
    scores = ", ".join(f"{_TITLES[key]} {_percent(value)}"
                       for key, value in results["scores"].items())
    rate = results["speed"]["images_per_second"]
    return f"{scores} (percent); {rate:.2f} images/s"


def _origin(results: Mapping[str, Any]) -> dict[str, Any]:
    model, origin = results["model"], results["provenance"]
    stages = ", ".join(f"{stage} {value:.1f}"
                       for stage, value in results["speed"]["stage_ms"].items())
    return {
        "weights": model["weights_file"],
        "weights' SHA-256": model["weights_sha256"],
        "profile, method": f"{results['profile'] or 'none'}, {results['method']}",
        "replaced stages": ", ".join(results["fallbacks"]) or "none",
        "command": origin["command"],
        "date": origin["date"],
        "commit": origin["commit"],
        "device": origin["device"],
        "images/s": f"{results['speed']['images_per_second']:.3f}",
        "milliseconds by stage": stages,
        "peak memory, MiB": ", ".join(f"{key.removesuffix('_mib')} {value:.0f}"
                                      for key, value in results["memory"].items()
                                      if value is not None),
        "versions": ", ".join(f"{name} {number}" for name, number in origin["versions"].items()),
        "settings": json.dumps(results["settings"]),
    }


def _warning(model: Mapping[str, Any]) -> list[str]:
    if model["weights_sha256"] is not None:
        return []
    return ["", "**Random weights: these figures say nothing about a model.**"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _cell(value: Any) -> str:
    return "none" if value is None else str(value).replace("|", "\\|")


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, so that no half of it is ever seen."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
