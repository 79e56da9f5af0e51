"""What is known of a topic in a recording, and one of its messages, whatever the file's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rosbags.interfaces import Qos


@dataclass(frozen=True)
class Channel:
    """A topic as it was offered.

    Attributes:
        topic: its name.
        kind: message type, e.g. ``sensor_msgs/msg/Image``.
        definition: of the message type; empty where the recording has none.
        digest: RIHS01 hash of the message type; empty where the recording has none.
        qos: profiles that were offered.
    """

    topic: str
    kind: str
    definition: str
    digest: str
    qos: tuple[Qos, ...]


def kind_of(name: str) -> str:
    """Return a message type's full name; MCAP's own registry of schemas leaves out the ``msg``."""
    package, given, message = name.partition("/")
    return name if not given or "/" in message else f"{package}/msg/{message}"


class Foreign(NamedTuple):
    """What the messages of a topic are that are none of ROS 2's.

    Attributes:
        encoding: e.g. ``protobuf``.
        kind: name of their type, e.g. ``foxglove.CompressedVideo``; empty where it has none.
    """

    encoding: str
    kind: str

    def __str__(self) -> str:
        """Return both, as far as they are known."""
        return " ".join(filter(None, self))


class Message(NamedTuple):
    """One message as it was recorded.

    Attributes:
        channel: it was recorded on.
        stamp: when, in nanoseconds.
        data: in CDR.
    """

    channel: Channel
    stamp: int
    data: bytes
