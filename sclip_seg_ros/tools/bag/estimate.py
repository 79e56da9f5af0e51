"""`sclip-bag --dry-run`."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.arguments import chosen_temporal
from sclip_seg_ros.tools.bag.pieces import Opened
from sclip_seg_ros.tools.bag.processing import load
from sclip_seg_ros.tools.bag.recording.recording import RecordingError
from sclip_seg_ros.tools.estimate import Cost, Estimate, compute_like_a_worker, probe
from sclip_seg_ros.tools.failures import IMAGE_ERRORS

_OVERLAY = 3  # bytes a pixel


def estimate(arguments: argparse.Namespace) -> tuple[Estimate, list[str]]:
    """Look at all recordings, and label a few images of each camera set.

    Returns:
        What there is to do, and why recordings cannot be done. One whose topics tell no counts is
        read once.

    Raises:
        ValueError, OSError, WeightsError: the model cannot be loaded; in one sentence.
    """
    compute_like_a_worker(arguments)
    segmentor, vocabulary = load(arguments)
    found, problems = Estimate(), []
    for index in range(len(arguments.bags)):
        try:
            opened = Opened(arguments, index)
            pieces = opened.pieces
            film = FilmSegmentor(segmentor, vocabulary, chosen_temporal(arguments),
                                 arguments.label_size)
            cost = probe(_images(opened), partial(_cost, film))
        except RecordingError as error:
            problems.append(str(error))
            continue
        frames = opened.recording.count_of(opened.plan.outputs)
        if frames is None:
            frames = sum(1 for _ in opened.recording.messages(opened.plan.outputs))
        times = opened.recording.times or (0, 1)
        found.add(pieces, times[1] - times[0], frames, cost or Cost(0, 0, 0))
        found.results += sum(file.stat().st_size for file in opened.recording.files)
    return found, problems


def _images(opened: Opened) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the images that can be read, of the first camera."""
    first, *_ = opened.plan.outputs
    for message in opened.recording.messages([first]):
        try:
            yield opened.codec.read_image(message)[0], message.stamp / 1e9
        except IMAGE_ERRORS:
            continue


def _cost(film: FilmSegmentor, image: tuple[np.ndarray, float]) -> tuple[float, float]:
    labels = film(*image).labels
    return labels.size * (1 + _OVERLAY), len(zlib.compress(labels.tobytes(), 1))
