"""Write a recording again, with the results behind each image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, StoragePlugin, Writer
from tqdm import tqdm

from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.segmentation import Vocabulary
from sclip_seg_ros.tools.bag.recording.channel import Channel, Message
from sclip_seg_ros.tools.bag.recording.files import plain_name
from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError
from sclip_seg_ros.tools.bag.results.clouds import Clouds, at_size
from sclip_seg_ros.tools.bag.results.earlier import OWNER
from sclip_seg_ros.tools.bag.results.topics import Outputs, Plan
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.pieces.finished_frames import Frame

FORMAT_VERSION: Final = 8  # of rosbag2; the newest that Humble reads, too


class RecordingWriter:
    """A new recording that takes messages of any channel."""

    def __init__(self, path: Path, recording: Recording, codec: Codec) -> None:
        """Begin a recording of the same format and compression as another one."""
        self._writer = Writer(path, version=FORMAT_VERSION,
                              storage_plugin=StoragePlugin[recording.storage.upper()])
        self._writer.set_compression(recording.compression, CompressionFormat.ZSTD)
        self._codec = codec
        self._connections: dict[tuple, Connection] = {}

    def write(self, channel: Channel, stamp: int, data: bytes) -> None:
        """Write one serialised message."""
        self._writer.write(self._connections[_offer(channel)], stamp, data)

    def add(self, channel: Channel) -> None:
        """Announce a channel, unless one was announced that differs in its definition alone."""
        if _offer(channel) in self._connections:
            return
        definition = channel.definition or self._codec.definition(channel.kind)
        digest = channel.digest or self._codec.digest(channel.kind, definition)
        self._connections[_offer(channel)] = self._writer.add_connection(
            channel.topic, channel.kind, msgdef=definition, rihs01=digest,
            offered_qos_profiles=channel.qos)

    def __enter__(self) -> RecordingWriter:
        """Open the files."""
        self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the files; after a failure they are left unfinished."""
        self._writer.__exit__(kind, error, trace)

    def describe(self, text: str) -> None:
        """Write a text about the whole recording into its metadata."""
        self._writer.set_custom_data(OWNER, text)


def _offer(channel: Channel) -> tuple:
    return channel.topic, channel.kind, channel.qos


def write_recording(path: Path, recording: Recording, plan: Plan, finished: Iterable[Frame],
                    codec: Codec, vocabulary: Vocabulary, overlay: tuple[float, bool],
                    description: Callable[[int], str], position: int,
                    clouds: Clouds | None = None) -> None:
    """Write a recording with the results of its images.

    Args:
        path: of the new recording; what an earlier run left there is removed.
        recording: every message of it is kept byte for byte.
        plan: channels of the results.
        finished: frames of all its images.
        codec: reads and writes messages.
        vocabulary: the words; written once, before anything else.
        overlay: share of the colours, and whether there is a legend.
        description: makes that of the run, for the metadata, once all of the recording was read;
            it is told how many labelled frames lie behind the place where reading ended.
        position: line of the progress bar.
        clouds: makes the semantic clouds; None for none.

    Raises:
        RecordingError: the recording has changed since the frames were segmented.
        OSError: it cannot be written.
    """
    shutil.rmtree(path, ignore_errors=True)
    total = sum(recording.counts.values()) or None
    messages = tqdm(recording.messages(), total=total, desc=f"{recording.path.name}: writing",
                    unit=" message", bar_format=BAR, position=position, disable=None)
    with plain_name(path) as plain, RecordingWriter(plain, recording, codec) as writer:
        made = [channel for each in plan.outputs.values() for channel in each.channels]
        for channel in [plan.vocabulary, *recording.channels, *dict.fromkeys(made)]:
            writer.add(channel)
        frames, begun, last = iter(finished), False, 0
        for message in messages:
            if not begun:
                writer.write(plan.vocabulary, message.stamp, codec.vocabulary(vocabulary))
                begun = True
            writer.write(*message)
            last = message.stamp
            if outputs := plan.outputs.get(message.channel):
                frame = _matching(frames, message)
                for channel, data in _results(message, frame, outputs, codec, vocabulary, overlay):
                    writer.write(channel, message.stamp, data)
                if clouds is not None and outputs.points is not None:
                    for channel, data in clouds.add_image(message, frame, outputs.points):
                        writer.write(channel, message.stamp, data)
            elif clouds is not None:
                for channel, data in clouds.add_depth(message):
                    writer.write(channel, message.stamp, data)
        for channel, data in clouds.rest() if clouds is not None else ():
            writer.write(channel, last, data)
        writer.describe(description(sum(frame.labels is not None for frame in frames)))


def _matching(frames: Iterator[Frame], message: Message) -> Frame:
    """Return the next frame, which must be that of the image."""
    frame = next(frames, None)
    if frame is None or (frame.topic, frame.stamp) != (message.channel.topic, message.stamp):
        raise RecordingError("the recording has changed since its images were segmented; add "
                             "--restart")
    return frame


def _results(message: Message, frame: Frame, outputs: Outputs, codec: Codec, vocabulary: Vocabulary,
             overlay: tuple[float, bool]) -> Iterator[tuple[Channel, bytes]]:
    """Yield the messages of one frame; none for an image that could not be segmented."""
    if frame.labels is None:
        return
    pixels, header = codec.read_image(message)
    pixels = at_size(pixels, frame.labels.shape)
    alpha, legend = overlay
    picture = overlay_of(pixels, frame.labels, vocabulary, frame.coverage, alpha, legend)
    yield outputs.label, codec.image(vocabulary.ids.publish(frame.labels), "mono8", header)
    yield outputs.overlay, codec.image(picture, "rgb8", header)
    yield outputs.summary, codec.summary(vocabulary, frame.coverage, frame.mean_confidence, header)
