"""Measure what each level of a quality ladder costs on this computer, and what it changes.

    sclip-level-costs --use-densecrf --size 640x480
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_seg_ros.tools.level_costs", "sclip-level-costs"))

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.io.ladders import AUTO, read_ladder
from sclip_seg_ros.latency.ladder import QualityLadder
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.models.resources import config_folders
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    text_options,
)
from sclip_seg_ros.tools.program import Program, pixels, positive

SCENE_SEED, NOISE_SEED, SCENE_SIZE = 1, 7, (640, 480)
WORDS = ["floor", "wall", "door", "rug", "table", "chair", "lamp", "box", "ball", "cup"]


@dataclass(frozen=True)
class LevelCost:
    """What one level costs.

    Attributes:
        name: of the level.
        total_ms: median over the rounds.
        stage_ms: median of each stage, in their order.
        agreement: share of the pixels that get the best level's label.
    """

    name: str
    total_ms: float
    stage_ms: dict[str, float]
    agreement: float


def measure(segmentor: SCLIPSegmentor, ladder: QualityLadder, image: np.ndarray,
            vocabulary: Vocabulary, rounds: int) -> list[LevelCost]:
    """Run every level in turn, round after round, so that a load from outside meets all alike.

    Args:
        segmentor: its settings are what the levels change.
        ladder: a quality ladder.
        image: (H, W, 3) uint8 RGB.
        vocabulary: to compare with.
        rounds: after every level has been warmed up.
    """
    base = segmentor.settings
    ladder = ladder.for_base(segmentor.decide(base))
    levels = [segmentor.prepare(ladder.settings_for(base, level)) for level in range(len(ladder))]
    totals: list[list[float]] = [[] for _ in levels]
    stages: list[list[dict[str, float]]] = [[] for _ in levels]
    labels: list[np.ndarray] = [np.empty(0)] * len(levels)
    for level in levels:  # as the node does; on a GPU that records graphs
        level.warm_up([image.shape[:2]], vocabulary)
    for _ in range(rounds):
        for index, level in enumerate(levels):
            begin = time.perf_counter()
            [result] = level.predict([image], vocabulary)
            totals[index].append((time.perf_counter() - begin) * 1e3)
            stages[index].append(dict(result.stage_ms))
            labels[index] = result.labels
    return [LevelCost(name, statistics.median(total),
                      {stage: statistics.median(times[stage] for times in each)
                       for stage in each[0]}, float(np.mean(own == labels[0])))
            for name, total, each, own in zip(ladder.names, totals, stages, labels, strict=True)]


def table(costs: Sequence[LevelCost]) -> str:
    """Return a Markdown table with a row a level and a column a stage, in milliseconds."""
    names = list(dict.fromkeys(stage for cost in costs for stage in cost.stage_ms))
    rows = []
    for index, cost in enumerate(costs):
        rows.append([f"{index} {cost.name}", f"{cost.total_ms:.0f}",
                     f"{cost.total_ms / costs[0].total_ms:.0%}", f"{cost.agreement:.1%}",
                     *(f"{cost.stage_ms[name]:.1f}" if name in cost.stage_ms else ""
                       for name in names)])
    return "\n".join(markdown_table(("level", "ms", "of the best", "same labels", *names), rows,
                                    figures=True, aligned=True))


def _measure(arguments: argparse.Namespace) -> list[LevelCost]:
    profile = chosen_profile(arguments)
    settings = chosen_settings(arguments, profile, varied=True)
    words_given = arguments.vocabulary or arguments.vocabulary_file or profile
    classes, background = chosen_classes(arguments, profile) if words_given \
        else (WORDS, arguments.background or "")
    device = resolve_device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    ladder = _ladder(arguments.ladder, device)
    image = _image(arguments)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, device, settings)
    words = segmentor.vocabulary(classes, background, **text_options(arguments))
    return measure(segmentor, ladder, image, words, arguments.rounds)


def _image(arguments: argparse.Namespace) -> np.ndarray:
    if arguments.image is None:
        width, height = arguments.size or SCENE_SIZE
        return _room(height, width)
    picture = read_image(arguments.image)
    return picture if arguments.size is None else _fitted(picture, *arguments.size)


def _room(height: int, width: int) -> np.ndarray:
    from sclip_seg_ros.tools.scenes import camera_path, render, sample_scene

    scene = sample_scene(np.random.default_rng(SCENE_SEED), pairs="held-out")
    [camera] = camera_path(scene, 1)
    return render(scene, height, width, camera=camera,
                  noise_rng=np.random.default_rng(NOISE_SEED)).image


def _fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a picture to the largest of its own shape that fits."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = [max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0])]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else
                      cv2.INTER_LINEAR)


def _ladder(name: str, device: torch.device) -> QualityLadder:
    try:
        return read_ladder(name, device)
    except FileNotFoundError as error:
        installed = sorted({path.name for folder in config_folders()
                            for path in (folder / "ladders").glob("*.yaml")})
        raise UsageError(f"--ladder '{name}' does not exist; give the path of a file, or one of "
                         f"{', '.join((AUTO, *installed))}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--ladder", default="auto",
                        help="ladder file, or a name in config/ladders (default: the device's)")
    parser.add_argument("--size", type=pixels, metavar="WxH",
                        help="of the room (default: 640x480), or that a picture is fitted into, in "
                             "its own shape (default: its own size)")
    parser.add_argument("--image", type=Path, help="picture of your own instead of a rendered room")
    parser.add_argument("--rounds", type=positive, default=5, help="(default: %(default)s)")
    parser.add_argument("--threads", type=positive, help="of torch on the CPU (default: torch's)")
    add_segmentor_flags(parser)
    add_vocabulary_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a table."""
    print(table(_measure(arguments)))
    return 0


main = Program(
    "sclip-level-costs",
    "Measure what each level of a quality ladder costs on this computer, and what it changes.",
    "sclip-level-costs --use-densecrf --size 640x480", add_arguments, run,
    interrupted="interrupted; nothing was measured")
