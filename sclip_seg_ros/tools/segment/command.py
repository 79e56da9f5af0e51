"""`sclip-segment`: from checked flags to files with results."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from sclip_seg_ros.common.entry import INTERRUPTED
from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.io.files import real_path
from sclip_seg_ros.io.points import Score, judge, read_points
from sclip_seg_ros.models import EMBEDDED, EMBEDDED_HINT
from sclip_seg_ros.tools.arguments import (
    UsageError,
    chosen_classes,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
)
from sclip_seg_ros.tools.console import BAR, FAILED, UNUSABLE, complain, readable
from sclip_seg_ros.tools.estimate import Estimate
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, NO_ROOM, cause_of, unexpected
from sclip_seg_ros.tools.program import Program
from sclip_seg_ros.tools.segment.arguments import EXAMPLE, PROGRAM, add_arguments, check
from sclip_seg_ros.tools.segment.estimate import estimate
from sclip_seg_ros.tools.segment.finished import is_finished
from sclip_seg_ros.tools.segment.inputs import Input, find_inputs
from sclip_seg_ros.tools.segment.labelling import Labelling, depends_on
from sclip_seg_ros.tools.segment.outputs import read_labels, write_json
from sclip_seg_ros.tools.segment.pieces import segment_in_pieces
from sclip_seg_ros.tools.segment.run import Run
from sclip_seg_ros.tools.segment.training import FOLDER, refuse_other_words, write_summary


def segment(arguments: argparse.Namespace) -> int:
    """Segment the files and return the exit code.

    Returns:
        0; 1: some files could not be segmented; 2: no file could be segmented; 130: interrupted.
    """
    run = prepare(arguments)
    if arguments.dry_run:
        found, problems = _estimate(run)
        problems = [*map(_told, run.failures.items()), *problems]
        for problem in (*run.notices, *problems):
            complain(PROGRAM, problem)
        print(*found.lines(arguments.ray_workers), sep="\n")
        return (FAILED if found.sources else UNUSABLE) if problems else 0
    pieces = arguments.at_addresses or arguments.piece_seconds is not None
    labelling = None if pieces else Labelling(arguments)
    start = time.monotonic()
    try:
        if arguments.at_addresses:
            from sclip_seg_ros.tools.segment.copies import segment_copies
            segment_copies(run)
        elif labelling is None:
            segment_in_pieces(run)
        else:
            segment_all(run, labelling)
        if arguments.export_training:
            write_summary(arguments.output / FOLDER, arguments.least_confidence,
                          [entry.name for entry in run.said["classes"]], run.said["made_with"])
        judge_points(run)
        if run.said["about"]["model"] == EMBEDDED and run.images + run.frames:
            run.notices.append(EMBEDDED_HINT)
        _write_about(run)
    except KeyboardInterrupt:
        done = f"{in_number(run.images, 'image')} and {in_number(run.frames, 'video frame')}"
        return complain(PROGRAM, f"interrupted; the results of {done} are in "
                                 f"'{arguments.results}'; the same command goes on", INTERRUPTED)
    except OSError as error:
        return complain(PROGRAM, error, FAILED)
    return conclude(run, time.monotonic() - start)


def prepare(arguments: argparse.Namespace) -> Run:
    """Check all flags and files.

    Raises:
        ValueError, OSError: in one sentence.
    """
    failures: dict[str, str] = {}
    notices: list[str] = []
    inputs: Sequence[Input]
    if arguments.at_addresses:
        from sclip_seg_ros.tools.segment.addresses import find_copies
        inputs = find_copies(arguments, notices, failures)
    else:
        inputs = find_inputs(arguments.inputs, arguments.output, lambda error: failures.update(
            {readable(error.filename):
             f"folder cannot be read ({error.strerror}); check its rights"}), notices, failures)
    film = next((entry for entry in inputs if entry.is_video), None)
    if arguments.export_training and film:
        raise UsageError(f"--export-training takes images alone, and '{readable(film.path)}' is a "
                         "video; leave it out, or give its frames as images")
    profile = chosen_profile(arguments)
    classes, _ = chosen_classes(arguments, profile)
    if arguments.export_training:
        refuse_other_words(arguments.output / FOLDER, classes)
    points = read_points(arguments.points_file) if arguments.points_file else None
    chosen_settings(arguments, profile)
    chosen_temporal(arguments)
    return Run(arguments, inputs, failures=failures, notices=notices, points=points)


def segment_all(run: Run, labelling: Labelling) -> None:
    """Segment the images, then the videos; a bad file is noted and does not stop the others.

    What an earlier run finished with the same settings is left as it is.

    Raises:
        OSError: there is no room for more results.
    """
    run.said, arguments = labelling.said, run.arguments
    waiting = [entry for entry in run.inputs
               if arguments.restart or not is_finished(entry, depends_on(run.said, entry))]
    run.before = len(run.inputs) - len(waiting)
    images = [entry for entry in waiting if not entry.is_video]
    for entry in tqdm(images, unit=" image", bar_format=BAR, disable=None if images else True):
        with _noting_failure(run, entry):
            run.notices += labelling.photo(entry)
            run.images += 1
    for entry in waiting:
        if entry.is_video:
            before = run.frames
            with _noting_failure(run, entry):
                run.notices += labelling.film(entry, lambda: _count_frame(run))
            run.videos += run.frames > before


def judge_points(run: Run) -> None:
    """Count the named pixels that have their label, of all images with results."""
    if run.points is None:
        return
    targets = {real_path(entry.path): entry.target for entry in run.inputs if not entry.is_video}
    run.score, missing = Score(), 0
    for picture, points in run.points.points.items():
        target = targets.get(real_path(run.points.path.parent / picture))
        labels = read_labels(target) if target is not None else None
        if labels is None:
            missing += len(points)
        else:
            run.score.add(points, judge(labels, run.said["classes"], points))
    if missing:
        run.notices.append(f"'{run.points.path}': {in_number(missing, 'point')} of images that "
                           "were not segmented count nowhere; name those images, too")


def _estimate(run: Run) -> tuple[Estimate, list[str]]:
    """Look at all files, or at some of those at addresses."""
    if run.arguments.at_addresses:
        from sclip_seg_ros.tools.segment.copies import estimate_copies
        return estimate_copies(run.arguments, run.inputs)
    return estimate(run.arguments, run.inputs)


def _write_about(run: Run) -> None:
    """Say beside the results what they were made with."""
    about = describe(run, run.arguments.command)
    if run.arguments.at_addresses:
        from sclip_seg_ros.tools.segment.copies import put_about
        put_about(run, about)
    else:
        write_json(run.arguments.output / "run.json", about)


def describe(run: Run, command: str) -> dict[str, Any]:
    """Say what the results were made with."""
    return {"command": command, **run.said["about"], "images": run.images, "videos": run.videos,
            "frames": run.frames, "finished_before": run.before, "failures": run.failures,
            "notices": run.notices,
            **({} if run.score is None else {"points": asdict(run.score)})}


def conclude(run: Run, seconds: float) -> int:
    """Report what was done and what was not, and return the exit code."""
    for notice in run.notices:
        complain(PROGRAM, notice)
    for failure in run.failures.items():
        complain(PROGRAM, _told(failure))
    if run.score is not None:
        print(run.score)
    done = run.images + run.frames
    if not done and not run.before:
        return UNUSABLE
    if run.before:
        print(f"{in_number(run.before, 'file')} done by an earlier run and left as they are; "
              "--restart does them again")
    if not done:
        return FAILED if run.failures else 0
    parts = [in_number(run.images, "image")] if run.images else []
    if run.videos:
        parts.append(f"{in_number(run.videos, 'video')} ({in_number(run.frames, 'frame')})")
    print(f"{' and '.join(parts)} in {seconds:.1f} s, {done / seconds:.2f} frames per second; "
          f"results: {run.arguments.results}")
    return FAILED if run.failures else 0


def _told(failure: tuple[str, str]) -> str:
    path, problem = failure
    return problem if path in problem else f"'{path}': {problem}"


@contextmanager
def _noting_failure(run: Run, entry: Input) -> Iterator[None]:
    """Note why a file could not be segmented, and go on."""
    try:
        yield
    except (*IMAGE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        run.failures[readable(entry.path)] = cause_of(error)
    except Exception as error:  # the other files shall be done
        run.failures[readable(entry.path)] = unexpected(error)


def _count_frame(run: Run) -> None:
    run.frames += 1


main = Program(PROGRAM, "Segment images and videos by words.", EXAMPLE, add_arguments, segment,
               check, intermixed=True)
