"""Latency and losses of each situation, from what camera and consumer have noted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sclip_seg_ros.common.text import markdown_table


@dataclass(frozen=True)
class Situation:
    """A stretch of time with one camera and one kind of network.

    Attributes:
        middleware: how it sends, see :data:`hosts.MIDDLEWARES`.
        transport: "raw" or "jpeg".
        reliability: that the camera offers.
        loss: of Ethernet frames, per cent.
        delay: milliseconds each way.
        begin, end: nanoseconds of the clock that stamps the images.
        carried_bytes: by the network in that time.
        refused: Ethernet frames that found no room, which is a fault of the measurement.
    """

    middleware: str
    transport: str
    reliability: str
    loss: float
    delay: float
    begin: int
    end: int
    carried_bytes: int
    refused: int


def measure(situations: Sequence[Situation], folder: Path) -> list[dict[str, Any]]:
    """Return a row for each situation."""
    heard = json.loads((folder / "consumer.json").read_text())
    rows = []
    for situation in situations:
        camera = json.loads((folder / f"camera_{situation.transport}_"
                                      f"{situation.reliability}.json").read_text())
        rows.append(_row(situation, camera, heard))
    return rows


def _row(situation: Situation, camera: dict, heard: dict) -> dict[str, Any]:
    def within(stamp: int) -> bool:
        return situation.begin <= stamp < situation.end

    sent = [stamp for stamp in camera["stamps"] if within(stamp)]
    labels = {stamp: arrival for stamp, arrival in heard["labels"] if within(stamp)}
    statuses = [status for status in heard["statuses"] if within(status[0])]
    in_node = {stamp: total for stamp, total, *_ in statuses}
    latencies = [(arrival - stamp) / 1e6 for stamp, arrival in labels.items()]
    network = [(arrival - stamp) / 1e6 - in_node[stamp] for stamp, arrival in labels.items()
               if stamp in in_node]
    counts = [status[2:] for status in statuses]
    return {
        "middleware": situation.middleware, "transport": situation.transport,
        "reliability": situation.reliability,
        "loss_percent": situation.loss, "delay_ms": situation.delay,
        "sent": len(sent), "worked_on": len(in_node), "labels_arrived": len(labels),
        "dropped_for_newer": counts[-1][1] - counts[0][1] if counts else 0,
        "latency_ms": _percentiles(latencies), "network_ms": _percentiles(network),
        "megabytes_carried": round(situation.carried_bytes / 1e6, 1),
        "message_bytes": camera["message_bytes"], "frames_refused": situation.refused}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    head = ("middleware", "camera", "loss", "delay", "sent", "worked on", "labels arrived",
            "latency p50 / p95", "of it network p50 / p95", "carried")
    return "\n".join(markdown_table(head, (
        (row["middleware"], f"{row['transport']}, {row['reliability'].replace('_', ' ')}",
         f"{row['loss_percent']:g} %", f"{row['delay_ms']:g} ms", row["sent"], row["worked_on"],
         row["labels_arrived"], _text(row["latency_ms"]), _text(row["network_ms"]),
         f"{row['megabytes_carried']:g} MB") for row in rows)))


def _text(percentiles: dict[str, float] | None) -> str:
    return f"{percentiles['p50']:.0f} / {percentiles['p95']:.0f} ms" if percentiles else "-"


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95)} \
        if values else None
