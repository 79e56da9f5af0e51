"""`sclip-benchmark`: from checked flags to files with results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from sclip_seg_ros.tools import provenance
from sclip_seg_ros.tools.benchmark.ablation import AblationMeter, compare
from sclip_seg_ros.tools.benchmark.arguments import PROGRAM, parse
from sclip_seg_ros.tools.benchmark.bench import Bench, open_journal, prepare
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.measuring import Meter, measure
from sclip_seg_ros.tools.benchmark.page import write_page
from sclip_seg_ros.tools.benchmark.report import summary, write_results
from sclip_seg_ros.tools.benchmark.results import DEFINITIONS, score, speed
from sclip_seg_ros.tools.console import FAILED, INTERRUPTED, UNUSABLE, USER_ERRORS, complain


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the results and return the exit code (2: unusable flags or data)."""
    command = shlex.join([PROGRAM, *(sys.argv[1:] if arguments is None else arguments)])
    try:
        bench = prepare(parse(arguments))
        journal = open_journal(bench)
    except USER_ERRORS as error:
        return complain(PROGRAM, error, UNUSABLE)
    path = bench.arguments.output
    try:
        measure(_meter(bench), bench.dataset, bench.indices, journal, bench.arguments.workers)
        results = conclude(bench, journal, command)
        written = write_results(results, path)
        if bench.arguments.report:
            written.append(write_page(results, bench, journal, path.with_suffix(".html")))
    except KeyboardInterrupt:
        return complain(PROGRAM, f"interrupted after {len(journal.images)} of {len(bench.indices)} "
                         "images; add --resume to go on", INTERRUPTED)
    except (OSError, ValueError) as error:
        return complain(PROGRAM, f"{error} ({len(journal.images)} images are measured; add "
                                 "--resume to go on)", FAILED)
    print(summary(results), ", ".join(map(str, written)), sep="\n")
    return 0


def conclude(bench: Bench, journal: Journal, command: str) -> dict[str, Any]:
    """Gather the journal into results that can be traced."""
    run, device = journal.run, bench.segmentor.device
    root = bench.arguments.data_root
    figures = compare(journal, bench.rows, bench.names) if bench.rows else {
        **score(journal.records(), bench.names), "speed": speed(journal.records())}
    return {
        "dataset": {**run["dataset"], "root": str(root.resolve()) if root else None},
        **figures,
        "definitions": DEFINITIONS,
        "memory": provenance.peak_memory(device),
        **{key: run[key] for key in ("model", "profile", "method", "settings", "fallbacks",
                                     "words")},
        "provenance": {
            "command": command,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": run["commit"],
            "device": provenance.device_name(device),
            "versions": provenance.versions(),
        },
    }


def _meter(bench: Bench) -> Meter | AblationMeter:
    if bench.rows:
        return AblationMeter(bench.segmentor, bench.rows, bench.vocabulary)
    return Meter(bench.segmentor, bench.vocabulary)
