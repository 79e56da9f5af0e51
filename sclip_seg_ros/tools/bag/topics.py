"""Which topics of a recording are segmented, and what their results are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sclip_seg_ros.io.camera_names import camera_names
from sclip_seg_ros.tools.bag.channel import Channel
from sclip_seg_ros.tools.bag.messages import COMPRESSED, IMAGE, SUMMARY, VOCABULARY, Codec
from sclip_seg_ros.tools.bag.recording import Recording, RecordingError

TRANSPORT = "/compressed"


@dataclass(frozen=True)
class Outputs:
    """The channels of one camera's results."""

    label: Channel
    overlay: Channel
    summary: Channel


@dataclass(frozen=True)
class Plan:
    """What is segmented, and where the results go.

    Attributes:
        outputs: of each image channel.
        vocabulary: channel of the words.
        left_out: one sentence for every image topic that is not segmented.
    """

    outputs: dict[Channel, Outputs]
    vocabulary: Channel
    left_out: tuple[str, ...]


def make_plan(recording: Recording, wanted: Sequence[str], prefix: str, codec: Codec) -> Plan:
    """Choose the image topics and name the results as the node does.

    Args:
        recording: to look into.
        wanted: topics; empty for every one with colour images, a camera's raw images being
            preferred to its compressed ones.
        prefix: of the results' topics, e.g. ``/sclip_seg``.
        codec: to look at the first image of a topic with.

    Raises:
        RecordingError: no such topic, or a result's topic is there already.
    """
    images = [channel for channel in recording.channels if channel.kind in (IMAGE, COMPRESSED)]
    if wanted:
        chosen, left_out = _named(recording, images, wanted), []
    else:
        chosen, left_out = _usable(recording, images, codec)
    bases = list(dict.fromkeys(_base(channel) for channel in chosen))
    try:
        names = dict(zip(bases, camera_names(bases), strict=True))
    except ValueError as error:
        raise RecordingError(str(error)) from error
    taken = {channel.topic for channel in recording.channels}
    outputs = {}
    for channel in chosen:
        camera = "/".join(filter(None, (prefix, names[_base(channel)])))
        outputs[channel] = Outputs(codec.channel(f"{camera}/label", IMAGE),
                                   codec.channel(f"{camera}/overlay", IMAGE),
                                   codec.channel(f"{camera}/class_confidence", SUMMARY))
    vocabulary = codec.channel(f"{prefix}/vocabulary", VOCABULARY, latched=True)
    for channel in [vocabulary, *(each for made in outputs.values()
                                  for each in (made.label, made.overlay, made.summary))]:
        if channel.topic in taken:
            raise RecordingError(f"'{recording.path}' has a topic '{channel.topic}' already; "
                                 "choose another --prefix, e.g. /offline, and name the image "
                                 "topics with --topics")
    return Plan(outputs, vocabulary, tuple(left_out))


def _named(recording: Recording, images: Sequence[Channel],
           wanted: Sequence[str]) -> list[Channel]:
    for topic in wanted:
        if topic not in {channel.topic for channel in images}:
            raise RecordingError(f"'{recording.path}' has no image topic '{topic}'; choose of: "
                                 f"{_list(images)}")
        if topic + TRANSPORT in wanted:
            raise RecordingError(f"'{topic}' and '{topic}{TRANSPORT}' are the same camera; name "
                                 "one of them in --topics")
    return [channel for channel in images if channel.topic in wanted]


def _usable(recording: Recording, images: Sequence[Channel],
            codec: Codec) -> tuple[list[Channel], list[str]]:
    """Return the channels with readable images, and why the others are left out."""
    chosen, left_out, topics = [], [], {channel.topic for channel in images}
    for channel in images:
        if channel.topic.endswith(TRANSPORT) and _base(channel) in topics:
            reason = f"its images are those of '{_base(channel)}'"
        else:
            first = next(recording.messages([channel]), None)
            reason = "it has no message" if first is None else codec.refusal(first)
        if reason:
            left_out.append(f"'{recording.path}': topic '{channel.topic}' is left out: {reason}")
        else:
            chosen.append(channel)
    if not chosen:
        raise RecordingError(f"'{recording.path}' has no topic with colour images; of images it "
                             f"has: {_list(images)}")
    return chosen, left_out


def _base(channel: Channel) -> str:
    return channel.topic.removesuffix(TRANSPORT)


def _list(images: Sequence[Channel]) -> str:
    return ", ".join(dict.fromkeys(channel.topic for channel in images)) or "none"
