"""`sclip-segment`: from checked flags to files with results."""

from __future__ import annotations

import argparse
import errno
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.io.images import read_image
from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools import provenance
from sclip_seg_ros.tools.arguments import chosen_classes, chosen_profile, chosen_settings
from sclip_seg_ros.tools.console import (
    BAR,
    FAILED,
    IMAGE_ERRORS,
    INTERRUPTED,
    UNUSABLE,
    USER_ERRORS,
    cause_of,
    complain,
    counted,
    readable,
)
from sclip_seg_ros.tools.segment.arguments import PROGRAM, parse
from sclip_seg_ros.tools.segment.finished import is_finished, made_of
from sclip_seg_ros.tools.segment.inputs import Input, find_inputs
from sclip_seg_ros.tools.segment.outputs import write_image_results, write_json
from sclip_seg_ros.tools.segment.video import VideoError, VideoResults, VideoSource

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what hinders all further results as well


@dataclass
class Run:
    """A loaded segmentor, what it works on, and what came of it so far."""

    arguments: argparse.Namespace
    inputs: list[Input]
    segmentor: SCLIPSegmentor
    vocabulary: Vocabulary
    made_with: dict[str, Any]
    images: int = 0
    videos: int = 0
    frames: int = 0
    before: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Segment the files and return the exit code.

    Returns:
        0; 1: some files could not be segmented; 2: unusable flags, or no file could be
        segmented; 130: interrupted.
    """
    command = readable(shlex.join([PROGRAM,
                                   *(sys.argv[1:] if arguments is None else arguments)]))
    try:
        run = prepare(parse(arguments))
    except USER_ERRORS as error:
        return complain(PROGRAM, error, UNUSABLE)
    start = time.monotonic()
    try:
        segment_all(run)
        write_json(run.arguments.output / "run.json", describe(run, command))
    except KeyboardInterrupt:
        done = f"{counted(run.images, 'image')} and {counted(run.frames, 'video frame')}"
        return complain(PROGRAM, f"interrupted; the results of {done} are in "
                                 f"'{run.arguments.output}'; the same command goes on", INTERRUPTED)
    except OSError as error:
        return complain(PROGRAM, error, FAILED)
    return conclude(run, time.monotonic() - start)


def prepare(arguments: argparse.Namespace) -> Run:
    """Check all flags and files, then load the model.

    Raises:
        ValueError, OSError, WeightsError: in one sentence.
    """
    inputs = find_inputs(arguments.inputs, arguments.output)
    profile = chosen_profile(arguments)
    classes, background = chosen_classes(arguments, profile)
    settings = chosen_settings(arguments, profile)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device, settings)
    vocabulary = segmentor.vocabulary(classes, background)
    made_with = {**provenance.describe_segmentation(arguments.model, arguments.pretrained,
                                                    segmentor, vocabulary),
                 "overlay": [arguments.overlay_alpha, arguments.legend]}
    return Run(arguments, inputs, segmentor, vocabulary, made_with)


def segment_all(run: Run) -> None:
    """Segment the images, then the videos; a bad file is noted and does not stop the others.

    What an earlier run finished with the same settings is left as it is.

    Raises:
        OSError: there is no room for more results.
    """
    waiting = [entry for entry in run.inputs
               if run.arguments.restart or not is_finished(entry, run.made_with)]
    run.before = len(run.inputs) - len(waiting)
    images = [entry for entry in waiting if not entry.is_video]
    for entry in tqdm(images, unit=" image", bar_format=BAR, disable=None if images else True):
        with _noting_failure(run, entry):
            overlay, result = _segment(run, read_image(entry.path))
            write_image_results(entry.target, overlay, result,
                                {**_about(run, entry), **made_of(entry, run.made_with)})
            run.images += 1
    for entry in waiting:
        if entry.is_video:
            with _noting_failure(run, entry):
                _segment_video(run, entry)


def describe(run: Run, command: str) -> dict[str, Any]:
    """Say what the results were made with."""
    segmentor = run.segmentor
    return {"command": command, "model": segmentor.name, "precision": segmentor.precision,
            "device": str(segmentor.device), "fallbacks": list(segmentor.fallbacks),
            "settings": asdict(segmentor.settings),
            "words": [list(entry.synonyms) for entry in run.vocabulary.classes],
            "background": run.vocabulary.background, "images": run.images, "videos": run.videos,
            "frames": run.frames, "finished_before": run.before, "failures": run.failures,
            "notices": run.notices}


def conclude(run: Run, seconds: float) -> int:
    """Report what was done and what was not, and return the exit code."""
    for notice in run.notices:
        complain(PROGRAM, notice)
    for path, problem in run.failures.items():
        complain(PROGRAM, problem if path in problem else f"'{path}': {problem}")
    done = run.images + run.frames
    if not done and not run.before:
        return UNUSABLE
    if run.before:
        print(f"{counted(run.before, 'file')} done by an earlier run and left as they are; "
              "--restart does them again")
    if not done:
        return FAILED if run.failures else 0
    parts = [counted(run.images, "image")] if run.images else []
    if run.videos:
        parts.append(f"{counted(run.videos, 'video')} ({counted(run.frames, 'frame')})")
    print(f"{' and '.join(parts)} in {seconds:.1f} s, {done / seconds:.2f} frames per second; "
          f"results: {readable(run.arguments.output)}")
    return FAILED if run.failures else 0


@contextmanager
def _noting_failure(run: Run, entry: Input) -> Iterator[None]:
    """Note why a file could not be segmented, and go on."""
    try:
        yield
    except (*IMAGE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        run.failures[readable(entry.path)] = cause_of(error)


def _segment_video(run: Run, entry: Input) -> None:
    """Segment one video; what was written before it breaks off stays."""
    name = readable(entry.path)
    source = VideoSource(entry.path)
    frames = source.frames()
    first = next(frames, None)
    if first is None:
        raise VideoError(f"video '{name}' has no frame that can be read; it is damaged or cut "
                         "short")
    results = VideoResults(entry.target, source.rate, first.shape[:2])
    about = _about(run, entry)
    run.videos += 1
    with results, tqdm(total=source.announced, desc=name.rpartition("/")[2], unit=" frame",
                       bar_format=BAR, disable=None) as bar:
        frame: np.ndarray | None = first
        try:
            while frame is not None:
                results.append(*_segment(run, frame), source.seconds)
                run.frames += 1
                bar.update()
                frame = next(frames, None)
        except IMAGE_ERRORS as error:
            raise VideoError(f"frame {results.count}: {cause_of(error)}") from error
        finally:
            results.write_summary(run.vocabulary, about)
    results.check()
    results.write_summary(run.vocabulary, {**about, **made_of(entry, run.made_with)})
    if source.announced and results.count < source.announced - 1:
        run.notices.append(f"'{name}' announces {source.announced} frames, but only "
                           f"{results.count} could be read")
    if source.told > source.rate:
        run.notices.append(f"'{name}' tells {source.told:g} frames a second, which no camera "
                           f"films; its results play at {source.rate:g}")


def _segment(run: Run, image: np.ndarray) -> tuple[np.ndarray, Any]:
    result = run.segmentor.predict_dense(image, run.vocabulary)
    overlay = overlay_of(image, result.labels, result.vocabulary, result.coverage,
                         run.arguments.overlay_alpha, run.arguments.legend)
    return overlay, result


def _about(run: Run, entry: Input) -> dict[str, Any]:
    return {"source": readable(entry.path), "model": run.segmentor.name,
            "precision": run.segmentor.precision}
