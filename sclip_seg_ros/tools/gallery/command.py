"""`sclip-gallery`: sheets of feature maps, attention maps and the effect of each stage."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.arguments import (
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    refuse_stage_switches,
    text_options,
)
from sclip_seg_ros.tools.console import FAILED, complain
from sclip_seg_ros.tools.figures.configurations import Row, prepare_rows
from sclip_seg_ros.tools.gallery.attention import attention_maps, attention_tiles
from sclip_seg_ros.tools.gallery.features import feature_tiles, working_image
from sclip_seg_ros.tools.gallery.sheet import Tile, draw_sheet
from sclip_seg_ros.tools.gallery.stages import SHOWN, stage_tiles
from sclip_seg_ros.tools.program import Program

PROGRAM = "sclip-gallery"
_COLUMNS = 3


def run(arguments: argparse.Namespace) -> int:
    """Write the sheets."""
    try:
        image, point = look(arguments)
        written = draw(arguments, image, point)
    except OSError as error:
        return complain(PROGRAM, error, FAILED)
    print(*written, sep="\n")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="what to look at")
    parser.add_argument("--point", metavar="X,Y",
                        help="pixel whose attention is shown (default: the image's centre)")
    parser.add_argument("--output", type=Path, default=Path("out/gallery"), metavar="FOLDER",
                        help="for features.png, attention.png, stages.png (default out/gallery)")
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser, stages=False)


def check(parsed: argparse.Namespace) -> None:
    """Refuse switches of stages, which the sheets show one by one.

    Raises:
        UsageError: a stage was switched on or off.
    """
    refuse_stage_switches(parsed, PROGRAM)
    parsed.use_loftup = True  # for --loftup-factor and the like, which need it


def look(arguments: argparse.Namespace) -> tuple[np.ndarray, tuple[float, float]]:
    """Read the image, upright, and the point in it as shares of its width and height.

    Raises:
        ImageFileError: no image.
        UsageError: a point outside it.
    """
    image = read_image(arguments.image)
    height, width = image.shape[:2]
    if arguments.point is None:
        return image, (0.5, 0.5)
    try:
        x, y = (int(part) for part in arguments.point.split(","))
    except ValueError as error:
        raise UsageError(f"--point '{arguments.point}' is no pixel; write X,Y, e.g. "
                         f"{width // 2},{height // 2}") from error
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(f"--point '{arguments.point}' lies outside the image; X is 0 to "
                         f"{width - 1}, Y 0 to {height - 1}")
    return image, ((x + 0.5) / width, (y + 0.5) / height)


def draw(arguments: argparse.Namespace, image: np.ndarray,
         point: tuple[float, float]) -> list[Path]:
    """Write the three sheets and return their paths; say what a model lacks.

    Raises:
        ValueError, WeightsError: unusable flags or weights.
        OSError: a sheet cannot be written.
    """
    profile = chosen_profile(arguments)
    classes, background = chosen_classes(arguments, profile)
    settings = chosen_settings(arguments, profile, varied=True)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device,
                               settings.with_changes(use_loftup=False))
    vocabulary = segmentor.vocabulary(classes, background, **text_options(arguments))
    rows = {row.configuration.key: row for row in prepare_rows(segmentor, settings)}
    plain, loftup = rows["plain"], rows["loftup"]
    for reason in dict.fromkeys(rows[key].reason for key in SHOWN if rows[key].reason):
        complain(PROGRAM, f"left out: {reason}")
    window = working_image(segmentor, image)
    maps = attention_maps(plain.able.scorer, window, point, vars(settings))
    grid = segmentor.backbone.grid(*window.shape[-2:])
    sheets = {
        "features": ("Features, by their principal components",
                     [Tile(image, "input"), *feature_tiles(plain.able.scorer, _scorer(loftup),
                                                           window, vocabulary)]),
        "attention": ("Attention of one place in the last block, mean over the heads",
                      attention_tiles(image, maps, grid, point)),
        "stages": (f"Effect of each stage, {segmentor.name}",
                   [Tile(image, "input"), *stage_tiles(list(rows.values()), image, vocabulary)]),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    return [_write(arguments.output / f"{name}.png", draw_sheet(heading, tiles, _COLUMNS))
            for name, (heading, tiles) in sheets.items()]


def _scorer(row: Row):
    return row.pipeline.scorer if row.pipeline else None


def _write(path: Path, sheet: np.ndarray) -> Path:
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise OSError(f"'{path}' cannot be written; choose another --output")
    return path


main = Program(PROGRAM, "Show features, attention and the effect of each stage on one image.",
               f"{PROGRAM} --image room.png --vocabulary floor wall \"person|pedestrian\"",
               add_arguments, run, check)
