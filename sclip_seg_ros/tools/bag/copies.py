"""Recordings at addresses: each is copied to a worker's disk, labelled there, and put back."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sclip_seg_ros.cluster.addresses import AddressError
from sclip_seg_ros.cluster.work import Job, Task
from sclip_seg_ros.tools.addresses import temporary_folder
from sclip_seg_ros.tools.arguments import chosen_classes, chosen_profile
from sclip_seg_ros.tools.bag.addresses import Errand
from sclip_seg_ros.tools.bag.estimate import estimate
from sclip_seg_ros.tools.bag.pieces import ModelWorker, Source, work
from sclip_seg_ros.tools.bag.processing import (
    Outcome,
    chosen_ids,
    describe_flags,
    process,
)
from sclip_seg_ros.tools.bag.recording.recording import RecordingError
from sclip_seg_ros.tools.estimate import Estimate
from sclip_seg_ros.tools.failures import unexpected
from sclip_seg_ros.tools.pieces.finished_frames import differences
from sclip_seg_ros.tools.pieces.pieces import open_engine

_YEARS = 1e9  # seconds: a piece so long is the whole recording
_KEPT = {"run", "frames", "refused", "cuts", "lost", "notices"}  # in a receipt
_CLAIM = b"{}"  # of a receipt: this program is about to put the recording there


def segment_copies(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each recording as soon as it is known.

    Recordings that an earlier run of the same flags has finished are left as they are.
    """
    with open_engine(arguments, partial(CopyWorker, arguments)) as engine:
        yield from work(engine, arguments, *_jobs(arguments, engine.describe()))


def estimate_copies(arguments: argparse.Namespace) -> tuple[Estimate, list[str]]:
    """Copy the smallest recording that can be read, label a few of its images, reckon the others.

    Returns:
        What there is to do, by size, and why recordings cannot be done.
    """
    problems: list[str] = []
    errands = sorted(arguments.errands, key=_size)
    for tried, errand in enumerate(errands):
        with TemporaryDirectory(prefix="sclip-copy-") as folder:
            try:
                errand.bag.fetch(errand.files, Path(folder))
            except (AddressError, OSError) as error:
                problems.append(str(error))
                continue
            found, why = estimate(argparse.Namespace(**vars(arguments) | {
                "bags": [Path(folder) / errand.name], "piece_seconds": _YEARS, "run_in": 0.0}))
        problems += (text.replace(f"'{Path(folder) / errand.name}", f"'{errand.bag}")
                     for text in why)
        if found.sources:
            rest = errands[tried:]
            sizes = [_size(each) for each in rest]
            found.scale(len(rest), sum(sizes) / sizes[0] if sizes[0] else len(rest))
            return found, problems
    return Estimate(), problems


def _size(errand: Errand) -> int:
    return sum(file.size or 0 for file in errand.files)


def _jobs(arguments: argparse.Namespace,
          segmentation: dict[str, Any]) -> tuple[list[Source], dict[int, Job]]:
    """Find out what there is to do; what stands in the way of a recording is its outcome."""
    sources, jobs = [], {}
    for index, errand in enumerate(arguments.errands):
        outcome = Outcome(arguments.targets[index], address=str(errand.target))
        sources.append(Source(index, outcome))
        try:
            run = _describe(arguments, errand, segmentation)
            if not _take_over(errand, outcome, run, arguments.restart):
                jobs[index] = Job(index)
        except (AddressError, RecordingError) as error:
            outcome.error = str(error)
    return sources, jobs


def _describe(arguments: argparse.Namespace, errand: Errand,
              segmentation: dict[str, Any]) -> dict[str, Any]:
    """Name all that a new recording depends on, as far as it is known without a copy of the old."""
    classes, _ = chosen_classes(arguments, chosen_profile(arguments))
    return {"recording": [[file.name, file.size] for file in errand.files],
            "requested topics": arguments.topics,
            **describe_flags(arguments, segmentation, chosen_ids(arguments, len(classes)))}


