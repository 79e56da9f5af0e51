"""How the node fares, as diagnostics: one verdict a camera, with what it rests on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sclip_seg_ros.models.loading import now_loading
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.cameras.frame_log import BUDGET_FRAMES, Counts
from sclip_seg_ros.ros.diagnostics.publisher import LOADING
from sclip_seg_ros.ros.engine import Engine
from sclip_seg_ros.ros.frames.reporter import hopeless

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
        worker_alive: whether the frame thread and the tower's thread run.
        wanted: whether anybody listens, or the node works without listeners.
        hopeless: what no quality level achieves, in words; empty where one does.
        topic: where images should come from.
        silence: why none come, where that is known.
        enabled: whether images are labelled at all.
        tower_trouble: why the last run of the image tower failed; empty where it did not.
    """

    counts: Counts
    silent_seconds: float
    error_seconds: float
    miss_seconds: float
    busy_seconds: float
    worker_alive: bool
    wanted: bool
    hopeless: str
    topic: str
    silence: str = ""
    enabled: bool = True
    tower_trouble: str = ""


def judge(situation: Situation) -> tuple[bytes, str]:
    """Return a diagnostic level and one sentence."""
    error = situation.counts.last_error
    if not situation.worker_alive:
        return DiagnosticStatus.ERROR, ("the frame thread or the tower's thread has ended: "
                                        f"{error or 'restart the node'}")
    recent_error = situation.error_seconds < RECENT_SECONDS
    if situation.counts.failing and recent_error and situation.wanted:
        return DiagnosticStatus.ERROR, f"frames fail: {error}"
    if situation.tower_trouble and situation.wanted:
        return DiagnosticStatus.ERROR, (f"the image tower fails: {situation.tower_trouble}; labels "
                                        "rest on older evidence, and then on none")
    if situation.busy_seconds > STUCK_SECONDS:
        return DiagnosticStatus.WARN, ("at one frame, one run of the image tower or one change of "
                                       f"settings for {situation.busy_seconds:.0f} s")
    if recent_error:
        return DiagnosticStatus.WARN, error
    if not situation.enabled:
        return DiagnosticStatus.OK, "switched off: images are skipped until ~/enable is called"
    if not situation.wanted:
        return DiagnosticStatus.OK, "idle: nobody listens to the outputs"
    why = f": {situation.silence}" if situation.silence else ""
    if not situation.counts.received:
        return DiagnosticStatus.WARN, f"no image has arrived on {situation.topic} yet{why}"
    if situation.silent_seconds > STALE_SECONDS:
        return DiagnosticStatus.WARN, (f"no image on {situation.topic} for "
                                       f"{situation.silent_seconds:.0f} s{why}")
    if situation.hopeless:
        return DiagnosticStatus.WARN, situation.hopeless
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
    now = now_loading()
    loading = {LOADING: now} if now else {}
    if engine is None:
        level = DiagnosticStatus.WARN if now else DiagnosticStatus.OK
        return [("", DiagnosticStatus(level=level, message=now or phase,
                                      values=_key_values({**_memory(), **loading})))]
    facts = {**_facts(engine), **loading}
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
        camera.outputs.wanted or not engine.options.lazy,
        hopeless(engine.quality.state) if engine.quality.state.hopeless else "",
        camera.topic, camera.silence, engine.options.enabled, engine.tower_trouble)


def _facts(engine: Engine) -> dict[str, str]:
    """Return what is the same for all cameras."""
    segmentor, vocabulary = engine.segmentor, engine.vocabularies.current
    quality = engine.quality.state
    return {"model": segmentor.name, "weights": str(segmentor.origin or "random"),
            "device": str(segmentor.device),
            "precision": segmentor.precision, "attention": engine.quality.pipeline.attention,
            "inference": engine.quality.pipeline.inference,
            "vocabulary version": str(vocabulary.version), "classes": str(len(vocabulary)),
            "fallbacks": ", ".join(engine.quality.pipeline.fallbacks),
            "budget ms": f"{quality.budget_ms:g}",
            "quality level": f"{quality.level} '{quality.name}'",
            "quality level changes": str(quality.changes),
            "tower run ms": f"{engine.tower_run_seconds * 1e3:.0f}",
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
    values["keyframes per second"] = f"{camera.log.keyframes_hz:.1f}"
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
