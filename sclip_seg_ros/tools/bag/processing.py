"""One recording, from its path to the new recording beside it."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import WriterError

from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.text.class_ids import ClassIds
from sclip_seg_ros.tools.arguments import (
    chosen_classes,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
    text_options,
)
from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError
from sclip_seg_ros.tools.bag.results.clouds import Clouds
from sclip_seg_ros.tools.bag.results.earlier import (
    FRAMES,
    check_partial,
    partial_of,
    read_summary,
    remove,
)
from sclip_seg_ros.tools.bag.results.topics import Plan, make_plan
from sclip_seg_ros.tools.bag.results.writing import write_recording
from sclip_seg_ros.tools.bag.segmenting import segment_images
from sclip_seg_ros.tools.failures import unexpected
from sclip_seg_ros.tools.figures import provenance
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames, ForeignRunError, differences


@dataclass
class Outcome:
    """What came of one recording.

    Attributes:
        target: path of the new recording.
        address: of it, where it is not in a folder.
        frames: images that were segmented, now or in an earlier run.
        before: of these and the refused ones, those of earlier runs.
        refused: images that could not be segmented, by topic and reason.
        notices: topics left out.
        lost: cameras of which no image could be segmented.
        cuts: files that were cut short.
        error: why there is no new recording; empty if there is.
        kept: images whose labels are kept for the next run, where pieces are missing.
    """

    target: Path
    address: str = field(default="", kw_only=True)
    frames: int = 0
    before: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    notices: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    error: str = ""
    kept: int = 0

    @property
    def name(self) -> str:
        """The new recording's address or path, for people."""
        return self.address or str(self.target)

    @property
    def complete(self) -> bool:
        """Tell whether all there should be in the recording was segmented."""
        return not (self.error or self.lost or self.cuts or self.refused)


def load(arguments: argparse.Namespace) -> tuple[SCLIPSegmentor, Vocabulary]:
    """Load what the flags name.

    Raises:
        ValueError, OSError, WeightsError: in one sentence.
    """
    profile = chosen_profile(arguments)
    segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device,
                               chosen_settings(arguments, profile))
    vocabulary = segmentor.vocabulary(*chosen_classes(arguments, profile),
                                      **text_options(arguments))
    return segmentor, replace(vocabulary, ids=chosen_ids(arguments, len(vocabulary)))


def chosen_ids(arguments: argparse.Namespace, classes: int) -> ClassIds:
    """Return the ids that the flags give so many classes.

    Raises:
        ValueError: they cannot be used.
    """
    return ClassIds.of(classes, arguments.class_ids, arguments.unlabelled_id)


def process(bag: Path, target: Path, arguments: argparse.Namespace, segmentor: SCLIPSegmentor,
            vocabulary: Vocabulary, position: int = 0) -> Outcome:
    """Segment one recording, or go on where an earlier run was interrupted.

    Args:
        bag: the recording.
        target: where the new one goes; unfinished work lies beside it in ``<target>.partial``.
        arguments: of the command line.
        segmentor, vocabulary: with which.
        position: line of the progress bar.

    Returns:
        What came of it; what is wrong with the recording or the disk is its ``error``.
    """
    outcome = Outcome(target)
    try:
        _process(bag, outcome, arguments, segmentor, vocabulary, position)
    except (RecordingError, ForeignRunError) as error:
        outcome.error = str(error)
    except (WriterError, OSError, sqlite3.Error) as error:
        outcome.error = (f"'{target}' cannot be written ({error}); make room or choose another "
                         "--output; the same command goes on")
    except Exception as error:  # the others of the command shall be done
        outcome.error = f"'{bag}' cannot be segmented: {unexpected(error)}"
    return outcome


def _process(bag: Path, outcome: Outcome, arguments: argparse.Namespace, segmentor: SCLIPSegmentor,
             vocabulary: Vocabulary, position: int) -> None:
    target = outcome.target
    partial = partial_of(target)
    recording, codec = Recording(bag), Codec()
    plan = make_plan(recording, arguments.topics, arguments.prefix, codec, arguments.points)
    outcome.notices, outcome.lost = plan.left_out, plan.lost
    if arguments.restart:
        remove(target)
    run = describe(recording, plan, arguments,
                   provenance.describe_segmentation(segmentor, vocabulary), vocabulary.ids)
    if target.exists():
        take_over(target, run, outcome)
        return
    check_partial(target)
    finished = FinishedFrames(partial / FRAMES, run)
    try:
        outcome.before = finished.count
        segment_images(recording, plan, finished, codec, segmentor, vocabulary,
                       chosen_temporal(arguments), position, arguments.label_size)
        write(partial / target.name, outcome, recording, plan, [finished], codec, vocabulary,
              arguments, run, position)
    finally:
        finished.close()
    (partial / target.name).rename(target)
    shutil.rmtree(partial)


