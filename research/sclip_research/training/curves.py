"""Losses over time, as CSV and, if wanted, for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


class Curves:
    """One row every few steps: the means since the last one."""

    def __init__(self, folder: Path, start: int, tensorboard: bool = False) -> None:
        """Open ``log.csv`` in a folder; rows from step ``start`` on are dropped.

        Raises:
            ValueError: TensorBoard is asked for and not installed.
        """
        self._path = folder / "log.csv"
        self._rows: list[dict[str, Any]] = []
        if start and self._path.exists():
            with open(self._path, newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) < start]
        self._writer = _summary_writer(folder) if tensorboard else None

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write a row, after a step counted from 0."""
        shown = {name: f"{value:.6g}" for name, value in values.items()}
        self._rows.append({"step": step, **shown})
        with open(self._path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self._rows[-1]))
            writer.writeheader()
            writer.writerows(self._rows)
        for name, value in values.items():
            if self._writer is not None:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self._writer is not None:
            self._writer.close()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("--tensorboard needs the package 'tensorboard'; install it, or leave the "
                         "flag out: log.csv holds the same curves") from error
    return SummaryWriter(str(folder / "tensorboard"))
