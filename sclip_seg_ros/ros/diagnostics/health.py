"""The node's health as diagnostics: a status a camera, with what its verdict rests on."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sclip_seg_ros.models.loading import now_loading
from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.diagnostics.verdict import Situation, Verdict, judge
from sclip_seg_ros.ros.engine import Engine
from sclip_seg_ros.ros.frames.reporter import hopeless


def health_of(engine: Engine | None,
              at_rest: Verdict | None) -> list[tuple[str, DiagnosticStatus]]:
    """Return a status for each camera, with the camera's name; one for a node without any.

    Args:
        engine: of the node, None while it has none.
        at_rest: why the node works on no frames, None while it does.
    """
    now = now_loading()
    loading = {"loading": now} if now else {}
    if engine is None:
        # After an error the engine goes before the node is at rest.
        verdict = Verdict.LOADING if now else at_rest or Verdict.UNCONFIGURED
        return [("", _status(verdict, now or verdict.word, {**_memory(), **loading}))]
    facts = {**_facts(engine), **loading}
    statuses = []
    for camera in engine.cameras:
        verdict, sentence = (at_rest, at_rest.word) if at_rest \
            else judge(_situation(engine, camera))
        statuses.append((camera.name, _status(verdict, sentence, {**facts, **_values(camera)})))
    return statuses


def _status(verdict: Verdict, sentence: str, values: dict[str, str]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=verdict.level, message=sentence, hardware_id=values.get("device", ""),
        values=[KeyValue(key=key, value=value)
                for key, value in {"verdict": verdict.word, **values}.items()])


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


def _resident_bytes() -> int:
    """Return the process's resident memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
