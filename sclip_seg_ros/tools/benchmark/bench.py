"""All that a run needs, checked and loaded; and a description of all that its counts depend on."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sclip_seg_ros.io.profiles import Profile
from sclip_seg_ros.models import RANDOM
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.temporal import TemporalSettings
from sclip_seg_ros.tools.arguments import (
    TEMPORAL,
    UsageError,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
)
from sclip_seg_ros.tools.benchmark.ablation import describe_rows
from sclip_seg_ros.tools.benchmark.datasets import VIDEOS, Dataset, open_dataset
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.figures import provenance
from sclip_seg_ros.tools.figures.configurations import Row, prepare_rows


@dataclass(frozen=True)
class Bench:
    """All that a run needs, checked and loaded.

    Attributes:
        rows: of the ablation; empty for a run of one configuration, the segmentor's own.
        temporal: how the frames of films help one another; None for single images.
    """

    arguments: argparse.Namespace
    dataset: Dataset
    indices: Sequence[int]
    profile: Profile | None
    segmentor: SCLIPSegmentor
    vocabulary: Vocabulary | None
    rows: Sequence[Row] = ()
    temporal: TemporalSettings | None = None

    @property
    def names(self) -> list[str]:
        """The classes' names; empty where every image brings its own."""
        names = list(self.vocabulary.names) if self.vocabulary else []
        if self.vocabulary and self.vocabulary.background is not None:
            names[self.vocabulary.background] = "background"  # VOC's is "sky", its first word
        return names


def prepare(arguments: argparse.Namespace) -> Bench:
    """Check flags and data, and load the model.

    Raises:
        ValueError, OSError, WeightsError: in one sentence.
    """
    dataset = open_dataset(arguments.dataset, arguments.data_root)
    profile = _profile(arguments, dataset)
    settings = chosen_settings(arguments, profile, varied=arguments.ablation)
    temporal = _temporal(arguments)
    started = settings.with_changes(use_loftup=False) if arguments.ablation else settings
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device, started)
    words = (profile.classes if profile else dataset.classes) if dataset.class_count else ()
    vocabulary = segmentor.vocabulary(words, profile.background if profile else "") \
        if words else None
    rows = prepare_rows(segmentor, settings) if arguments.ablation else ()
    return Bench(arguments, dataset, dataset.choose(arguments.num_samples), profile, segmentor,
                 vocabulary, rows, temporal)


def open_journal(bench: Bench) -> Journal:
    """Start the journal, or go on with it; results of an earlier run are removed.

    Raises:
        JournalError, UsageError: it cannot be continued.
        OSError: its folder cannot be written.
    """
    goes_on = _goes_on(bench.arguments)
    if goes_on and bench.arguments.pretrained == RANDOM:
        raise UsageError(f"a run with --pretrained {RANDOM} cannot go on, because its weights "
                         "differ from run to run; give --restart, or choose another --output")
    journal = Journal(_journal_path(bench.arguments), describe(bench), goes_on)
    bench.arguments.output.unlink(missing_ok=True)
    return journal


def describe(bench: Bench) -> dict[str, Any]:
    """Name all that the counts of the images depend on."""
    arguments, segmentor = bench.arguments, bench.segmentor
    names = "\n".join(bench.dataset.name(index) for index in bench.indices)
    used = [row.pipeline for row in bench.rows if row.pipeline] or [segmentor.pipeline]
    return {
        "dataset": {"name": arguments.dataset, "images": len(bench.indices),
                    "list_sha256": hashlib.sha256(names.encode()).hexdigest()},
        "model": {"name": segmentor.name, "precision": segmentor.precision,
                  **provenance.describe_weights(segmentor.origin),
                  "upsamplers": provenance.describe_upsamplers(used)},
        "profile": arguments.profile or bench.dataset.profile or None,
        "method": bench.profile.method if bench.profile else "default settings",
        "settings": asdict(segmentor.pipeline.decided),
        **({"temporal": asdict(bench.temporal)} if bench.temporal else {}),
        "ablation": describe_rows(bench.rows) if bench.rows else None,
        "fallbacks": list(segmentor.fallbacks),
        "words": [list(entry.synonyms) for entry in bench.vocabulary.classes]
        if bench.vocabulary else "each image's own",
        "device_type": segmentor.device.type,
        "commit": provenance.commit(),
    }


def _temporal(arguments: argparse.Namespace) -> TemporalSettings | None:
    """Return how the frames of films help one another; None for single images."""
    if arguments.dataset in VIDEOS:
        return chosen_temporal(arguments)
    given = next((text for text in arguments.assignments if text.startswith(TEMPORAL)), None)
    if given:
        raise UsageError(f"--set {given} has no effect on the single images of "
                         f"{arguments.dataset}; leave it out")
    return None


def _profile(arguments: argparse.Namespace, dataset: Dataset) -> Profile | None:
    """Load the profile that was named, or the data set's own if it has one."""
    profile = chosen_profile(arguments, default=dataset.profile)
    if profile and dataset.class_count and len(profile.classes) != dataset.class_count:
        raise UsageError(f"profile '{profile.name}' has {len(profile.classes)} classes, but data "
                         f"set '{arguments.dataset}' has {dataset.class_count}; choose another")
    return profile


def _journal_path(arguments: argparse.Namespace) -> Path:
    return arguments.output.with_suffix(".journal.jsonl")


def _goes_on(arguments: argparse.Namespace) -> bool:
    """Tell whether to go on with the journal: that of a run without results was interrupted."""
    if arguments.resume or arguments.restart or arguments.output.is_file():
        return arguments.resume
    path = _journal_path(arguments)
    return path.is_file() and path.read_bytes().count(b"\n") > 1  # the first line has no image
