"""One frame's messages, which come one by one, joined by their stamp."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sclip_seg_ros.ros.images import to_rgb
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.vocabulary import VocabularyClass
from sclip_seg_ros.studio.labelled import Frame, Labelled, OfGrid

PARTS = ("camera", "label", "confidence", "class_confidence", "probabilities", "status")
MOST_BYTES = 256_000_000  # of messages that wait for others of their frame
MOST_FRAMES = 90
_VOCABULARIES = 8
_RATE_SECONDS = 3.0  # of stamps that the rate is taken over


class Joiner:
    """Collect the messages of frames, and return a frame once all of its parts are there.

    A node answers later than the camera; until then the picture waits, within a limit.
    """

    def __init__(self, camera: str) -> None:
        """Begin; ``camera`` names the frames."""
        self._camera = camera
        self._frames: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()
        self._vocabularies: OrderedDict[int, Vocabulary] = OrderedDict()
        self._first = 0.0
        self._counted: deque[tuple[float, int]] = deque()  # stamp, frames labelled by then

    def learn(self, vocabulary: Vocabulary) -> None:
        """Take words in, which the frames of their version have; a node that begins anew, too."""
        newest = next(reversed(self._vocabularies), 0)
        if vocabulary.version < newest:
            self._vocabularies.clear()
        self._vocabularies[vocabulary.version] = vocabulary
        self._vocabularies.move_to_end(vocabulary.version)
        while len(self._vocabularies) > _VOCABULARIES:
            self._vocabularies.popitem(last=False)

    def take(self, part: str, message: Any) -> Labelled | None:
        """Take a message in; return its frame where it was the last part.

        Raises:
            ImageError: the camera's image cannot be read.
        """
        key = message.header.stamp.sec, message.header.stamp.nanosec
        parts = self._frames.setdefault(key, {})
        parts[part] = message
        self._limit()
        if len(parts) < len(PARTS):
            return None
        for older in list(self._frames):  # they would come too late
            del self._frames[older]
            if older == key:
                break
        counts: ClassConfidenceArray = parts["class_confidence"]
        vocabulary = self._vocabularies.get(counts.vocabulary_version)
        # A node that begins anew counts versions from 1 again, and its words may be on the way.
        if vocabulary is None or [entry.class_name for entry in counts.classes] != [
                entry.name for entry in vocabulary.classes]:
            return None
        return self._joined(key, parts, vocabulary)

    def _limit(self) -> None:
        size = sum(len(message.data) for parts in self._frames.values()
                   for message in parts.values() if hasattr(message, "data"))
        while len(self._frames) > MOST_FRAMES or size > MOST_BYTES and len(self._frames) > 1:
            _, parts = self._frames.popitem(last=False)
            size -= sum(len(message.data) for message in parts.values()
                        if hasattr(message, "data"))

    def _joined(self, key: tuple[int, int], parts: Mapping[str, Any],
                vocabulary: Vocabulary) -> Labelled:
        classes: ClassConfidenceArray = parts["class_confidence"]
        status: SegmentationStatus = parts["status"]
        labels = _positions(_plane(parts["label"]), vocabulary)
        image = to_rgb(parts["camera"])
        grid = _plane(parts["probabilities"])
        seconds = key[0] + 1e-9 * key[1]
        self._first = self._first or seconds
        return Labelled(
            Frame((self._camera, *key), f"{self._camera}, stamp {seconds:.3f}", image,
                  max(0.0, seconds - self._first)),
            labels, _plane(parts["confidence"]),
            tuple(VocabularyClass(entry.name, tuple(entry.synonyms))
                  for entry in vocabulary.classes),
            np.array([entry.colour for entry in vocabulary.classes], np.uint8).reshape(-1, 3),
            np.array([entry.coverage for entry in classes.classes], np.float32),
            np.array([entry.mean_confidence for entry in classes.classes], np.float32),
            OfGrid(grid, labels.shape), {stage.stage: stage.ms for stage in status.stages},
            notes=tuple(status.fallbacks), status=described(status, self._rate(seconds, status)))

    def _rate(self, seconds: float, status: SegmentationStatus) -> float:
        """Return how many of this camera's frames are labelled a second, 0 while unknown."""
        counted = self._counted
        if counted and (seconds <= counted[-1][0] or status.frames_labelled < counted[-1][1]):
            counted.clear()  # a recording that loops, a node that began anew
        counted.append((seconds, status.frames_labelled))
        while seconds - counted[0][0] > _RATE_SECONDS and len(counted) > 2:
            counted.popleft()
        (first, before), (last, now) = counted[0], counted[-1]
        return (now - before) / (last - first) if last > first else 0.0


def described(status: SegmentationStatus, rate: float) -> dict[str, str]:
    """Return what a status tells, for people.

    Args:
        status: of one frame.
        rate: frames labelled a second, 0 while unknown.
    """
    told = {
        "rate": f"{rate:.1f} frames a second" if rate else "",
        "model": f"{status.model}, {status.device}",
        "vocabulary version": str(status.vocabulary_version),
        "in the node": f"{status.total_ms:.0f} ms",
        "behind the camera": "" if np.isnan(status.age_ms) else f"{status.age_ms:.0f} ms",
        "quality level": f"{status.quality_level} {status.quality_level_name}".strip(),
        "labelled": f"{status.frames_labelled} of {status.frames_received} frames",
        "dropped": str(status.frames_dropped),
        "failed or rejected": str(status.frames_failed + status.frames_rejected),
    }
    if status.latency_budget_ms:
        told["budget"] = (f"{status.latency_budget_ms:.0f} ms, missed "
                          f"{status.budget_misses} times")
    evidence = status.evidence
    if not np.isnan(evidence.age_ms):
        told["evidence age"] = f"{evidence.age_ms:.0f} ms" + (" (keyframe)" * evidence.keyframe)
        told["keyframes"] = f"{evidence.keyframes_hz:.1f} a second"
    if status.last_error:
        told["newest error"] = status.last_error
    return {name: value for name, value in told.items() if value}


def _positions(labels: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Turn published ids into places in the vocabulary."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[[entry.id for entry in vocabulary.classes]] = np.arange(len(vocabulary.classes))
    return table[labels]


def _plane(message: Image) -> np.ndarray:
    """Return an 8-bit image message as (H, W), or (H, W, C) where it has several channels."""
    channels = message.step // message.width
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = pixels[:, :message.width * channels].reshape(message.height, message.width, channels)
    several = channels > 1 or message.encoding.startswith("8UC")
    return pixels if several else pixels[..., 0]
