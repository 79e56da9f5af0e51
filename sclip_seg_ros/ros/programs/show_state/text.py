"""A node's state as text with aligned columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sclip_seg_ros.common.text import aligned, in_number
from sclip_seg_ros.msg import Vocabulary

LEVELS = ("OK", "WARN", "ERROR", "STALE")    # of diagnostic_msgs/DiagnosticStatus
_LATENCY = " ms p50/p95/max"                  # ends the diagnostics' keys of latencies
_NUMBERS = (("images per second", "in/s"), ("labelled per second", "out/s"),
            ("frames received", "received"), ("frames labelled", "labelled"),
            ("frames dropped", "dropped"), ("frames rejected", "rejected"),
            ("frames failed", "failed"), ("frames skipped", "skipped"),
            ("budget missed", "over budget"))


@dataclass(frozen=True)
class CameraState:
    """What the diagnostics say of a camera.

    Attributes:
        name: of the camera, empty for the only one.
        level: of the diagnostic status, an index of LEVELS.
        message: its one sentence.
        values: its keys and values.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class NodeState:
    """Everything a node says of itself.

    Attributes:
        node: full name.
        lifecycle: label of the state, e.g. "active".
        cameras: at least one.
        vocabulary: newest announced; None before there is one.
        of_this_name: nodes in sight that have the full name.
    """

    node: str
    lifecycle: str
    cameras: tuple[CameraState, ...]
    vocabulary: Vocabulary | None
    of_this_name: int = 1


def state_text(state: NodeState, colour: bool) -> str:
    """Return the state for a terminal; with ``colour``, classes show theirs by ANSI sequences."""
    parts = [_head(state)]
    if "model" in state.cameras[0].values:
        parts += [_counts(state.cameras), _latencies(state.cameras)]
    if state.vocabulary is not None:
        parts.append(_classes(state.vocabulary, colour))
    return "\n\n".join(part for part in parts if part)


def _head(state: NodeState) -> str:
    facts = state.cameras[0].values
    rows = [("node", state.node), ("lifecycle", state.lifecycle)]
    if state.of_this_name > 1:
        rows.insert(1, ("warning", f"{state.of_this_name} nodes have this name, and this is of any "
                        "of them: end the others, or start each in a namespace of its own (one "
                        "that was killed stays in sight for some 20 s)"))
    if "model" in facts:
        budget = facts["budget ms"]
        rows += [("model", facts["model"]),
                 ("weights", facts.get("weights", "")),
                 ("device", f"{facts['device']}, {facts['precision']}"),
                 ("quality", f"level {facts['quality level']}, "
                             f"{facts['quality level changes']} changes so far"),
                 ("budget", "none" if budget == "0" else f"{budget} ms"),
                 ("fallbacks", facts["fallbacks"] or "none"),
                 ("memory", ", ".join(f"{facts[key]} MB {place}" for key, place in
                                      (("memory MB", "resident"), ("device memory MB", "on device"))
                                      if key in facts))]
    for camera in state.cameras:
        rows.append((camera.name or "verdict", f"{LEVELS[camera.level]}: {camera.message}"))
        if camera.values.get("last error"):
            rows.append(("last error", camera.values["last error"]))
    return "\n".join(aligned(rows, left=2))


def _counts(cameras: Sequence[CameraState]) -> str:
    head = ["camera", "topic", *(short for _, short in _NUMBERS)]
    rows = [[camera.name or "-", camera.values["topic"],
             *(camera.values[key] for key, _ in _NUMBERS)] for camera in cameras]
    return "\n".join(aligned([head, *rows], left=2))


def _latencies(cameras: Sequence[CameraState]) -> str:
    """Return a row a stage, in milliseconds; empty where no frame was labelled of late."""
    stages = list(dict.fromkeys(key.removesuffix(_LATENCY) for camera in cameras
                                for key in camera.values if key.endswith(_LATENCY)))
    if not stages:
        return ""
    head = ["ms"]
    for camera in cameras:
        prefix = f"{camera.name} " if camera.name else ""
        head += [f"{prefix}p50", "p95", "max"]
    rows = [[stage, *(part.strip() for camera in cameras for part in
                      camera.values.get(stage + _LATENCY, "- / - / -").split("/"))]
            for stage in stages]
    return "\n".join(aligned([head, *rows], left=1))


def _classes(vocabulary: Vocabulary, colour: bool) -> str:
    title = (f"vocabulary version {vocabulary.version}, "
             f"{in_number(len(vocabulary.classes), 'class')}")
    rows = [["id", "colour", "class", ""]]
    for entry in vocabulary.classes:
        notes = ["= " + ", ".join(entry.synonyms[1:])] if len(entry.synonyms) > 1 else []
        notes += ["(background)"] if entry.id == vocabulary.background_id else []
        rows.append([str(entry.id), "#" + bytes(entry.colour).hex(), entry.name, " ".join(notes)])
    lines = aligned(rows, left=4, right=(0,))
    if colour:
        lines[1:] = [f"{_swatch(entry.colour)} {line}"
                     for entry, line in zip(vocabulary.classes, lines[1:], strict=True)]
        lines[0] = "   " + lines[0]
    return "\n".join([title, *lines])


def _swatch(colour: Sequence[int]) -> str:
    red, green, blue = colour
    return f"\033[48;2;{red};{green};{blue}m  \033[0m"
