"""Which topics of a recording are segmented, and what their results are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sclip_seg_ros.io.camera_names import COMPRESSED as TRANSPORT
from sclip_seg_ros.io.camera_names import camera_names, info_topic
from sclip_seg_ros.tools.bag.recording.channel import Channel
from sclip_seg_ros.tools.bag.recording.files import RecordingError
from sclip_seg_ros.tools.bag.recording.messages import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    SUMMARY,
    VOCABULARY,
    Codec,
)
from sclip_seg_ros.tools.bag.recording.readability import Readability
from sclip_seg_ros.tools.bag.recording.recording import Recording

_TRANSPORTS = (TRANSPORT, "/compressedDepth", "/zstd", "/theora", "/ffmpeg", "/foxglove")
# Films as messages; each needs the ones before it, and a decoder of its own.
_FILMS = ("foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
          "theora_image_transport/msg/Packet")


@dataclass(frozen=True)
class Points:
    """A camera's semantic cloud.

    Attributes:
        channel: of the clouds.
        depth: topic of the depth.
        info: topic of its camera_info.
    """

    channel: Channel
    depth: str
    info: str


@dataclass(frozen=True)
class Outputs:
    """The channels of one camera's results."""

    label: Channel
    overlay: Channel
    summary: Channel
    points: Points | None = None

    @property
    def channels(self) -> list[Channel]:
        """All of them."""
        points = [self.points.channel] if self.points is not None else []
        return [self.label, self.overlay, self.summary, *points]


@dataclass(frozen=True)
class Plan:
    """What is segmented, and where the results go.

    Attributes:
        outputs: of each image channel.
        vocabulary: channel of the words.
        left_out: one sentence for every topic that is not segmented, though it holds images or
            cannot be copied.
        lost: one sentence for every camera of which no image can be segmented.
    """

    outputs: dict[Channel, Outputs]
    vocabulary: Channel
    left_out: tuple[str, ...]
    lost: tuple[str, ...]


def make_plan(recording: Recording, wanted: Sequence[str], prefix: str, codec: Codec,
              depths: Sequence[str] = ()) -> Plan:
    """Choose the image topics and name the results as the node does.

    Args:
        recording: to look into.
        wanted: topics; empty for every one with an image that can be read, a camera's raw images
            being preferred to its compressed ones, unless there are less than half as many.
        prefix: of the results' topics, e.g. ``/sclip_seg``.
        codec: to look at a topic's images with.
        depths: topics of the cameras' depth, in the order of the cameras; or none at all.

    Raises:
        RecordingError: no such topic, or a result's topic is there already.
    """
    images = [channel for channel in recording.channels if channel.kind in (IMAGE, COMPRESSED)]
    choice = _Choice(recording, depths)
    if wanted:
        choice.take_named(images, wanted)
    else:
        choice.take_usable(images, codec)
    chosen = choice.chosen
    bases = list(dict.fromkeys(_base(channel) for channel in chosen))
    try:
        names = dict(zip(bases, camera_names(bases), strict=True))
    except ValueError as error:
        raise RecordingError(str(error)) from error
    taken = {channel.topic for channel in recording.channels}
    points = _points(recording, bases, depths)
    outputs = {}
    for channel in chosen:
        camera = "/".join(filter(None, (prefix, names[_base(channel)])))
        outputs[channel] = Outputs(codec.channel(f"{camera}/label", IMAGE),
                                   codec.channel(f"{camera}/overlay", IMAGE),
                                   codec.channel(f"{camera}/class_confidence", SUMMARY),
                                   Points(codec.channel(f"{camera}/points", CLOUD), *topics)
                                   if (topics := points.get(_base(channel))) else None)
    vocabulary = codec.channel(f"{prefix}/vocabulary", VOCABULARY, latched=True)
    for channel in [vocabulary, *(each for made in outputs.values()
                                  for each in made.channels)]:
        if channel.topic in taken:
            raise RecordingError(f"'{recording.path}' has a topic '{channel.topic}' already; "
                                 "choose another --prefix, e.g. /offline, and name the image "
                                 "topics with --topics")
    choice.tell_foreign()
    return Plan(outputs, vocabulary, tuple(choice.left_out), tuple(choice.lost))


