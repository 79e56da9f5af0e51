"""Check what the demo recorded, measure it, and make pictures of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np

from examples.demo.footage import Footage
from sclip_seg_ros.temporal.consistency import Consistency, measure_following
from sclip_seg_ros.tools.figures.metrics import IouMeter

SHEET_WIDTH = 400   # pixels, one picture of the contact sheet
ROW_TITLES = ("camera", "labels", "confidence")
JITTER_MS = 20      # by which ages of one keyframe may differ
CONFIDENCE_MAP = cv2.COLORMAP_VIRIDIS


def write_report(footage: Footage, output: Path) -> dict:
    """Write summary.json, overlays, a contact sheet and an animation; return the summary."""
    work = output / "work"
    recording = json.loads((work / "recording.json").read_text())
    stamps = json.loads((work / "stamps.json").read_text())
    labels, confidences, overlays = (np.load(work / f"{name}.npz")
                                     for name in ("labels", "confidences", "overlays"))
    frame_of = {str(stamp): index for index, stamp in enumerate(stamps)}
    versions = {stamp: version for stamp, version in recording["versions"].items()
                if stamp in labels.files}
    known = {stamp: version for stamp, version in versions.items() if stamp in frame_of}
    names = recording["vocabularies"]
    all_stamps = [str(stamp) for kind in recording["stamps"].values() for stamp in kind]
    summary = {
        "model": recording["model"],
        "device": recording["device"],
        "frames_published": len(stamps),
        "frames_received": recording["frames_received"],
        "frames_labelled": len(labels.files),
        "frames_dropped": recording["frames_dropped"],
        "frames_lost": len(stamps) - recording["frames_received"],
        # Labels replaced by newer ones before the consumer, which writes them down, took them.
        "frames_unheard": recording["frames_received"] - recording["frames_dropped"]
        - len(labels.files),
        "latency_ms": _percentiles(recording["total_ms"].values()),
        "capture_to_label_ms": _percentiles(recording["delays_ms"].values()),
        "stage_ms": _mean_stages(recording["stage_ms"].values()),
        "keyframes": _keyframes(recording["evidence_age_ms"]),
        "evidence_age_ms": _percentiles(recording["evidence_age_ms"].values()),
        "flips": _flips(footage, labels, known, frame_of),
        "vocabulary_versions": sorted(set(versions.values())),
        "vocabularies": names,
        "vocabulary_changed": recording["change_accepted"] is True
        and len(set(versions.values())) == 2,
        "stamps_matched": bool(labels.files) and all(stamp in frame_of for stamp in all_stamps),
        "ids_within_vocabulary": _ids_within(labels, versions, names),
    }
    if footage.masks is not None:
        summary.update(_quality(footage, labels, known, names, frame_of))
    shown = _choose(known, overlays.files)
    summary["images"] = _pictures(output, footage, overlays, confidences, frame_of, shown)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    _print(summary, output)
    return summary


def _percentiles(values) -> dict[str, float | None]:
    values = list(values)
    return {f"p{q}": round(float(np.percentile(values, q)), 1) if values else None
            for q in (50, 95, 99)}


def _mean_stages(frames) -> dict[str, float]:
    frames = list(frames)
    stages = {stage: None for frame in frames for stage in frame}
    return {stage: round(float(np.mean([f.get(stage, 0.0) for f in frames])), 1)
            for stage in stages}


def _ids_within(labels, versions: dict[str, int], names: dict[str, list[str]]) -> bool:
    """Tell whether no label image carries an id that its vocabulary's version lacks."""
    return all(np.all((labels[stamp] < len(names[str(version)])) | (labels[stamp] == 255))
               for stamp, version in versions.items())


def _quality(footage: Footage, labels, versions, names, frame_of) -> dict[str, float]:
    """Measure mIoU against the rendered masks, of all frames and of each vocabulary."""
    meters: dict[int, IouMeter] = {}
    for stamp, version in versions.items():
        words = names[str(version)]
        truth = footage.truth(frame_of[stamp], words)
        meters.setdefault(version, IouMeter()).add(labels[stamp], truth, words)
    by_version = {str(version): round(meter.mean(), 4) for version, meter in meters.items()}
    weights = [sum(v == version for v in versions.values()) for version in meters]
    miou = np.average([meter.mean() for meter in meters.values()], weights=weights) \
        if meters else 0.0
    return {"miou": round(float(miou), 4), "miou_by_version": by_version}


