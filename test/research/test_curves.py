"""The log of a training: each step once, however often the run was stopped."""

from __future__ import annotations

import csv
from pathlib import Path

from sclip_research.training.curves import Curves


def steps_of(folder: Path) -> list[int]:
    with open(folder / "log.csv", newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_a_run_that_goes_on_from_a_checkpoint_logs_no_step_twice(tmp_path):
    curves = Curves(tmp_path, 0)
    for step in (0, 20, 40, 60):
        curves.add(step, {"loss": 1.0 / (step + 1)})
    resumed = Curves(tmp_path, 40)  # stopped at 61, and its checkpoint is of 40 steps
    resumed.add(40, {"loss": 0.5})
    assert steps_of(tmp_path) == [0, 20, 40]


def test_a_new_run_begins_a_new_log(tmp_path):
    Curves(tmp_path, 0).add(0, {"loss": 1.0})
    Curves(tmp_path, 0).add(20, {"loss": 1.0})
    assert steps_of(tmp_path) == [20]
