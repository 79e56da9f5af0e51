"""`sclip-benchmark`: from checked flags to files with results."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from typing import Any

from sclip_seg_ros.common.entry import INTERRUPTED
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.benchmark.ablation import compare
from sclip_seg_ros.tools.benchmark.arguments import EXAMPLE, PROGRAM, add_arguments, check
from sclip_seg_ros.tools.benchmark.bench import Bench, open_journal, prepare
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.measuring import measure
from sclip_seg_ros.tools.benchmark.page import write_page
from sclip_seg_ros.tools.benchmark.report import summary, write_results
from sclip_seg_ros.tools.benchmark.results import DEFINITIONS, OF_FILMS, score, speed
from sclip_seg_ros.tools.benchmark.spread import measure_with_ray, meter_of
from sclip_seg_ros.tools.console import FAILED, complain
from sclip_seg_ros.tools.figures import provenance
from sclip_seg_ros.tools.program import Program


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the results and return the exit code."""
    bench = prepare(arguments)
    journal = open_journal(bench)
    path = bench.arguments.output
    try:
        if bench.arguments.ray is None:
            measure(meter_of(bench), bench.dataset, bench.indices, journal,
                    bench.arguments.workers)
        else:
            measure_with_ray(bench, journal)
        results = conclude(bench, journal, arguments.command)
        written = write_results(results, path)
        if bench.arguments.report:
            written.append(write_page(results, bench, journal, path.with_suffix(".html")))
    except KeyboardInterrupt:
        return complain(PROGRAM, f"interrupted after {len(journal.images)} of {len(bench.indices)} "
                        f"images; the same command{_without_restart(bench)} goes on",
                        INTERRUPTED)
    except UsageError:  # no Ray, or no cluster
        raise
    except (OSError, ValueError) as error:
        return complain(PROGRAM, f"{error} ({len(journal.images)} images are measured; the "
                                 f"same command{_without_restart(bench)} goes on)", FAILED)
    print(summary(results), ", ".join(map(str, written)), sep="\n")
    return 0


def _without_restart(bench: Bench) -> str:
    return ", without --restart," if bench.arguments.restart else ""


def conclude(bench: Bench, journal: Journal, command: str) -> dict[str, Any]:
    """Gather the journal into results that can be traced."""
    run, device = journal.run, bench.segmentor.device
    root = bench.arguments.data_root
    figures = compare(journal, bench.rows, bench.names) if bench.rows else {
        **score(journal.records(), bench.names), "speed": speed(journal.records())}
    return {
        "dataset": {**run["dataset"], "root": str(root.resolve()) if root else None},
        **figures,
        "definitions": DEFINITIONS | (OF_FILMS if bench.temporal else {}),
        "memory": provenance.peak_memory(device),
        **{key: run[key] for key in ("model", "profile", "method", "settings", "temporal",
                                     "fallbacks", "words") if key in run},
        "provenance": {
            "command": command,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": run["commit"],
            "device": provenance.device_name(device),
            "versions": provenance.versions(),
        },
    }


main = Program(PROGRAM, "Measure a segmentor on a data set. Its own profile is used unless "
               "--profile names another.", EXAMPLE, add_arguments, run, check)
