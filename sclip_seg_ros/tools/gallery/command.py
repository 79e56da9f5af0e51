"""`sclip-gallery`: sheets of feature maps, attention maps and the effect of each stage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.arguments import (
    OneLineParser,
    UsageError,
    add_segmentor_flags,
    add_vocabulary_flags,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    refuse_stage_switches,
)
from sclip_seg_ros.tools.configurations import Row, prepare_rows
from sclip_seg_ros.tools.console import FAILED, INTERRUPTED, UNUSABLE, USER_ERRORS, complain
from sclip_seg_ros.tools.gallery.attention import attention_maps, attention_tiles
from sclip_seg_ros.tools.gallery.features import feature_tiles, working_image
from sclip_seg_ros.tools.gallery.sheet import Tile, draw_sheet
from sclip_seg_ros.tools.gallery.stages import stage_tiles

PROGRAM = "sclip-gallery"
EXAMPLE = f"example: {PROGRAM} --image room.png --vocabulary floor wall \"person|pedestrian\""
_COLUMNS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sheets and return the exit code (2: unusable flags or image)."""
    try:
        parsed = parse(arguments)
        image, point = look(parsed)
        written = draw(parsed, image, point)
    except OSError as error:
        return complain(PROGRAM, error, FAILED)
    except USER_ERRORS as error:
        return complain(PROGRAM, error, UNUSABLE)
    except KeyboardInterrupt:
        return complain(PROGRAM, "interrupted", INTERRUPTED)
    print(*written, sep="\n")
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UsageError: an unknown flag or value.
    """
    parser = OneLineParser(prog=PROGRAM, epilog=EXAMPLE, allow_abbrev=False,
                           description="Show features, attention and the effect of each stage on "
                                       "one image.")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="what to look at")
    parser.add_argument("--point", metavar="X,Y",
                        help="pixel whose attention is shown (default: the image's centre)")
    parser.add_argument("--output", type=Path, default=Path("out/gallery"), metavar="FOLDER",
                        help="for features.png, attention.png, stages.png (default out/gallery)")
    add_vocabulary_flags(parser)
    add_segmentor_flags(parser, stages=False)
    parsed = parser.parse_args(arguments)
    refuse_stage_switches(parsed, PROGRAM)
    parsed.use_loftup = True  # for --loftup-factor and the like, which need it
    return parsed


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
    settings = chosen_settings(arguments, profile)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device,
                               settings.with_changes(use_loftup=False))
    vocabulary = segmentor.vocabulary(classes, background)
    rows = {row.configuration.key: row for row in prepare_rows(segmentor, settings)}
    plain, loftup = rows["plain"], rows["loftup"]
    for reason in dict.fromkeys(row.reason for row in rows.values() if row.reason):
        complain(PROGRAM, f"left out: {reason}")
    window = working_image(segmentor, image)
    maps = attention_maps(plain.prepared.scorer, window, point, settings.naclip_sigma)
    grid = segmentor.backbone.grid(*window.shape[-2:])
    sheets = {
        "features": ("Features, by their principal components",
                     [Tile(image, "input"), *feature_tiles(plain.prepared.scorer, _scorer(loftup),
                                                           window, vocabulary)]),
        "attention": ("Attention of one place in the last block, mean over the heads",
                      attention_tiles(image, maps, grid, point)),
        "stages": (f"Effect of each stage, {segmentor.name}",
                   [Tile(image, "input"), *stage_tiles(segmentor, list(rows.values()), image,
                                                       vocabulary)]),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    return [_write(arguments.output / f"{name}.png", draw_sheet(heading, tiles, _COLUMNS))
            for name, (heading, tiles) in sheets.items()]


def _scorer(row: Row):
    return row.prepared.scorer if row.prepared else None


def _write(path: Path, sheet: np.ndarray) -> Path:
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise OSError(f"'{path}' cannot be written; choose another --output")
    return path