def _points(recording: Recording, cameras: Sequence[str],
            depths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the topics of depth and its camera_info, by camera.

    Raises:
        RecordingError: not as many as cameras, or no such topic.
    """
    if depths and len(depths) != len(cameras):
        raise RecordingError(f"--points names {len(depths)} topics, but '{recording.path}' has "
                             f"{len(cameras)} cameras: {', '.join(cameras)}; name one for each, in "
                             "this order, or fewer cameras with --topics")
    there = [channel.topic for channel in recording.channels if channel.kind in (IMAGE, CLOUD)]
    for topic in depths:
        if topic not in there:
            raise RecordingError(f"'{recording.path}' has no depth topic '{topic}'; choose of: "
                                 f"{', '.join(there) or 'none'}")
    return {camera: (depth, info_topic(depth))
            for camera, depth in zip(cameras, depths, strict=bool(depths))}


class _Choice:
    """The channels to segment, and what there is to say about the others."""

    def __init__(self, recording: Recording, depths: Sequence[str]) -> None:
        """Begin with nothing; of depth that clouds are made of, nothing is said."""
        self._recording = recording
        self._depths = depths
        self.chosen: list[Channel] = []
        self.left_out: list[str] = []
        self.lost: list[str] = []

    def take_named(self, images: Sequence[Channel], wanted: Sequence[str]) -> None:
        """Take the topics that the user names, whatever is in them."""
        path = self._recording.path
        topics = list(dict.fromkeys(channel.topic for channel in images))
        for topic in wanted:
            if topic not in topics:
                raise RecordingError(f"'{path}' has no image topic '{topic}'; choose of: "
                                     f"{', '.join(topics) or 'none'}")
            if topic + TRANSPORT in wanted:
                raise RecordingError(f"'{topic}' and '{topic}{TRANSPORT}' are the same camera; "
                                     "name one of them in --topics")
        self.chosen = [channel for channel in images if channel.topic in wanted]
        for topic in wanted:
            if self._count(images, topic) == 0:
                self._leave(topic, "it has no message", self.lost)
        if len(self.lost) == len(set(wanted)):
            raise RecordingError(f"'{path}' has no message of {', '.join(wanted)}; see `ros2 bag "
                                 "info` for what it has, and name another in --topics")

    def take_usable(self, images: Sequence[Channel], codec: Codec) -> None:
        """Take of every camera the topic with images that can be read."""
        problems = _problems(self._recording, images, codec)
        cameras: dict[str, list[str]] = defaultdict(list)
        for topic in problems:
            cameras[_camera(topic)].append(topic)
        for topics in cameras.values():
            usable = [topic for topic in topics if not problems[topic]]
            best = self._best(images, usable) if usable else ""
            for topic in topics:
                if best and topic in usable and topic != best:
                    self._leave(topic, f"its images are those of '{best}'", self.left_out)
                elif topic != best:
                    problem = problems[topic]
                    if topic in self._depths and not problem.lost and self._count(images, topic):
                        continue
                    gone = not best and problem.lost
                    self._leave(topic, problem.text, self.lost if gone else self.left_out)
            self.chosen += [channel for channel in images if channel.topic == best]
        self.chosen.sort(key=images.index)
        self._tell_films({_camera(channel.topic) for channel in self.chosen})
        if not self.chosen:
            reasons = "; ".join(f"'{topic}': {problem.text}"
                                for topic, problem in problems.items() if problem)
            raise RecordingError(f"'{self._recording.path}' has no topic with colour images; of "
                                 f"images it has: {reasons or 'none'}"
                                 + "".join(f"; {sentence}" for sentence in self.lost
                                           if not reasons))

    def tell_foreign(self) -> None:
        """Say which topics are not in the new recording; images among them are lost."""
        for topic, what in self._recording.foreign.items():
            film = any(word in what.kind.lower() for word in ("image", "video"))
            self._leave(topic, f"its messages are none of ROS 2's, but {what}",
                        self.lost if film else self.left_out)

    def _tell_films(self, taken: set[str]) -> None:
        for channel in self._recording.channels:
            if channel.kind in _FILMS and self._recording.counts.get(channel) != 0:
                there = _camera(channel.topic) in taken
                self._leave(channel.topic, f"{channel.kind} is a film, which cannot be read here; "
                            "record the camera's raw or JPEG images",
                            self.left_out if there else self.lost)

    def _best(self, images: Sequence[Channel], topics: Sequence[str]) -> str:
        """Return the raw topic, unless another has more than twice as many images."""
        counted = {topic: self._count(images, topic) for topic in topics}
        counts = {topic: count for topic, count in counted.items() if count is not None}
        raw = [topic for topic in topics if topic == _camera(topic)]
        if raw and len(counts) < len(counted):
            return raw[0]
        most = max(topics, key=lambda topic: counts.get(topic, 0))
        return raw[0] if raw and 2 * counts[raw[0]] >= counts[most] else most

    def _count(self, images: Sequence[Channel], topic: str) -> int | None:
        return self._recording.count_of(channel for channel in images if channel.topic == topic)

    def _leave(self, topic: str, reason: str, where: list[str]) -> None:
        where.append(f"'{self._recording.path}': topic '{topic}' is left out: {reason}")


@dataclass(frozen=True)
class _Problem:
    """Why no image of a topic can be segmented; false where one can.

    Attributes:
        text: the reason.
        lost: whether there are images of a camera, which then are lost; not so of depth.
    """

    text: str = ""
    lost: bool = True

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return bool(self.text)


def _problems(recording: Recording, images: Sequence[Channel],
              codec: Codec) -> dict[str, _Problem]:
    """Look at the images of each topic until one can be read, or is depth."""
    told = Readability[str](codec)
    waiting = [channel for channel in images if recording.counts.get(channel) != 0]
    missing = {channel.topic for channel in waiting}
    for message in recording.messages(waiting) if waiting else ():
        topic = message.channel.topic
        if told.look(topic, message):
            missing.discard(topic)
        if not missing:
            break

    def problem(topic: str) -> _Problem:
        if topic in told.usable:
            return _Problem()
        if topic in told.depths:
            return _Problem(told.depths[topic], lost=False)
        if topic in told.problems:
            return _Problem(f"none of its images can be read; the first: {told.problems[topic]}")
        return _Problem("it has no message", lost=False)

    return {channel.topic: problem(channel.topic) for channel in images}


def _base(channel: Channel) -> str:
    return _camera(channel.topic)


def _camera(topic: str) -> str:
    """Return the topic that a camera's transports have in common."""
    for transport in _TRANSPORTS:
        topic = topic.removesuffix(transport)
    return topic
