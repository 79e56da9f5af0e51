"""Threads go by what the process may use: affinity, quotas of control groups, the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sclip_seg_ros.common import cores as cores_of
from sclip_seg_ros.common.cores import (
    cpu_quota,
    obey_quota,
    set_threads,
    threads_chosen,
    usable_cores,
)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a function that lays out control groups: the process's lines, and files of quotas."""
    process, mounted = tmp_path / "cgroup", tmp_path / "fs"
    mounted.mkdir()

    def lay_out(lines: str, **files: str) -> None:
        process.write_text(lines)
        for name, text in files.items():
            file = mounted / name.replace("__", "/").replace("_of_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    monkeypatch.setattr(cores_of, "cpu_quota", lambda: cpu_quota(process, mounted))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    return lay_out


@pytest.mark.parametrize("lines, files, quota", [
    ("0::/\n", {}, None),
    ("0::/\n", {"cpu_of_max": "max 100000\n"}, None),
    ("0::/\n", {"cpu_of_max": "150000 100000\n"}, 1.5),
    ("0::/docker/7f\n", {"cpu_of_max": "50000 100000\n"}, 0.5),
    ("0::/robot.slice/node.service\n",
     {"robot.slice__cpu_of_max": "200000 100000\n",
      "robot.slice__node.service__cpu_of_max": "max 100000\n"}, 2.0),
    ("12:memory:/a\n4:cpu,cpuacct:/a\n0::/\n",
     {"cpu,cpuacct__a__cpu_of_cfs_quota_us": "300000\n",
      "cpu,cpuacct__a__cpu_of_cfs_period_us": "100000\n"}, 3.0),
    ("4:cpu:/a\n", {"cpu__a__cpu_of_cfs_quota_us": "-1\n",
                    "cpu__a__cpu_of_cfs_period_us": "100000\n"}, None),
    ("0::/\n", {"cpu_of_max": "nonsense\n"}, None),
], ids=["no file", "no limit", "one and a half", "of the container", "of the slice", "version 1",
        "version 1 without", "unreadable"])
def test_the_quota_is_that_of_the_group_and_those_around_it(groups, lines, files, quota):
    groups(lines, **files)
    assert cores_of.cpu_quota() == quota


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize("quota, affinity, usable", [
    ("max 100000", 8, 8), ("250000 100000", 8, 2), ("50000 100000", 8, 1), ("900000 100000", 4, 4)])
def test_usable_are_whole_cores_and_at_least_one(groups, monkeypatch, quota, affinity, usable):
    groups("0::/\n", cpu_of_max=quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)))
    assert usable_cores() == usable


def test_programs_compute_with_no_more_threads_than_a_quota_allows(groups, monkeypatch):
    groups("0::/\n", cpu_of_max="200000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "environ", {**os.environ})
    obey_quota()
    assert threads_chosen() == "OMP_NUM_THREADS=2"
    done = subprocess.run([sys.executable, "-c", "import torch; print(torch.get_num_threads())"],
                          env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "2"


@pytest.mark.parametrize("quota, chosen", [("max 100000", {}),
                                           ("200000 100000", {"MKL_NUM_THREADS": "5"})])
def test_the_environment_is_left_alone_without_a_quota_or_with_a_choice(
        groups, monkeypatch, quota, chosen):
    groups("0::/\n", cpu_of_max=quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "environ", {**os.environ, **chosen})
    before = dict(os.environ)
    obey_quota()
    assert dict(os.environ) == before


@pytest.mark.parametrize("value, chosen", [
    ("3", True), (" 4,2 ", True), ("", False), ("0", False), ("many", False), ("-2", False)])
def test_only_a_number_is_a_choice_of_threads(monkeypatch, value, chosen):
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_chosen() == (f"OMP_NUM_THREADS={value}" if chosen else "")


@pytest.fixture
def torch_threads():
    """Let torch have its threads back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("asked, chosen, cores, told", [
    (0, "", 4, "3 (of 4 usable cores)"), (0, "", 1, "1 (of 1 usable core)"),
    (0, "OMP_NUM_THREADS=1", 4, " (OMP_NUM_THREADS=1; the parameter threads overrules it)"),
    (2, "OMP_NUM_THREADS=1", 4, "2 (not OMP_NUM_THREADS=1: the parameter threads holds)"),
    (2, "", 4, "2"),
    (3, "", 2, "3, more than the 2 usable cores: they wait for each other")])
def test_how_many_threads_and_who_chose_them_is_told(monkeypatch, torch_threads, asked, chosen,
                                                     cores, told):
    monkeypatch.setattr(cores_of, "threads_chosen", lambda: chosen)
    monkeypatch.setattr(cores_of, "usable_cores", lambda: cores)
    assert set_threads(asked).endswith(told)
