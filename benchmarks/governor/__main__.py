"""Judge the governor in simulated time, whole and without its rules, one at a time.

    scripts/run_in_overlay python -m benchmarks.governor --page

No clock is read, so that two runs print the same. ``--page`` writes the tables of
``benchmarks/results/governor.md``.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("benchmarks.governor.__main__", "governor"))

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from benchmarks.governor.situations import Figures, situations
from benchmarks.governor.variants import VARIANTS, changed
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.latency.governor import Governor
from sclip_seg_ros.tools.program import Program, documented, positive

PAGE = Path(__file__).resolve().parents[1] / "results" / "governor.md"
RATE = 10.0  # frames a second
HEAD = ("in budget", "worst", "changes in 1000 frames", "most", "back after, s", "longest, s",
        "quality")
ABOUT = f"""# The governor in simulated time

From `scripts/run_in_overlay python -m benchmarks.governor --page`. Situations are in
`benchmarks/governor/situations.py`: measured stage times, loads measured and written by hand.

- In budget: of the frames that the cheapest level would have kept within it; all situations, and
  the worst group of them.
- Changes of level in 1000 frames, on average and in the worst situation.
- Back after: from the end of a load to the best level that fits, at {RATE:g} frames a second; mean
  and longest.
- Quality: 100 is the best level all the time, 0 the cheapest.

Without narrow misses, every frame over the budget is taken for a load. With missing iterations, a
frame that its deadline cut short counts as if it had run in full. What earlier forms of the
governor had besides, and what it brought, is in [governor_before.md](governor_before.md).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--seeds", type=positive, default=1, help="of noise (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name}")


def run(options: argparse.Namespace) -> None:
    """Play all situations with every variant."""
    played = {}
    for name in options.only:
        played[name] = play(name, options.seeds)
        print("\n".join(markdown_table((name, *HEAD), group_rows(played[name]), aligned=True)),
              "", sep="\n", flush=True)
    lines = markdown_table(("", *HEAD), [(name, *cells(list(groups.values())))
                                         for name, groups in played.items()], aligned=True)
    print("\n".join(lines))
    if options.page:
        first = next(iter(played))
        PAGE.write_text("\n".join([ABOUT, *lines, "", f"## By situation, {first}", "",
                                   *markdown_table(("", *HEAD), group_rows(played[first]),
                                                   aligned=True), ""]), encoding="utf-8")


def play(variant: str, seeds: int) -> dict[str, Figures]:
    """Return what comes of each group of situations with a variant of the governor."""
    groups: dict[str, Figures] = {}
    with changed(VARIANTS[variant]):
        for situation in situations(seeds):
            governor = Governor(len(situation.machine.levels), situation.budget_ms)
            situation.machine.warm_up(governor)
            run = situation.machine.run(governor, situation.frames)
            groups.setdefault(situation.group, Figures()).add(situation, run)
    return groups


def group_rows(groups: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """Return a row of each group."""
    return [(name, *cells([figures])) for name, figures in groups.items()]


def cells(groups: list[Figures]) -> tuple[str, ...]:
    """Return the figures of some groups together."""
    owed, over = (sum(getattr(group, name) for group in groups) for name in ("owed", "over"))
    frames, changes = (sum(getattr(group, name) for group in groups)
                       for name in ("frames", "changes"))
    back = [frames / RATE for group in groups for frames in group.back]
    return (f"{100 - 100 * over / owed:.2f} %",
            f"{100 * min(group.kept for group in groups):.2f} %",
            f"{1000 * changes / frames:.1f}", f"{max(group.most_changes for group in groups):.0f}",
            *((f"{mean(back):.1f}", f"{max(back):.1f}") if back else ("", "")),
            f"{100 * mean(quality for group in groups for quality in group.qualities):.1f}")


main = Program(*documented(__doc__), add_arguments, run)