def _take_over(errand: Errand, outcome: Outcome, run: dict[str, Any], restart: bool) -> bool:
    """Tell whether a recording is finished; what came of it is the outcome. Else make room for it.

    Raises:
        AddressError: that cannot be found out, or what an earlier run left cannot be removed.
        RecordingError: it was made by others, or with other flags; nothing is removed.
    """
    content = errand.receipt.read()
    there = errand.target.files() if errand.target.exists() else []
    if content is None and there:
        raise RecordingError(f"'{errand.target}' exists already, without '{errand.receipt}' of "
                             "this program; move it away, or choose another --output")
    try:
        receipt = json.loads(content or _CLAIM)
    except ValueError:
        receipt = {}  # its writer was interrupted
    if not isinstance(receipt, dict) or receipt and not receipt.keys() >= _KEPT:
        raise RecordingError(f"'{errand.receipt}' is no receipt of this program; move it and "
                             f"'{errand.target}' away, or choose another --output")
    if receipt and not restart:
        if different := differences(receipt["run"], run):
            raise RecordingError(f"'{errand.target}' exists already, made with another "
                                 f"{different}; choose another --output, or add --restart to "
                                 "replace it")
        outcome.frames = receipt["frames"]
        outcome.refused = Counter({(topic, reason): n for topic, reason, n in receipt["refused"]})
        outcome.before = outcome.frames + outcome.refused.total()
        outcome.cuts, outcome.lost = tuple(receipt["cuts"]), tuple(receipt["lost"])
        outcome.notices = tuple(receipt["notices"])
        return True
    if there:
        errand.receipt.write(_CLAIM)
        for file in there:
            (errand.target / file.name.partition("/")[2]).remove()
    return False


class CopyWorker(ModelWorker):
    """Copies recordings, labels the copies, and puts the results where they belong."""

    def do(self, task: Task) -> tuple[int, str, Any]:
        """Do a recording from its copy to its receipt."""
        errand: Errand = self._arguments.errands[task.source]
        outcome = Outcome(self._arguments.targets[task.source])
        try:
            run = _describe(self._arguments, errand, self._segmentation)
            model, bag = self._model, Path(errand.name)  # relative paths hold in this folder
            with temporary_folder(), TemporaryDirectory(prefix="sclip-labelled-") as folder:
                errand.bag.fetch(errand.files, Path())
                outcome = process(bag, Path(folder) / outcome.target, self._arguments, *model)
                _name_places(outcome, bag, errand)
                if not outcome.error:
                    _put(errand, outcome, run)
        except AddressError as error:
            outcome.error = str(error)
        except OSError as error:
            outcome.error = (f"'{errand.bag}' cannot be copied ({error}); make room there, or let "
                             "TMPDIR name a folder on another disk; the same command goes on")
        except Exception as error:  # the others shall be done
            outcome.error = f"'{errand.bag}' cannot be segmented: {unexpected(error)}"
        outcome.address = str(errand.target)
        return outcome.frames, outcome.error, outcome


def _put(errand: Errand, outcome: Outcome, run: dict[str, Any]) -> None:
    """Put a new recording at its place, between the receipt's beginning and its content.

    Raises:
        AddressError: it cannot be written.
    """
    files = sorted(path for path in outcome.target.rglob("*") if path.is_file())
    errand.receipt.write(_CLAIM)
    errand.target.put(files, outcome.target)
    errand.receipt.write(json.dumps({
        "run": run, "frames": outcome.frames, "cuts": outcome.cuts, "notices": outcome.notices,
        "lost": outcome.lost,
        "refused": [[*key, count] for key, count in outcome.refused.items()]}).encode())


def _name_places(outcome: Outcome, bag: Path, errand: Errand) -> None:
    """Have sentences name the recording where users have it."""
    def told(text: str) -> str:
        return text.replace(f"'{bag}", f"'{errand.bag}")

    outcome.error = told(outcome.error)
    outcome.cuts, outcome.lost = tuple(map(told, outcome.cuts)), tuple(map(told, outcome.lost))
    outcome.notices = tuple(told(text).replace(str(outcome.target), str(errand.target))
                            for text in outcome.notices)
