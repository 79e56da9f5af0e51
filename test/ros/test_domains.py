"""Tests of nodes keep to ROS domains of their own, whatever else runs on the computer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ros_harness
from ros_harness import domain_for

HARNESS = Path(ros_harness.__file__).parent


def domains_of_a_worker(run: str, *names: str) -> subprocess.Popen:
    """Start a process that prints names' domains, and keeps them until its input ends."""
    script = ("import sys; from ros_harness import domain_for; "
              "print(*map(domain_for, sys.argv[1:]), flush=True); sys.stdin.read()")
    environment = {**os.environ, "PYTEST_XDIST_TESTRUNUID": run,
                   "PYTHONPATH": f"{HARNESS}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen([sys.executable, "-c", script, *names], env=environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_workers_of_one_run_give_a_file_one_domain_and_runs_share_none():
    """However close together they begin."""
    with domains_of_a_worker("a run", "one", "two") as first, \
            domains_of_a_worker("a run", "one", "two", "three") as second, \
            domains_of_a_worker("another run", "one", "two") as third:
        workers = first, second, third
        mine, beside, others = (worker.stdout.readline().split() for worker in workers)
        for worker in workers:
            worker.stdin.close()
    assert len({*beside}) == 3 and mine == beside[:2]
    assert len({*others}) == 2 and not {*others} & {*beside}


def test_where_no_domain_is_left_none_is_shared(monkeypatch):
    own = domain_for("a name")
    monkeypatch.setattr(ros_harness, "DOMAINS", range(own, own + 1))
    assert domain_for("a name") == own
    with pytest.raises(RuntimeError, match="are all in use"):
        domain_for("another name")
