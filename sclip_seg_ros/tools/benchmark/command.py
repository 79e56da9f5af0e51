"""`sclip-benchmark`: from checked flags to files with results."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sclip_seg_ros.models import RANDOM, WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.vocabulary import Vocabulary
from sclip_seg_ros.tools.arguments import UsageError, chosen_profile, chosen_settings
from sclip_seg_ros.tools.profiles import Profile

from . import provenance
from .arguments import parse
from .datasets import Dataset, open_dataset
from .journal import Journal
from .measuring import measure
from .report import summary, write_results
from .results import DEFINITIONS, score, speed

INTERRUPTED = 130  # as shells report Ctrl-C


@dataclass(frozen=True)
class Bench:
    """All that a run needs, checked and loaded."""

    arguments: argparse.Namespace
    dataset: Dataset
    indices: Sequence[int]
    profile: Profile | None
    segmentor: SCLIPSegmentor
    vocabulary: Vocabulary | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the results and return the exit code (2: unusable flags or data)."""
    command = shlex.join(["sclip-benchmark", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        bench = prepare(parse(arguments))
        journal = open_journal(bench)
    except (ValueError, OSError, WeightsError) as error:
        return _complain(error, 2)
    path = bench.arguments.output
    try:
        measure(bench.segmentor, bench.vocabulary, bench.dataset, bench.indices, journal,
                bench.arguments.workers)
        results = conclude(bench, journal, command)
        write_results(results, path)
    except KeyboardInterrupt:
        return _complain(f"interrupted after {len(journal.images)} of {len(bench.indices)} "
                         "images; add --resume to go on", INTERRUPTED)
    except (OSError, ValueError) as error:
        return _complain(f"{error} ({len(journal.images)} images are measured; add --resume to "
                         "go on)", 1)
    print(f"{summary(results)}\n{path}, {path.with_suffix('.md').name}")
    return 0


def prepare(arguments: argparse.Namespace) -> Bench:
    """Check flags and data, and load the model.

    Raises:
        ValueError, OSError, WeightsError: in one sentence.
    """
    dataset = open_dataset(arguments.dataset, arguments.data_root)
    profile = _profile(arguments, dataset)
    settings = chosen_settings(arguments, profile)
    _refuse_to_lose(arguments)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device,
                               settings)
    words = (profile.classes if profile else dataset.classes) if dataset.class_count else ()
    vocabulary = segmentor.vocabulary(words, profile.background if profile else "") \
        if words else None
    return Bench(arguments, dataset, dataset.choose(arguments.num_samples), profile, segmentor,
                 vocabulary)


def open_journal(bench: Bench) -> Journal:
    """Start the journal, or go on with it; results of an earlier run are removed.

    Raises:
        JournalError: it cannot be continued.
        OSError: its folder cannot be written.
    """
    journal = Journal(_journal_path(bench.arguments), describe(bench), bench.arguments.resume)
    bench.arguments.output.unlink(missing_ok=True)
    return journal


def describe(bench: Bench) -> dict[str, Any]:
    """Name all that the counts of the images depend on."""
    arguments, segmentor = bench.arguments, bench.segmentor
    names = "\n".join(bench.dataset.name(index) for index in bench.indices)
    return {
        "dataset": {"name": arguments.dataset, "images": len(bench.indices),
                    "list_sha256": hashlib.sha256(names.encode()).hexdigest()},
        "model": {"name": segmentor.name, "precision": segmentor.precision,
                  **provenance.describe_weights(arguments.model, arguments.pretrained)},
        "profile": arguments.profile or bench.dataset.profile or None,
        "method": bench.profile.method if bench.profile else "default settings",
        "settings": asdict(segmentor.settings),
        "fallbacks": list(segmentor.fallbacks),
        "words": [list(entry.synonyms) for entry in bench.vocabulary.classes]
        if bench.vocabulary else "each image's own",
        "device_type": segmentor.device.type,
        "commit": provenance.commit(),
    }


def conclude(bench: Bench, journal: Journal, command: str) -> dict[str, Any]:
    """Gather the journal into results that can be traced."""
    run, device = journal.run, bench.segmentor.device
    names = list(bench.vocabulary.names) if bench.vocabulary else []
    if bench.vocabulary and bench.vocabulary.background is not None:
        names[bench.vocabulary.background] = "background"  # VOC's is called "sky", its first word
    root = bench.arguments.data_root
    return {
        "dataset": {**run["dataset"], "root": str(root.resolve()) if root else None},
        **score(journal.records(), names),
        "definitions": DEFINITIONS,
        "speed": speed(journal.records()),
        "memory": provenance.peak_memory(device),
        **{key: run[key] for key in ("model", "profile", "method", "settings", "fallbacks",
                                     "words")},
        "provenance": {
            "command": command,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": run["commit"],
            "device": provenance.device_name(device),
            "versions": provenance.versions(),
        },
    }


def _profile(arguments: argparse.Namespace, dataset: Dataset) -> Profile | None:
    """Load the profile that was named, or the data set's own if it has one."""
    profile = chosen_profile(arguments, default=dataset.profile)
    if profile and dataset.class_count and len(profile.classes) != dataset.class_count:
        raise UsageError(f"profile '{profile.name}' has {len(profile.classes)} classes, but data "
                         f"set '{arguments.dataset}' has {dataset.class_count}; choose another")
    return profile


def _journal_path(arguments: argparse.Namespace) -> Path:
    return arguments.output.with_suffix(".journal.jsonl")


def _refuse_to_lose(arguments: argparse.Namespace) -> None:
    """Refuse what would throw measured images away, or mix those of different weights."""
    if arguments.resume and arguments.pretrained == RANDOM:
        raise UsageError(f"--resume cannot go on with --pretrained {RANDOM}, whose weights differ "
                         "from run to run; leave one of them out")
    path = _journal_path(arguments)
    if arguments.resume or arguments.output.is_file() or not path.is_file():
        return
    if path.read_bytes().count(b"\n") > 1:  # more than the first line, which has no image
        raise UsageError(f"'{path}' holds the images of an interrupted run; add --resume to go on, "
                         "remove it, or choose another --output")


def _complain(problem: object, code: int) -> int:
    print(f"sclip-benchmark: {' '.join(str(problem).split())}", file=sys.stderr)
    return code
