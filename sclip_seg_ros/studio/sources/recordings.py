"""The cameras of a rosbag2 recording, any frame of them; needs the extra 'tools'."""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.studio.labelled import Frame
from sclip_seg_ros.tools.bag.recording.channel import Channel, Message
from sclip_seg_ros.tools.bag.recording.messages import COMPRESSED, IMAGE, Codec
from sclip_seg_ros.tools.bag.recording.readability import Readability
from sclip_seg_ros.tools.bag.recording.recording import Recording, RecordingError
from sclip_seg_ros.tools.console import readable

_NANO = 1e-9


class Camera:
    """One image topic of a recording.

    Frames are counted once, when it is opened; a frame is found by reading on from the last one,
    or, for one before it, from the beginning.
    """

    kind, moving = "recording", True

    def __init__(self, recording: Recording, channel: Channel, codec: Codec,
                 stamps: list[int]) -> None:
        """Know the topic and the times of its messages, in nanoseconds."""
        self.name = f"{readable(recording.path.name)} {channel.topic}"
        self._recording = recording
        self._channel = channel
        self._codec = codec
        self._stamps = stamps
        spans = (stamps[-1] - stamps[0]) * _NANO
        self.rate = (len(stamps) - 1) / spans if spans > 0 else 10.0
        self._next = 0
        self._messages = recording.messages([channel])

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._stamps)

    def name_of(self, index: int) -> str:
        """Return nothing: frames have times."""
        return ""

    def frame(self, index: int) -> Frame:
        """Read an image.

        Raises:
            ValueError: there is none, or it cannot be read.
        """
        if not 0 <= index < self.count:
            raise ValueError(f"there is no frame {index + 1}; the source has {self.count}")
        message = self._message(index)
        image, _ = self._codec.read_image(message)
        seconds = (self._stamps[index] - self._stamps[0]) * _NANO
        return Frame((str(self._recording.path), self._channel.topic, index),
                     f"{self.name}, {seconds:.2f} s", image, seconds)

    def _message(self, index: int) -> Message:
        if index < self._next:
            self._messages, self._next = self._recording.messages([self._channel]), 0
        while True:
            message = next(self._messages, None)
            if message is None:
                raise RecordingError(f"image {index + 1} of '{self.name}' is not there any more; "
                                     "the recording has changed")
            self._next += 1
            if self._next == index + 1:
                return message


def open_recording(path: Path) -> list[Camera]:
    """Return the cameras of a recording, those of which an image can be read.

    Raises:
        RecordingError: it cannot be read, or has none.
    """
    recording, codec = Recording(path), Codec()
    channels = [channel for channel in recording.channels if channel.kind in (IMAGE, COMPRESSED)]
    told = Readability[Channel](codec)
    stamps: dict[Channel, list[int]] = {}
    for message in recording.messages(channels):
        stamps.setdefault(message.channel, []).append(message.stamp)
        told.look(message.channel, message)
    cameras = [Camera(recording, channel, codec, found) for channel, found in stamps.items()
               if channel in told.usable]
    if not cameras:
        found = "; ".join(f"'{channel.topic}': {cause}" for channel, cause in told.problems.items())
        raise RecordingError(f"'{readable(path)}' has no topic with colour images; "
                             + (f"of images it has: {found}" if found else "name another "
                                "recording"))
    return cameras
