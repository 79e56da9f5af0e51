"""`sclip-bag`: from checked flags to segmented recordings."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Generator
from contextlib import closing
from types import FrameType

from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.models import EMBEDDED, EMBEDDED_HINT, resolve_device
from sclip_seg_ros.tools.arguments import (
    chosen_classes,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
)
from sclip_seg_ros.tools.bag.arguments import EXAMPLE, PROGRAM, add_arguments, check
from sclip_seg_ros.tools.bag.estimate import estimate
from sclip_seg_ros.tools.bag.pieces import segment_in_pieces
from sclip_seg_ros.tools.bag.processes import process_side_by_side
from sclip_seg_ros.tools.bag.processing import Outcome, chosen_ids, load, process
from sclip_seg_ros.tools.console import FAILED, UNUSABLE, complain
from sclip_seg_ros.tools.estimate import Estimate
from sclip_seg_ros.tools.program import Program


def segment(arguments: argparse.Namespace) -> int:
    """Segment the recordings and return the exit code.

    Returns:
        0; 1: something of a recording, or one of several, could not be segmented, or a recording
        is cut short; 2: no recording could be segmented, and no piece of any.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    outcomes = []
    try:
        _check(arguments)
        if arguments.model == EMBEDDED:
            complain(PROGRAM, EMBEDDED_HINT)
        if arguments.dry_run:
            found, problems = _estimate(arguments)
            for problem in problems:
                complain(PROGRAM, problem)
            print(*found.lines(arguments.ray_workers), sep="\n")
            return (FAILED if found.sources else UNUSABLE) if problems else 0
        with closing(_outcomes(arguments)) as running:
            for outcome in running:
                outcomes.append(outcome)
                _report(outcome)
    finally:
        signal.signal(signal.SIGTERM, before)
    if all(outcome.error and not outcome.kept for outcome in outcomes):
        return UNUSABLE
    return 0 if all(outcome.complete for outcome in outcomes) else FAILED


def _check(arguments: argparse.Namespace) -> None:
    """Refuse unusable flags before any model is loaded.

    Raises:
        ValueError, OSError: in one sentence.
    """
    profile = chosen_profile(arguments)
    chosen_ids(arguments, len(chosen_classes(arguments, profile)[0]))
    chosen_settings(arguments, profile)
    chosen_temporal(arguments)
    resolve_device(arguments.device)


def _estimate(arguments: argparse.Namespace) -> tuple[Estimate, list[str]]:
    """Look at all recordings, or at one of those at addresses."""
    if arguments.errands:
        from sclip_seg_ros.tools.bag.copies import estimate_copies
        return estimate_copies(arguments)
    return estimate(arguments)


def _outcomes(arguments: argparse.Namespace) -> Generator[Outcome, None, None]:
    """Yield the outcome of each recording as it is done."""
    if arguments.errands:
        from sclip_seg_ros.tools.bag.copies import segment_copies
        yield from segment_copies(arguments)
        return
    if arguments.piece_seconds is not None:
        yield from segment_in_pieces(arguments)
        return
    if arguments.jobs > 1 and len(arguments.bags) > 1:
        yield from process_side_by_side(arguments)
        return
    segmentor, vocabulary = load(arguments)
    for bag, target in zip(arguments.bags, arguments.targets, strict=True):
        yield process(bag, target, arguments, segmentor, vocabulary)


def _report(outcome: Outcome) -> None:
    """Say what came of a recording: on stdout what is done, on stderr what is not."""
    for notice in (*outcome.notices, *outcome.lost, *outcome.cuts):
        complain(PROGRAM, notice)
    for (topic, reason), count in outcome.refused.items():
        complain(PROGRAM, f"{outcome.name}: {in_number(count, 'image')} of topic '{topic}' could "
                          f"not be segmented: {reason}")
    if outcome.error:
        complain(PROGRAM, outcome.error)
        return
    before = f", {outcome.before} of them in an earlier run" if outcome.before else ""
    short = "; cut short" if outcome.cuts else ""
    print(f"{outcome.name}: {in_number(outcome.frames, 'image')} segmented{before}{short}",
          flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat a request to end as Ctrl-C."""
    raise KeyboardInterrupt


main = Program(PROGRAM, "Segment the images of rosbag2 recordings. An interrupted run goes on when "
               "the same command is given again.", EXAMPLE, add_arguments, segment, check,
               "interrupted; the same command goes on where it stopped")
