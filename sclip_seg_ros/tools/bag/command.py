"""`sclip-bag`: from checked flags to segmented recordings."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from types import FrameType

from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.tools.arguments import chosen_classes, chosen_profile, chosen_settings
from sclip_seg_ros.tools.bag.arguments import PROGRAM, parse
from sclip_seg_ros.tools.bag.processes import process_side_by_side
from sclip_seg_ros.tools.bag.processing import Outcome, load, process
from sclip_seg_ros.tools.console import (
    FAILED,
    INTERRUPTED,
    UNUSABLE,
    USER_ERRORS,
    complain,
    counted,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Segment the recordings and return the exit code.

    Returns:
        0; 1: something of a recording, or one of several, could not be segmented, or a recording
        is cut short; 2: unusable flags, or no recording could be segmented; 130: interrupted.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    outcomes = []
    try:
        parsed = parse(arguments)
        _check(parsed)
        with closing(_outcomes(parsed)) as running:
            for outcome in running:
                outcomes.append(outcome)
                _report(outcome)
    except KeyboardInterrupt:
        return complain(PROGRAM, "interrupted; the same command goes on where it stopped",
                        INTERRUPTED)
    except USER_ERRORS as error:
        return complain(PROGRAM, error, UNUSABLE)
    finally:
        signal.signal(signal.SIGTERM, before)
    if all(outcome.error for outcome in outcomes):
        return UNUSABLE
    return 0 if all(outcome.complete for outcome in outcomes) else FAILED


def _check(arguments: argparse.Namespace) -> None:
    """Refuse unusable flags before any model is loaded.

    Raises:
        ValueError, OSError: in one sentence.
    """
    profile = chosen_profile(arguments)
    chosen_classes(arguments, profile)
    chosen_settings(arguments, profile)
    resolve_device(arguments.device)


def _outcomes(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each recording as it is done."""
    if arguments.jobs > 1 and len(arguments.bags) > 1:
        yield from process_side_by_side(arguments)
        return
    segmentor, vocabulary = load(arguments)
    for bag, target in zip(arguments.bags, arguments.targets, strict=True):
        yield process(bag, target, arguments, segmentor, vocabulary)


def _report(outcome: Outcome) -> None:
    """Say what came of a recording: on stdout what is done, on stderr what is not."""
    for notice in (*outcome.notices, *outcome.cuts):
        complain(PROGRAM, notice)
    for (topic, reason), count in outcome.refused.items():
        complain(PROGRAM, f"{outcome.target}: {counted(count, 'image')} of topic '{topic}' could "
                          f"not be segmented: {reason}")
    if outcome.error:
        complain(PROGRAM, outcome.error)
        return
    before = f", {outcome.before} of them in an earlier run" if outcome.before else ""
    short = "; cut short" if outcome.cuts else ""
    print(f"{outcome.target}: {counted(outcome.frames, 'image')} segmented{before}{short}",
          flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat a request to end as Ctrl-C."""
    raise KeyboardInterrupt
