"""Write the page of a run: one HTML file that needs no other, no script and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sclip_seg_ros.tools.benchmark.ablation import records_of
from sclip_seg_ros.tools.benchmark.ablation_table import COLUMNS as ABLATION_COLUMNS
from sclip_seg_ros.tools.benchmark.ablation_table import NOTES, cells, reasons
from sclip_seg_ros.tools.benchmark.bench import Bench
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.page.charts import confusion_chart, time_chart
from sclip_seg_ros.tools.benchmark.page.examples import Examples, Rendering, extremes
from sclip_seg_ros.tools.benchmark.report import COLUMNS, TITLES, origin, percent, replace_text
from sclip_seg_ros.tools.benchmark.results import image_miou
from sclip_seg_ros.tools.figures.configurations import PLAIN


def write_page(results: Mapping[str, Any], bench: Bench, journal: Journal, path: Path) -> Path:
    """Segment the worst and best images again and write the page; return its path.

    Args:
        results: of the run, as in its JSON file.
        bench: the model and the data set.
        journal: the counts of every image.
        path: of the HTML file.

    Raises:
        DatasetError: an image is not there any more.
        OSError: the page cannot be written.
    """
    environment = Environment(loader=PackageLoader(__package__, "."), undefined=StrictUndefined,
                              autoescape=select_autoescape(), trim_blocks=True,
                              lstrip_blocks=True)
    environment.filters["percent"] = percent
    text = environment.get_template("page.html").render(_content(results, bench, journal))
    replace_text(path, text)
    return path


def _content(results: Mapping[str, Any], bench: Bench, journal: Journal) -> dict[str, Any]:
    """Gather everything that the template shows."""
    rows = results.get("configurations")
    first = rows[0] if rows else results  # of an ablation the plain method
    records = list(records_of(journal, PLAIN) if rows else journal.records())
    renderings = _renderings(results, bench, records)
    worst, best = extremes(renderings[0].mious)
    examples = Examples(bench, renderings)
    return {
        "results": results, "titles": TITLES, "scores": first["scores"],
        "class_columns": COLUMNS, "classes": first["by_class"],
        "ablation": _ablation(results) if rows else None,
        "confusion": confusion_chart(records, bench.names, first["by_class"]),
        "times": time_chart([(row["title"], row["speed"]) for row in rows if row["scores"]]
                            if rows else [("", results["speed"])]),
        "worst": [examples.make(place) for place in worst],
        "best": [examples.make(place) for place in best],
        "origin": origin(results),
    }


def _ablation(results: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the table out; a reason stands by the row's title, where it does not widen a column."""
    rows = []
    for row in results["configurations"]:
        title, first, *rest = cells(row)
        rows.append((title, first, ["", *rest]) if row["skipped"] else (title, "", [first, *rest]))
    return {"columns": ABLATION_COLUMNS, "rows": rows, "notes": [*reasons(results), *NOTES]}


def _renderings(results: Mapping[str, Any], bench: Bench,
                records: Sequence[Mapping[str, Any]]) -> list[Rendering]:
    """Return what is shown of every image: the prediction, or each row's of an ablation."""
    if not bench.rows:
        mious = [image_miou(record, bench.names) for record in records]
        return [Rendering("prediction", bench.segmentor.settings, mious, confidence=True)]
    by_key = {row["key"]: row for row in results["configurations"]}
    made = [Rendering(row.configuration.title, row.settings,
                      by_key[row.configuration.key]["miou_by_image"])
            for row in bench.rows if row.settings]
    return [replace(made[0], confidence=True), *made[1:]]
