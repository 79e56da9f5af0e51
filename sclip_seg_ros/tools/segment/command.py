"""`sclip-segment`: from checked flags to files with results."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.io.encodings import decompress
from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools.arguments import (
    BAR,
    FAILED,
    INTERRUPTED,
    UNUSABLE,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    counted,
    one_line,
)
from sclip_seg_ros.tools.segment.arguments import parse
from sclip_seg_ros.tools.segment.inputs import Input, find_inputs
from sclip_seg_ros.tools.segment.outputs import overlay_of, write_image_results, write_json
from sclip_seg_ros.tools.segment.video import VideoError, VideoResults, VideoSource


@dataclass
class Run:
    """A loaded segmentor, what it works on, and what came of it so far."""

    arguments: argparse.Namespace
    inputs: list[Input]
    segmentor: SCLIPSegmentor
    vocabulary: Vocabulary
    images: int = 0
    videos: int = 0
    frames: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Segment the files and return the exit code.

    Returns:
        0; 1: some files could not be segmented; 2: unusable flags, or no file could be
        segmented; 130: interrupted.
    """
    command = shlex.join(["sclip-segment", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        run = prepare(parse(arguments))
    except (ValueError, OSError, WeightsError) as error:
        return _complain(error, UNUSABLE)
    start = time.monotonic()
    try:
        segment_all(run)
        write_json(run.arguments.output / "run.json", describe(run, command))
    except KeyboardInterrupt:
        done = f"{counted(run.images, 'image')} and {counted(run.frames, 'video frame')}"
        return _complain(f"interrupted; the results of {done} are in '{run.arguments.output}'",
                         INTERRUPTED)
    except OSError as error:
        return _complain(error, FAILED)
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
    return Run(arguments, inputs, segmentor, segmentor.vocabulary(classes, background))


def segment_all(run: Run) -> None:
    """Segment the images, then the videos; a bad file is noted and does not stop the others.

    Raises:
        OSError: a result cannot be written.
    """
    images = [entry for entry in run.inputs if not entry.is_video]
    for entry in tqdm(images, unit=" image", bar_format=BAR, disable=None if images else True):
        try:
            image = _read_image(entry.path)
            overlay, result = _segment(run, image)
        except (ValueError, OSError) as error:
            run.failures[str(entry.path)] = one_line(error)
            continue
        write_image_results(entry.target, overlay, result, _about(run, entry))
        run.images += 1
    for entry in run.inputs:
        if entry.is_video:
            _segment_video(run, entry)


def describe(run: Run, command: str) -> dict[str, Any]:
    """Say what the results were made with."""
    segmentor = run.segmentor
    return {"command": command, "model": segmentor.name, "precision": segmentor.precision,
            "device": str(segmentor.device), "fallbacks": list(segmentor.fallbacks),
            "settings": asdict(segmentor.settings),
            "words": [list(entry.synonyms) for entry in run.vocabulary.classes],
            "background": run.vocabulary.background, "images": run.images, "videos": run.videos,
            "frames": run.frames, "failures": run.failures, "notices": run.notices}


def conclude(run: Run, seconds: float) -> int:
    """Report what was done and what was not, and return the exit code."""
    for notice in run.notices:
        _complain(notice, 0)
    for path, problem in run.failures.items():
        _complain(problem if path in problem else f"'{path}': {problem}", FAILED)
    done = run.images + run.frames
    if not done:
        return UNUSABLE
    parts = [counted(run.images, "image")] if run.images else []
    if run.videos:
        parts.append(f"{counted(run.videos, 'video')} ({counted(run.frames, 'frame')})")
    print(f"{' and '.join(parts)} in {seconds:.1f} s, {done / seconds:.2f} frames per second; "
          f"results: {run.arguments.output}")
    return FAILED if run.failures else 0


def _segment_video(run: Run, entry: Input) -> None:
    """Segment one video; what was written before it breaks off stays."""
    try:
        source = VideoSource(entry.path)
        frames = source.frames()
        first = next(frames, None)
        if first is None:
            raise VideoError(f"video '{entry.path}' has no frame that can be read; it is damaged "
                             "or cut short")
        results = VideoResults(entry.target, source.rate, first.shape[:2])
    except VideoError as error:
        run.failures[str(entry.path)] = one_line(error)
        return
    with results, tqdm(total=source.announced, desc=entry.path.name, unit=" frame",
                       bar_format=BAR, disable=None) as bar:
        frame: np.ndarray | None = first
        try:
            while frame is not None:
                results.append(*_segment(run, frame))
                run.frames += 1
                bar.update()
                frame = next(frames, None)
        except ValueError as error:
            run.failures[str(entry.path)] = f"frame {results.count}: {one_line(error)}"
        finally:
            results.write_summary(run.vocabulary, _about(run, entry))
    run.videos += 1
    try:
        results.check()
    except VideoError as error:
        run.failures[str(entry.path)] = one_line(error)
    if source.announced and results.count < source.announced - 1:
        run.notices.append(f"'{entry.path}' announces {source.announced} frames, but only "
                           f"{results.count} could be read")


def _segment(run: Run, image: np.ndarray) -> tuple[np.ndarray, Any]:
    result = run.segmentor.predict_dense(image, run.vocabulary)
    return overlay_of(image, result, run.arguments.overlay_alpha, run.arguments.legend), result


def _read_image(path: Path) -> np.ndarray:
    """Read a photo as people see it, turned as its orientation tag says."""
    return decompress(path.read_bytes(), upright=True)


def _about(run: Run, entry: Input) -> dict[str, Any]:
    return {"source": str(entry.path), "model": run.segmentor.name,
            "precision": run.segmentor.precision}


def _complain(problem: object, code: int) -> int:
    print(f"sclip-segment: {one_line(problem)}", file=sys.stderr)
    return code
