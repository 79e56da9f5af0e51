"""Show what time brings: camera, labels of every frame alone, labels over time, side by side.

    scripts/run_in_overlay python -m examples.demo.animation --output docs/images/time.webp
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("examples.demo.animation", "animation"))

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sclip_research.scenes.films import RATE, film

from sclip_seg_ros.io.overlay import draw_overlay
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult
from sclip_seg_ros.temporal import FilmSegmentor, TemporalSettings
from sclip_seg_ros.tools.program import Program, documented

WIDTH, GAP = 320, 6    # pixels of a panel, and between two
TITLES = ("camera", "every frame alone", "over time")
SHARE = 0.75           # of the class colours
QUALITY = 55           # of WebP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--output", type=Path, default=Path("out/demo/time.webp"))
    parser.add_argument("--film", type=int, default=3, help="number of the film (default 3)")


def run(arguments: argparse.Namespace) -> None:
    """Label a rendered film with a thing that moves by itself, and write the animation."""
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    frames = animate(arguments.film)
    frames[0].save(arguments.output, save_all=True, append_images=frames[1:], loop=0,
                   duration=round(1e3 / RATE), quality=QUALITY, method=6)
    print(f"{arguments.output}: {len(frames)} frames")


def animate(number: int) -> list[Image.Image]:
    """Return the frames of the animation of a film, which is a loop; its first round is not shown.

    Args:
        number: of the film.
    """
    shown = film(number, moving=True)
    segmentor = SCLIPSegmentor()
    words = segmentor.vocabulary(shown.words)
    alone = FilmSegmentor(segmentor, words, TemporalSettings(enabled=False))
    fused = FilmSegmentor(segmentor, words)
    images = [shot.image for shot in shown.shots()]
    frames = []
    for index, image in enumerate(images * 2):
        results = [label(image, index / RATE) for label in (alone, fused)]
        if index >= len(images):
            frames.append(_side_by_side([image, *(_overlay(image, each) for each in results)]))
    return frames


def _overlay(image: np.ndarray, result: SegmentationResult) -> np.ndarray:
    colours = np.array(result.vocabulary.colours, np.uint8)
    return draw_overlay(image, result.labels, colours, SHARE)


def _side_by_side(pictures: list[np.ndarray]) -> Image.Image:
    height = round(pictures[0].shape[0] * WIDTH / pictures[0].shape[1])
    panels = [cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
              for picture in pictures]
    for panel, title in zip(panels, TITLES, strict=True):
        width = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
        panel[:26, :width + 16] //= 3  # readable on anything
        cv2.putText(panel, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1,
                    cv2.LINE_AA)
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([panels[0], gap, panels[1], gap, panels[2]]))


main = Program(*documented(__doc__), add_arguments, run)
