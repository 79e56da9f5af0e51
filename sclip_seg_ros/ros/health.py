"""How the node fares, as diagnostics: one verdict a camera, with what it rests on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sclip_seg_ros.ros.camera import Camera
from sclip_seg_ros.ros.engine import Engine
from sclip_seg_ros.ros.status import BUDGET_FRAMES, Counts

ACTIVE = "active"      # the phase of the lifecycle in which frames are worked on
STALE_SECONDS = 3.0    # without an image before that is worth a warning
STUCK_SECONDS = 10.0   # in one frame before that is worth a warning
RECENT_SECONDS = 10.0  # for which an error or a missed budget is worth a warning
MISSES = BUDGET_FRAMES // 100  # that the promised 99 % allow, and no warning is worth


@dataclass(frozen=True)
class Situation:
    """What the verdict rests on.

    Attributes:
        counts: of frames.
        silent_seconds: since the newest image, infinite before the first.
        error_seconds: since the newest error, infinite where there was none.
        miss_seconds: since the newest frame over the budget, infinite where there was none.
        busy_seconds: in the current frame.
        worker_alive: whether the frame thread runs.
        wanted: whether anybody listens, or the node works without listeners.
        hopeless: whether no quality level keeps the budget.
        topic: where images should come from.
    """

    counts: Counts
    silent_seconds: float
    error_seconds: float
    miss_seconds: float
    busy_seconds: float
    worker_alive: bool
    wanted: bool
    hopeless: bool
    topic: str


def judge(situation: Situation) -> tuple[bytes, str]:
    """Return a diagnostic level and one sentence."""
    error = situation.counts.last_error
    if not situation.worker_alive:
        return DiagnosticStatus.ERROR, f"the frame thread has ended: {error or 'restart the node'}"
    recent_error = situation.error_seconds < RECENT_SECONDS
    if situation.counts.failing and recent_error and situation.wanted:
        return DiagnosticStatus.ERROR, f"frames fail: {error}"
    if situation.busy_seconds > STUCK_SECONDS:
        return DiagnosticStatus.WARN, ("at one frame or one change of settings for "
                                       f"{situation.busy_seconds:.0f} s")
    if recent_error:
        return DiagnosticStatus.WARN, error
    if not situation.wanted:
        return DiagnosticStatus.OK, "idle: nobody listens to the outputs"
    if not situation.counts.received:
        return DiagnosticStatus.WARN, f"no image has arrived on {situation.topic} yet"
    if situation.silent_seconds > STALE_SECONDS:
        return DiagnosticStatus.WARN, (f"no image on {situation.topic} for "
                                       f"{situation.silent_seconds:.0f} s")
    if situation.hopeless:
        return DiagnosticStatus.WARN, "no quality level keeps the latency budget"
    if situation.counts.missed_lately > MISSES and situation.miss_seconds < RECENT_SECONDS:
        return DiagnosticStatus.WARN, (f"{situation.counts.missed_lately} of the last "
                                       f"{BUDGET_FRAMES} frames missed the latency budget")
    return DiagnosticStatus.OK, "labelling"


def health_of(engine: Engine | None, phase: str) -> list[tuple[str, DiagnosticStatus]]:
    """Return a status for each camera, with the camera's name; one for a node without any.

    Args:
        engine: of the node, None while it has none.
        phase: of the node's lifecycle, which is the verdict unless it is ACTIVE.
    """
    if engine is None:
        return [("", DiagnosticStatus(level=DiagnosticStatus.OK, message=phase,
                                      values=_key_values(_memory())))]
    facts = _facts(engine)
    statuses = []
    for camera in engine.cameras:
        level, message = judge(_situation(engine, camera)) if phase == ACTIVE \
            else (DiagnosticStatus.OK, phase)
        values = {**facts, **_values(camera)}
        statuses.append((camera.name, DiagnosticStatus(
            level=level, message=message, hardware_id=facts["device"],
            values=_key_values(values))))
    return statuses


def _situation(engine: Engine, camera: Camera) -> Situation:
    counts, now = camera.log.counts, time.monotonic()
    return Situation(
        counts, camera.log.seconds_since_arrival(), now - counts.last_error_at,
        now - counts.last_miss_at, engine.busy_seconds, engine.worker_alive,
        camera.outputs.wanted or not engine.options.lazy, engine.quality.state.hopeless,
        camera.topic)


def _facts(engine: Engine) -> dict[str, str]:
    """Return what is the same for all cameras."""
    segmentor, vocabulary = engine.segmentor, engine.vocabularies.current
    quality = engine.quality.state
    return {"model": segmentor.name, "device": str(segmentor.device),
            "precision": segmentor.precision,
            "vocabulary version": str(vocabulary.version), "classes": str(len(vocabulary)),
            "fallbacks": ", ".join(segmentor.fallbacks),
            "budget ms": f"{quality.budget_ms:g}",
            "quality level": f"{quality.level} '{quality.name}'",
            "quality level changes": str(quality.changes),
            **_memory()}


def _values(camera: Camera) -> dict[str, str]:
    """Return a camera's counts, rates and latencies."""
    counts = camera.log.counts
    arriving, labelled = camera.log.rates()
    values = {"topic": camera.topic, "images per second": f"{arriving:.1f}",
              "labelled per second": f"{labelled:.1f}"}
    for key in ("received", "labelled", "dropped", "rejected", "failed", "skipped"):
        values[f"frames {key}"] = str(getattr(counts, key))
    values["budget missed"] = str(counts.missed)
    values["last error"] = counts.last_error
    for stage, (median, high, most) in camera.log.percentiles().items():
        values[f"{stage} ms p50/p95/max"] = f"{median:.1f} / {high:.1f} / {most:.1f}"
    return values


def _memory() -> dict[str, str]:
    """Return what the process holds of the main memory, and of the GPUs' where it uses them."""
    memory = {"memory MB": f"{_resident_bytes() / 1e6:.0f}"}
    if torch.cuda.is_initialized():
        reserved = sum(torch.cuda.memory_reserved(index)
                       for index in range(torch.cuda.device_count()))
        memory["device memory MB"] = f"{reserved / 1e6:.0f}"
    return memory


def _key_values(values: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _resident_bytes() -> int:
    """Return the process's resident memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