def write(path: Path, outcome: Outcome, recording: Recording, plan: Plan,
          stores: Sequence[FinishedFrames], codec: Codec, vocabulary: Vocabulary,
          arguments: argparse.Namespace, run: dict[str, Any], position: int, **more: Any) -> None:
    """Write the new recording, and note in the outcome what came of its images.

    Args:
        path: of the new recording, until it is moved to its target.
        outcome: of the recording.
        recording, plan: the old one, and the channels of its results.
        stores: of the finished frames, in the order of the images.
        codec, vocabulary: with which.
        arguments: of the command line.
        run: all that the new one depends on, for its metadata.
        position: line of the progress bar.
        more: for its metadata, by name.

    Raises:
        RecordingError: the recording has changed since the frames were segmented.
        OSError: it cannot be written.
    """
    for store in stores:
        for topic, problem, count in store.problems():
            outcome.refused[topic, problem] += count
    outcome.frames = sum(store.count for store in stores) - outcome.refused.total()
    clouds = Clouds(recording, plan, codec, vocabulary, arguments.points_tolerance_ms) \
        if arguments.points else None

    def summary(unwritten: int) -> str:
        outcome.frames -= unwritten
        outcome.cuts = tuple(recording.cuts)
        return json.dumps({"run": run, "frames": outcome.frames, "cuts": outcome.cuts,
                           "refused": [[*key, n] for key, n in outcome.refused.items()], **more})

    write_recording(path, recording, plan, chain.from_iterable(stores), codec, vocabulary,
                    (arguments.overlay_alpha, arguments.legend), summary, position, clouds)
    if clouds is not None:
        outcome.notices += clouds.notices(str(outcome.target))


def describe(recording: Recording, plan: Plan, arguments: argparse.Namespace,
             segmentation: dict[str, Any], ids: ClassIds) -> dict[str, Any]:
    """Name all that the new recording depends on.

    Args:
        recording, plan: of the old one.
        arguments: of the command line.
        segmentation: what :func:`provenance.describe_segmentation` says.
        ids: of the classes, as many as there are.
    """
    return {
        "recording": [[file.name, *contents] for file, contents in recording.contents],
        "topics": [channel.topic for channel in plan.outputs],
        **describe_flags(arguments, segmentation, ids),
    }


def describe_flags(arguments: argparse.Namespace, segmentation: dict[str, Any],
                   ids: ClassIds) -> dict[str, Any]:
    """Name all that new recordings depend on beside the old ones; see :func:`describe`."""
    run = {
        "prefix": arguments.prefix,
        **segmentation,
        "temporal": asdict(chosen_temporal(arguments)),
        "class ids": [*ids.values, ids.unlabelled],
        "points": [arguments.points, arguments.points_tolerance_ms],
        "label size": arguments.label_size,
        "overlay": [arguments.overlay_alpha, arguments.legend],
    }
    if arguments.piece_seconds is not None:
        run["length and run-in of pieces"] = [arguments.piece_seconds, arguments.run_in]
    return run


def take_over(target: Path, run: dict[str, Any], outcome: Outcome) -> None:
    """Take a recording that an earlier run finished for the result, if it is that of this run.

    Raises:
        RecordingError: it is another one.
    """
    earlier = read_summary(target)
    if earlier is None:
        raise RecordingError(f"'{target}' exists already, and was not made by this program; move "
                             "it away, or choose another --output")
    if different := differences(earlier["run"], run):
        raise RecordingError(f"'{target}' exists already, made with another {different}; choose "
                             "another --output, or add --restart to replace it")
    outcome.frames = earlier["frames"]
    outcome.refused = Counter({(topic, reason): n for topic, reason, n in earlier["refused"]})
    outcome.before = outcome.frames + outcome.refused.total()
    outcome.cuts = tuple(earlier["cuts"])
