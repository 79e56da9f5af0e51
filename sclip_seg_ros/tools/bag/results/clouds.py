"""Semantic clouds of a recording: its segmented images joined with its depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.geometry.cloud import Pixels, Thinning, semantic_cloud
from sclip_seg_ros.geometry.sensors import positions_in
from sclip_seg_ros.geometry.stamps import Match, StampMatcher, stamp_of
from sclip_seg_ros.io.encodings import ImageError
from sclip_seg_ros.segmentation import Vocabulary
from sclip_seg_ros.tools.bag.recording.channel import Channel, Message
from sclip_seg_ros.tools.bag.recording.messages import CAMERA_INFO, CLOUD, IMAGE, Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording
from sclip_seg_ros.tools.bag.results.topics import Plan, Points
from sclip_seg_ros.tools.pieces.finished_frames import Frame


@dataclass(frozen=True)
class _Image:
    """A segmented image that waits for its depth."""

    labels: np.ndarray
    confidence: np.ndarray | None
    pixels: np.ndarray
    header: Any
    points: Points


def at_size(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a picture (H, W, 3) uint8 to the size of its labels."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    return cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)


class Clouds:
    """Take a recording's messages one by one, and give back clouds as soon as they are known.

    An image's depth is the one with the nearest stamp, within the tolerance, as in the node.
    """

    def __init__(self, recording: Recording, plan: Plan, codec: Codec, vocabulary: Vocabulary,
                 tolerance_ms: float) -> None:
        """Begin a recording; its first calibrations hold for what came before them, too.

        Args:
            recording: to look into.
            plan: which topics belong together.
            codec: reads and writes messages.
            vocabulary: the words; its ids are those of the points.
            tolerance_ms: milliseconds between the stamps of an image and its depth, at most.
        """
        self._codec = codec
        self._ids = vocabulary.ids
        planned = [made.points for made in plan.outputs.values() if made.points is not None]
        self._matchers: dict[str, StampMatcher[_Image, Any]] = {
            points.depth: StampMatcher(round(tolerance_ms * 1e6)) for points in planned}
        self._infos: dict[str, Any] = dict.fromkeys(points.info for points in planned)
        self._missing: Counter[tuple[str, str]] = Counter()
        self._unreadable: Counter[str] = Counter()
        self._faults: dict[str, str] = {}  # the first of each topic that cannot be read
        self._repeated: Counter[str] = Counter()
        self._look_for_infos(recording)

    def add_image(self, message: Message, frame: Frame,
                  points: Points) -> Iterator[tuple[Channel, bytes]]:
        """Take a segmented image; yield the clouds that are known by now."""
        if frame.labels is None:
            return
        pixels, header = self._codec.read_image(message)
        image = _Image(frame.labels, frame.confidence, at_size(pixels, frame.labels.shape), header,
                       points)
        yield from self._join(self._matchers[points.depth].add_frame(stamp_of(header), image))

    def add_depth(self, message: Message) -> Iterator[tuple[Channel, bytes]]:
        """Take any other message; yield the clouds that are known by now.

        One that cannot be read is left out, and counted.
        """
        topic, kind = message.channel.topic, message.channel.kind
        is_info = topic in self._infos and kind == CAMERA_INFO
        if not is_info and not (topic in self._matchers and kind in (IMAGE, CLOUD)):
            return
        try:
            content = self._codec.read(message)
        except ImageError as error:
            self._unreadable[topic] += 1
            self._faults.setdefault(topic, str(error))
            return
        if is_info:
            self._infos[topic] = content
            return
        matcher, stamp = self._matchers[topic], stamp_of(content.header)
        self._repeated[topic] += stamp == matcher.newest
        yield from self._join(matcher.add_companion(stamp, content))

    def rest(self) -> Iterator[tuple[Channel, bytes]]:
        """Yield the clouds of images that waited for nearer depth, at the recording's end."""
        for matcher in self._matchers.values():
            yield from self._join(matcher.rest())

    def notices(self, name: str) -> tuple[str, ...]:
        """Return a sentence for every reason that images have no cloud, or may have a wrong one.

        Args:
            name: of the new recording.
        """
        return (
            *(f"{name}: {in_number(count, 'message')} of '{topic}' left out of the clouds; the "
              f"first: {self._faults[topic]}" for topic, count in self._unreadable.items()),
            *(f"{name}: {in_number(count, 'message')} of '{topic}' with the stamp of the one "
              "before: of those with one stamp, an image has the last that was recorded before it; "
              "see that the driver stamps its images"
              for topic, count in self._repeated.items() if count),
            *(f"{name}: {in_number(count, 'image')} without a cloud from '{topic}': {reason}"
              for (topic, reason), count in self._missing.items()))

    def _look_for_infos(self, recording: Recording) -> None:
        channels = [channel for channel in recording.channels
                    if channel.topic in self._infos and channel.kind == CAMERA_INFO]
        left = {channel.topic for channel in channels if recording.counts.get(channel) != 0}
        for message in recording.messages(channels) if left else ():
            if message.channel.topic in left:
                try:
                    self._infos[message.channel.topic] = self._codec.read(message)
                except ImageError:  # counted where it is met again
                    continue
                left.remove(message.channel.topic)
                if not left:
                    break

    def _join(self, matches: Iterable[Match[_Image, Any]]) -> Iterator[tuple[Channel, bytes]]:
        for match in matches:
            image, depth = match.frame, match.companion
            if depth is None:
                self._miss(image, "no depth is near enough in time; see --points-tolerance-ms")
                continue
            try:
                positions = positions_in(depth, self._infos[image.points.info], image.header,
                                         image.labels.shape)
            except ValueError as error:
                self._miss(image, str(error))
                continue
            pixels = Pixels(np.ascontiguousarray(image.pixels), self._ids.publish(image.labels),
                            image.confidence)
            cloud = semantic_cloud(positions, pixels, Thinning())
            yield image.points.channel, self._codec.cloud(cloud, True, depth.header)

    def _miss(self, image: _Image, reason: str) -> None:
        self._missing[image.points.depth, reason] += 1
