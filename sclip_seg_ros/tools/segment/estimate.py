"""`sclip-segment --dry-run`."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.segmentation import SegmentationResult
from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.estimate import Cost, Estimate, compute_like_a_worker, probe
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of
from sclip_seg_ros.tools.segment.inputs import Input
from sclip_seg_ros.tools.segment.labelling import Labelling
from sclip_seg_ros.tools.segment.outputs import write_image_results
from sclip_seg_ros.tools.segment.pieces import film_pieces
from sclip_seg_ros.tools.segment.video import VideoResults, VideoSource


def estimate(arguments: argparse.Namespace, inputs: Sequence[Input],
             labelling: Labelling | None = None) -> tuple[Estimate, list[str]]:
    """Label a few photos, and a few frames of each film.

    Args:
        arguments: of the command line.
        inputs: photos and films.
        labelling: the model, if it is loaded.

    Returns:
        What there is to do, and why files cannot be done.

    Raises:
        ValueError, OSError, WeightsError: the model cannot be loaded; in one sentence.
    """
    compute_like_a_worker(arguments)
    labelling = labelling or Labelling(arguments)
    found, cost = Estimate(), None
    problems: list[str] = []
    photos = [entry for entry in inputs if not entry.is_video]
    with TemporaryDirectory(prefix="sclip-dry-run-") as folder:
        try:
            cost = probe(_readable(photos, problems),
                         lambda entry: _photo(labelling, entry, Path(folder) / "photo"))
        except (*IMAGE_ERRORS, OSError) as error:
            problems.append(cause_of(error))
        for _ in photos:
            found.add([Piece(0, 0, None, 0)], 1, 1, cost or Cost(0, 0, 0))
        for entry in inputs:
            if not entry.is_video:
                continue
            try:
                pieces = film_pieces(arguments, entry)
                frames = VideoSource(entry.path).announced or 0
                found.add(pieces, frames, frames, _film(labelling, entry, Path(folder) / "film"))
            except (*IMAGE_ERRORS, OSError) as error:
                problems.append(f"'{entry.name}': {cause_of(error)}")
    return found, problems


def _readable(photos: Iterable[Input], problems: list[str]) -> Iterator[Input]:
    """Yield the photos that can be read; note why the others cannot."""
    for entry in photos:
        try:
            read_image(entry.path)
        except (*IMAGE_ERRORS, OSError) as error:
            problems.append(f"'{entry.name}': {cause_of(error)}")
        else:
            yield entry


def _photo(labelling: Labelling, entry: Input, target: Path) -> tuple[float, float]:
    image = read_image(entry.path)
    result = labelling.segmentor.predict_dense(image, labelling.vocabulary)
    write_image_results(target, labelling.overlay(image, result), result, {})
    return _below(target.parent, target.name), 0.0


def _film(labelling: Labelling, entry: Input, target: Path) -> Cost:
    source = VideoSource(entry.path)
    film = FilmSegmentor(labelling.segmentor, labelling.vocabulary, labelling.temporal)
    frames = source.frames()
    first = next(frames)
    labels: list[SegmentationResult] = []

    def label(pixels: np.ndarray) -> tuple[float, float]:
        result = film(pixels, source.seconds)
        results.append(labelling.overlay(pixels, result), result, source.seconds)
        labels.append(result)
        return 0.0, sum(len(zlib.compress(plane.tobytes(), 1))
                        for plane in (result.labels, result.confidence))

    with VideoResults(target, source.rate, first.shape[:2]) as results:
        cost = probe(chain([first], frames), label)
    assert cost is not None  # of the first frame at least
    return Cost(cost.seconds, _below(target.parent, target.name) / len(labels), cost.packed)


def _below(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{name}.*"))
