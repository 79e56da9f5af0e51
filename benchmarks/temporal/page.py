"""The committed table of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sclip_seg_ros.common.text import markdown_table

TITLES = {
    "aside": "the true labels, moved 3 pixels aside: steady",
    "per_frame": "every frame alone",
    "fused": "**every frame, fused with the past**",
    "every_2": "tower on every 2nd frame, carried between",
    "every_4": "tower on every 4th frame, carried between",
    "every_4_late_3": "the same, scores 3 frames late",
    "in_place": "not: smoothed in place (0.7), without flow",
    "no_gate": "not: fused without the gate",
    "held_2": "not: every 2nd frame, labels held between",
    "held_4": "not: every 4th frame, labels held between",
}
COLUMNS = {"miou": "mIoU", "flips": "flips", "flips_exact": "to the pixel", "tc": "TC",
           "unlabelled": "unlabelled", "mover_iou": "mover's IoU"}
KINDS = {"static": "only the camera moves", "movers": "a thing moves by itself"}


def page(figures: Mapping[str, Any]) -> str:
    """Describe the figures of all sections that were run, as Markdown."""
    lines = ["# What time brings", "",
             "From `scripts/run_in_overlay python -m benchmarks.temporal --page`, on "
             f"{figures['device']}, one thread.", "",
             f"{figures['films']} rendered films of each kind, 24 frames of 640x480 at 15 frames a "
             "second, exact labels and motion, embedded model; means over films, in percent. "
             "Flips: pixels whose label is found nowhere within a pixel of where they moved to, "
             "though the true label stays; *to the pixel*: is not found at that very pixel. Motion "
             "is known to whole pixels, so that outlines beside the true ones flip to the pixel "
             "however steady they are. PAMR is off, but where it is named. TC: mIoU between a "
             "label image and the next one brought back along the motion. "
             "[What it means](../../docs/time.md)."]
    if "sequences" in figures:
        lines += _tables(figures["sequences"], TITLES)
    if "pamr" in figures:
        pamr = figures["pamr"]
        lines += ["", f"## With PAMR, which sees fused scores ({pamr['films']} films)"]
        joined = {kind: {f"{name}{suffix}": row for state, suffix in (("off", ""), ("on", "+"))
                         for name, row in pamr[state][kind].items()} for kind in KINDS}
        names = {f"{name}{suffix}": TITLES[name].strip("*") + ("; PAMR" if suffix else "")
                 for suffix in ("", "+") for name in pamr["on"]["static"]}
        lines += _tables(joined, names, "###")
    if "light" in figures:
        lines += ["", "## While the brightness goes 20 % up and down"]
        lines += _tables(figures["light"], TITLES, "###")
    if "choices" in figures:
        lines += ["", "## Weight and gate"]
        rows = figures["choices"]["static"]
        lines += _tables(figures["choices"], {name: TITLES.get(name, name) for name in rows}, "###")
    lines += _rest(figures)
    return "\n".join(lines) + "\n"


def _tables(kinds: Mapping[str, Any], titles: Mapping[str, str], level: str = "##") -> list[str]:
    lines: list[str] = []
    for kind, title in KINDS.items():
        columns = [name for name in COLUMNS if name in next(iter(kinds[kind].values()))]
        lines += ["", f"{level} {title[0].upper()}{title[1:]}", ""]
        lines += markdown_table(["", *(COLUMNS[name] for name in columns)], (
            (title, *(f"{row[name]:.2f}" for name in columns))
            for key, title in titles.items() if (row := kinds[kind].get(key))))
    return lines


def _rest(figures: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if "camvid_5" in figures:
        lines += ["", "## True labels of CamVid carried on", "",
                  *markdown_table(("frames", "mIoU, carried", "held"), (
                      (frames, f"{figures[f'camvid_{frames}']:.3f}",
                       f"{figures[f'camvid_{frames}_held']:.3f}") for frames in (5, 10)))]
    if "tracked_frame_stages_ms" in figures:
        stages = figures["tracked_frame_stages_ms"]
        names = list(next(iter(stages.values())))
        lines += ["", "## A frame without a tower run, 20 words, one thread", "",
                  "Milliseconds of processor time, medians.", "",
                  *markdown_table(("size", *names), (
                      (size, *(f"{row[name]:.1f}" for name in names))
                      for size, row in stages.items()))]
    if "decode_ms" in figures:
        lines += ["", "## Deciding labels, one thread", "",
                  "Scores that were carried to a frame, decoded block by block (plain) and as now, "
                  "in turn; milliseconds of processor time and their ratio, medians.", "",
                  *markdown_table(("words", "size", "plain", "now", "ratio"), (
                      (words, size, f"{row['plain']:.1f}", f"{row['now']:.1f}",
                       f"{row['ratio']:.2f}")
                      for words, sizes in figures["decode_ms"].items()
                      for size, row in sizes.items()))]
    if "rest" in figures:
        rest = figures["rest"]
        lines += ["", "## A camera that stands still", "",
                  "A thing moves for 1.6 s, 3 s of rest before and after: "
                  f"{100 * rest['saved']:.0f} % of the tower runs are saved; mIoU "
                  f"{rest['miou_resting']:.1f} instead of {rest['miou_always']:.1f}."]
    return lines