def _keyframes(ages_ms: dict[str, float]) -> int:
    """Count the frames whose labels rest on newer scores than those of the frame before."""
    sources = [int(stamp) / 1e6 - age for stamp, age in sorted(ages_ms.items(), key=_stamp_first)]
    return sum(later > earlier + JITTER_MS
               for earlier, later in itertools.pairwise([-float("inf"), *sources]))


def _stamp_first(entry: tuple[str, float]) -> int:
    return int(entry[0])


def _flips(footage: Footage, labels, versions: dict[str, int],
           frame_of: dict[str, int]) -> float | None:
    """Return the percentage of pixels whose label is found nowhere near where they moved to.

    Where the truth is known, only pixels whose true class stays are counted; the motion is measured
    (see :func:`measure_following`).
    """
    consistency = Consistency(255)
    stamps = sorted(versions, key=int)
    for stamp, after in itertools.pairwise(stamps):
        here, there = frame_of[stamp], frame_of[after]
        if there != here + 1 or versions[stamp] != versions[after]:
            continue
        following = measure_following(footage.frames[here], footage.frames[there])
        truths = () if footage.masks is None else (footage.masks[here], footage.masks[there])
        consistency.add(labels[stamp], labels[after], following, *truths)
    return None if consistency.flips is None else round(100 * consistency.flips, 2)


def _choose(versions: dict[str, int], overlays: list[str]) -> dict[str, str]:
    """Pick what to show, two frames before the change and two after it: name to stamp."""
    shown = {}
    for when, version in zip(("before", "after"), sorted(set(versions.values())), strict=False):
        own = sorted((stamp for stamp in overlays if versions.get(stamp) == version), key=int)
        for number, place in ((1, len(own) // 4), (2, 3 * len(own) // 4)) if own else ():
            shown[f"overlay_{when}_{number}.png"] = own[place]
    return shown


def _pictures(output: Path, footage: Footage, overlays, confidences, frame_of,
              shown: dict[str, str]) -> list[str]:
    """Write the overlays shown, and a sheet of them with camera and confidence; return names."""
    columns = []
    for name, stamp in shown.items():
        _write(output / name, overlays[stamp])
        confidence = cv2.applyColorMap(confidences[stamp], CONFIDENCE_MAP)[..., ::-1] \
            if stamp in confidences.files else np.zeros_like(overlays[stamp])
        rows = (footage.frames[frame_of[stamp]], overlays[stamp], confidence)
        columns.append(np.vstack([_fit(picture, "" if columns else title)
                                  for picture, title in zip(rows, ROW_TITLES, strict=True)]))
    if not columns:
        return []
    _write(output / "contact_sheet.png", np.hstack(columns))
    return [*shown, "contact_sheet.png"]


def _fit(picture: np.ndarray, title: str) -> np.ndarray:
    height = round(picture.shape[0] * SHEET_WIDTH / picture.shape[1])
    small = cv2.resize(picture, (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)
    if title:
        width = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0]
        small[height - 28:, :width + 16] //= 3  # readable on anything
        cv2.putText(small, title, (8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.6,
                    (255, 255, 255), 1, cv2.LINE_AA)
    return small


def _write(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))


def _print(summary: dict, output: Path) -> None:
    latency = summary["latency_ms"]
    print(f"demo: {summary['frames_labelled']} of {summary['frames_published']} frames labelled, "
          f"{summary['frames_dropped']} dropped, {summary['frames_lost']} lost on the way, "
          f"{summary['frames_unheard']} not heard by the consumer; "
          f"latency p50 {latency['p50']} ms, p95 {latency['p95']} ms; "
          f"mIoU {summary.get('miou', 'n/a')}, flips {summary['flips']} %; "
          f"{summary['keyframes']} keyframes, age of evidence p50 "
          f"{summary['evidence_age_ms']['p50']} ms; "
          f"vocabulary versions {summary['vocabulary_versions']}")
    print(f"demo: pictures and summary.json are in {output}/")
