"""Short names for cameras and their topics, from the topics their images come on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

COMPRESSED = "/compressed"  # behind the topic of raw images, as image_transport has it


def camera_names(topics: Sequence[str]) -> list[str]:
    """Name cameras by what tells their topics apart; the only one needs no name.

    ``/front/image_raw`` and ``/rear/image_raw`` are the cameras ``front`` and ``rear``. Where
    leaving out what all share would leave nothing, the whole topics are the names.

    Raises:
        ValueError: two cameras would have one name.
    """
    if len(topics) == 1:
        return [""]
    paths = [topic.strip("~/").split("/") for topic in topics]
    head = _shared(paths)
    tail = _shared([path[head:][::-1] for path in paths])
    names = ["_".join(path[head:len(path) - tail]) for path in paths]
    if all(names) and len(set(names)) == len(names):
        return names
    names = ["_".join(path) for path in paths]
    for name in names:
        alike = [topic for topic, other in zip(topics, names, strict=True) if other == name]
        if len(alike) > 1:
            raise ValueError(f"image topics '{alike[0]}' and '{alike[1]}' would both be camera "
                             f"'{name}'; remap one to another name, or take one of them alone")
    return names


def info_topic(image_topic: str) -> str:
    """Return the topic of an image topic's camera_info, beside it, as image_transport has it."""
    return f"{image_topic.rpartition('/')[0]}/camera_info"


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """Return how many leading parts all paths share."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1,
                                    zip(*paths, strict=False)))
