"""What PAMR brings and costs by the size of its copy, its neighbours and its steps.

    scripts/run_in_overlay python -m benchmarks.pamr --rooms 20 --page

On rendered rooms of both worlds, with the embedded model; and on CamVid's drive, where the scores
are the true labels averaged over patches of 16 pixels, the finest that a tower of such patches can
tell, with more and more noise. Every row refines the same scores; times are of one thread.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.pamr", "pamr"))

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sclip_research.evaluate_embedded_model import Tally
from sclip_research.scenes.held_out import held_out_nouns, held_out_scene
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d
from tqdm import tqdm

from benchmarks.clocks import device_name
from benchmarks.temporal.camvid import CAMVID
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.io.profiles import load_profile
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.tools.benchmark.datasets import open_camvid
from sclip_seg_ros.tools.program import Program, documented, positive

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks/results/pamr.md"
EVERY = 3               # frames of CamVid, of which one is taken
PATCH = 16              # pixels
NOISES = (0.0, 0.25, 0.5)  # deviation of a patch's scores, of 0 and 1 without noise
ROWS = {                # resolution, dilations, steps
    "published": (1.0, (8, 16), 10),
    "1, 3 and 12, 4 steps": (1.0, (3, 12), 4),
    "1/2, 3 and 12, 4 steps": (0.5, (3, 12), 4),
    "1/3, 8 and 16, 10 steps": (0.333, (8, 16), 10),
    "**1/3, 3 and 12, 4 steps**": (0.333, (3, 12), 4),
    "1/3, 3 and 12, 2 steps": (0.333, (3, 12), 2),
    "1/3, 6 and 15, 4 steps": (0.333, (6, 15), 4),
    "1/4, 3 and 12, 4 steps": (0.25, (3, 12), 4),
}


@dataclass
class Column:
    """Pictures of a kind, labelled by one row."""

    tally: Tally = field(default_factory=Tally)
    milliseconds: list[float] = field(default_factory=list)


def pipelines(segmentor: SCLIPSegmentor) -> dict[str, Pipeline]:
    """Return a pipeline for each row of the table."""
    plain = SegmentorSettings(use_pamr=False, precision="fp32")
    changes = {"without": {}} | {
        name: {"use_pamr": True, "pamr.resolution": resolution, "pamr.dilations": dilations,
               "pamr.steps": steps} for name, (resolution, dilations, steps) in ROWS.items()}
    return {name: segmentor.prepare(plain.with_changes(each)) for name, each in changes.items()}


Shown = tuple[np.ndarray, list[str], np.ndarray, Tensor | None]


def rooms(world: str, nouns: bool, count: int) -> Iterator[Shown]:
    """Yield images, words, truths; the scores are the model's."""
    for index in range(count):
        if nouns:
            scene, words, truth = held_out_nouns(index, world)
            yield scene.image, words, truth, None
        else:
            scene, words = held_out_scene(index, "any", world)
            yield scene.image, words, scene.labels(words), None


def camvid(root: Path, noise: float) -> Iterator[Shown]:
    """Yield images, words, truths and scores (Q, h, w) made of these."""
    generator = torch.Generator().manual_seed(1)
    pictures = open_camvid(root)
    words = [each.partition("|")[0] for each in load_profile(pictures.profile).classes]
    for index in pictures.choose(None)[::EVERY]:
        sample = pictures.load(index)
        image, truth = sample.image, sample.truth
        planes = torch.from_numpy(truth == np.arange(len(words))[:, None, None]).float()
        height, width = truth.shape
        scale = 336 / min(height, width) / PATCH
        cells = adaptive_avg_pool2d(planes, (round(height * scale), round(width * scale)))
        drawn = torch.randn(cells.shape, generator=generator)
        # Neighbouring patches err alike: the mean of 3x3, brought back to its deviation.
        yield image, words, truth, cells + noise * 3 * avg_pool2d(drawn, 3, 1, 1)


def measure(segmentor: SCLIPSegmentor, rows: Mapping[str, Pipeline], shown: Iterator[Shown],
            title: str) -> dict[str, Column]:
    """Label pictures by every row, from the same scores."""
    columns = {name: Column() for name in rows}
    for image, words, truth, cells in tqdm(shown, desc=title, disable=None):
        vocabulary = segmentor.vocabulary(words)
        first = rows["without"]
        pictures = first.read([image], first.stopwatch())
        if cells is None:
            features = first.look(pictures, vocabulary, first.stopwatch())
            scores = first.score(features, vocabulary, first.stopwatch())
        else:
            scores = [ScoreMap.of_cells(cells, pictures[0].size)]
        for name, pipeline in rows.items():
            watch = pipeline.stopwatch()
            result, = pipeline.label(pictures, scores, vocabulary, watch)
            columns[name].tally.add(result.labels, truth, words)
            columns[name].milliseconds.append(result.stage_ms.get("pamr", 0.0))
    return columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--rooms", type=positive, default=20, help="of each world (default 20)")
    parser.add_argument("--camvid", type=Path, default=CAMVID, metavar="FOLDER",
                        help="images/ and labels/ of consecutive frames of CamVid")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table, and write it if asked."""
    torch.set_num_threads(1)
    segmentor = SCLIPSegmentor(device="cpu", precision="fp32")
    rows = pipelines(segmentor)
    kinds = {f"{title}, {asked}": rooms(world, asked == "nouns", arguments.rooms)
             for world, title in (("toy", "plain"), ("indoor", "furnished"))
             for asked in ("phrases", "nouns")}
    if arguments.camvid.is_dir():
        kinds |= {f"street, noise {noise:g}": camvid(arguments.camvid, noise) for noise in NOISES}
    else:
        print(f"camvid is left out: '{arguments.camvid}' does not exist; give --camvid")
    found = {title: measure(segmentor, rows, shown, title) for title, shown in kinds.items()}
    table = markdown_table(
        ("PAMR", "ms", *found),
        [(name, "" if name == "without" else f"{np.median(of_rooms(found, name)):.1f}",
          *(f"{100 * each[name].tally.iou.mean():.1f} / {100 * each[name].tally.boundary_f1():.1f}"
            for each in found.values())) for name in rows])
    text = "\n".join([
        "# What PAMR brings, by its size", "",
        f"From `scripts/run_in_overlay python -m benchmarks.pamr --page`, on "
        f"{device_name(segmentor.pipeline.device)}, one thread. Columns: mIoU / boundary F1 in "
        f"percent; {arguments.rooms} rooms of 480x640 of each world with the embedded model, asked "
        "for their phrases or their nouns and six distractors. Rows: share of the working image's "
        "side, dilations in its pixels, steps; in bold the defaults. *ms*: median over the rooms. "
        "Street: CamVid's true labels averaged over patches of 16 pixels, with noise of that "
        "deviation, so that the first column is what a perfect tower would tell. "
        "[What it means](../../docs/methods.md#refinement).", "", *table]) + "\n"
    print(text)
    if arguments.page:
        PAGE.write_text(text, encoding="utf-8")


def of_rooms(found: Mapping[str, Mapping[str, Column]], name: str) -> list[float]:
    """Return the milliseconds of a row in all rooms."""
    return [each for title, columns in found.items() if not title.startswith("street")
            for each in columns[name].milliseconds]


main = Program(*documented(__doc__), add_arguments, run)
