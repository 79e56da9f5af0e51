"""Time and memory of the pipeline and of its plain form, turn by turn on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.clocks import clock_of, device_name, timed
from benchmarks.configurations import Configuration, Model, image
from benchmarks.matrix_rate import tower_operations
from benchmarks.reference import Reference
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.backbones.backbone import Place
from sclip_seg_ros.tools.benchmark.memory import peak_during


def compare(configuration: Configuration, model: Model, rounds: int,
            rates: dict[str, float]) -> dict[str, Any]:
    """Measure one configuration: the reference and the pipeline in turn.

    Args:
        configuration: what to run.
        model: it, in both forms.
        rounds: turns each; medians count.
        rates: measured matrix rate of the device by precision, operations a second.
    """
    fast = model.plain if configuration.precision == "fp32" else model.fast
    device = fast.device
    clock, clock_name = clock_of(device)
    picture, words = image(*configuration.size), model.words(configuration.classes)
    fast.settings = configuration.settings(fast.precision)
    fast.clock = clock
    plain = Reference(model.plain._model.clip, device,
                      model.plain.decide(configuration.settings("fp32")),
                      model.plain.logit_scale, clock)
    fast.warm_up([configuration.size], words)
    frames, references = [], []
    for _ in range(rounds):
        (expected, _), milliseconds = timed(lambda: plain(picture, words), device, clock)
        references.append(milliseconds)
        result, milliseconds = timed(lambda: fast.predict_dense(picture, words), device, clock)
        frames.append((milliseconds, result.stage_ms))
    ratios = [slow / frame for slow, (frame, _) in zip(references, frames, strict=True)]
    total = median(frame for frame, _ in frames)
    stages = {stage: round(median(times[stage] for _, times in frames), 3)
              for stage in frames[0][1]}
    operations = tower_operations(fast, configuration.size)
    return {
        "device": device_name(device), "model": fast.name, "precision": fast.precision,
        "size": list(configuration.size), "classes": configuration.classes,
        "inference": configuration.inference, "densecrf": configuration.densecrf,
        "threads": torch.get_num_threads(), "clock": clock_name, "rounds": rounds,
        "stage_ms": stages, "total_ms": round(total, 3), "fps": round(1e3 / total, 2),
        "peak_mb": frame_peak(fast, lambda: fast.predict_dense(picture, words)),
        "reference_total_ms": round(median(references), 3),
        "reference_peak_mb": peak(lambda: plain(picture, words), device),
        "ratio": round(median(ratios), 3), "ratio_lowest": round(min(ratios), 3),
        "ratio_highest": round(max(ratios), 3),
        "label_agreement": round(float(np.mean(result.labels == expected)), 5),
        "matrix_rate_share": round(operations / stages["encode"] * 1e3
                                   / rates[fast.precision], 3),
    }


def own(segmentor: SCLIPSegmentor, pictures: Sequence[np.ndarray], words: Vocabulary,
        rounds: int) -> dict[str, float | None]:
    """Return the pipeline's own time and memory for pictures labelled together."""
    clock, _ = clock_of(segmentor.device)

    def run():
        return segmentor.predict_batch(pictures, words)

    segmentor.warm_up([picture.shape[:2] for picture in pictures], words)
    times = [timed(run, segmentor.device, clock)[1] for _ in range(rounds)]
    return {"total_ms": round(median(times), 3), "peak_mb": frame_peak(segmentor, run)}


def frame_peak(segmentor: SCLIPSegmentor, call: Callable[[], object]) -> float | None:
    """Return the MiB a frame takes at most; a CUDA graph would hold them before it, too."""
    segmentor.backbone.place = Place()
    return peak(call, segmentor.device)


def peak(call: Callable[[], object], device: torch.device) -> float | None:
    """Return the MiB a call takes at most beyond what was held before it."""
    before, during = peak_during(lambda: None, device), peak_during(call, device)
    return None if before is None or during is None else round(during - before, 1)
