"""The benchmark of what the node adds runs on the node's present parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ros_harness import domain_for

ROOT = Path(__file__).resolve().parents[2]


def test_every_case_is_measured_stage_by_stage():
    run = subprocess.run([sys.executable, "-m", "benchmarks.node_overhead", "--frames", "2",
                          "--size", "48", "64"], cwd=ROOT, timeout=240,
                         env={**os.environ, "ROS_DOMAIN_ID": str(domain_for(__file__))},
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    cases = re.findall(r"64x48, 20 classes, (.+), core (awake|idle) between frames:", run.stdout)
    assert [(topics.endswith("overlay"), core) for topics, core in cases] \
        == [(False, "awake"), (False, "idle"), (True, "awake"), (True, "idle")]
    stages = re.findall(r"^  (\w+) +([\d.]+) ms median", run.stdout, re.MULTILINE)
    assert [name for name, _ in stages] \
        == 2 * ["convert", "publish", "total"] + 2 * ["convert", "publish", "overlay", "total"]
    assert all(float(value) > 0 for name, value in stages if name == "total")
