"""What ends a run over Ray: a head that is lost, no room, no memory; always with a sentence."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bag_program import flags
from forked_programs import ForkedProgram, can_fork
from ray_cluster import PIECES, cluster_fixture, files, scenes, segment, two_nodes
from recordings import record

from sclip_seg_ros.cluster.work import Task
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools.bag import pieces
from sclip_seg_ros.tools.pieces.pieces import open_engine

pytest.importorskip("ray")

LIMIT = 200.0  # seconds, of a slow and busy computer
LARGE = 1 << 28  # bytes of a model
GATED = "import runpy; runpy.run_module('gated_bag', run_name='__main__')"
IMPATIENT = ("import sys; from sclip_seg_ros.cluster import ray_pool; ray_pool._RESTARTS = 1; "
             "from sclip_seg_ros.tools.bag.command import main; sys.exit(main())")


cluster = cluster_fixture(__name__)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Record a camera that looks at a square on the move: four pieces."""
    return record(tmp_path / "drive", "mcap", 16, images=scenes(16))


def wait_for(paths: list[Path], process: ForkedProgram) -> None:
    """Wait for files that a process is to make."""
    end = time.monotonic() + LIMIT
    while not all(path.exists() for path in paths):
        assert process.poll() is None, f"it ended with {process.poll()} before its first pieces"
        assert time.monotonic() < end, f"no {paths} within {LIMIT:.0f} s"
        time.sleep(0.1)


@pytest.mark.parametrize("kinds, way, said", [
    (("gcs_server", "raylet"), signal.SIGKILL, "does not answer any more"),
    # A machine that is frozen still accepts connections.
    (("gcs_server", "raylet"), signal.SIGSTOP, "does not answer any more"),
    # The head answers, but nobody beside the command can reach a worker.
    (("raylet",), signal.SIGKILL, "Ray's node on this machine is dead"),
], ids=["killed", "frozen", "only the raylet beside the command killed"])
def test_a_machine_that_is_lost_ends_the_run_and_the_same_command_goes_on(
        kinds, way, said, drive, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "one", [drive]) == 0
    kept = [tmp_path / f"two/drive.partial/frames.sqlite.{number:05}" for number in (0, 1)]
    with two_nodes(count=1) as lost:
        assert can_fork()
        process = ForkedProgram(GATED, ["sclip-bag", *flags(
            tiny_model, tmp_path / "two", "--device", "cpu", "--bag", drive, *PIECES, "--ray",
            lost.address)], tmp_path / "log")
        lost_ones = [found.process.pid for kind in kinds
                     for found in lost.head_node.all_processes[kind]]
        try:
            wait_for(kept, process)
            for number in lost_ones:
                os.kill(number, way)
            code, told = process.wait(LIMIT), (tmp_path / "log").read_text()
        finally:
            process.kill()
            for number in lost_ones if way == signal.SIGSTOP else ():
                os.kill(number, signal.SIGKILL)
    assert code == 1, told
    assert said in told and re.search(r"two/drive' is not done: .*; the same command does what is "
                                      "missing of its 4 pieces", told), told
    assert segment(tiny_model, tmp_path / "two", [drive], "--resume") == 0
    assert "16 images segmented, 8 of them in an earlier run" in capsys.readouterr().out
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_head_that_is_frozen_from_the_beginning_is_told(drive, tiny_model, tmp_path, monkeypatch,
                                                          capsys):
    monkeypatch.setattr("sclip_seg_ros.cluster.ray_pool._REACH", 3.0)
    with two_nodes(count=1) as frozen:
        address = frozen.address
        numbers = [found.process.pid for kind in ("gcs_server", "raylet")
                   for found in frozen.head_node.all_processes[kind]]
        try:
            for number in numbers:
                os.kill(number, signal.SIGSTOP)
            assert segment(tiny_model, tmp_path / "out", [drive], "--ray", address) == 2
        finally:
            for number in numbers:
                os.kill(number, signal.SIGKILL)
    assert f"the head of the Ray cluster at '{address}' takes connections, and does not " \
        "answer within 3 seconds; it is frozen or hangs: wake it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more, said", [
    (("--ray-workers", 3), "the cluster has room for 2 of 3 workers (2 free cores and 0 free GPUs, "
     "and a worker wants 1 and 0 on one machine); give --ray-workers 2"),
    # There are two free cores, on two machines.
    (("--ray-cpus", 2), "and a worker wants 2 and 0 on one machine; give other --ray-cpus"),
    (("--ray-gpus", 1), "and a worker wants 1 and 1 on one machine; give other --ray-cpus"),
])
def test_workers_without_room_are_refused(more, said, cluster, drive, tiny_model, tmp_path,
                                          monkeypatch, capsys):
    monkeypatch.setattr("sclip_seg_ros.cluster.ray_pool._REACH", 3.0)
    assert segment(tiny_model, tmp_path / "out", [drive], "--ray", cluster, *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_machine_without_memory_is_told(drive, tiny_model, tmp_path):
    """Ray's memory monitor kills every worker at once, as it does where a model does not fit."""
    assert can_fork()
    process = ForkedProgram(IMPATIENT, ["sclip-bag", *flags(
        tiny_model, tmp_path / "out", "--device", "cpu", "--bag", drive, *PIECES, "--ray")],
        tmp_path / "log", {"RAY_memory_usage_threshold": "0.01",
                           "RAY_memory_monitor_refresh_ms": "100"})
    try:
        code, told = process.wait(LIMIT), (tmp_path / "log").read_text()
    finally:
        process.kill()
    assert code == 2, told
    assert re.search(r"a worker cannot begin \((its process was killed|[12] worker\(s\) were "
                     "killed due to the node running low on memory)", told), told


class Cramped(pieces.BagWorker):
    """Dies of piece 2, and finds no memory for its model where that piece is tried again.

    Its model is as large as a real one; so much is taken beside the tests' own.
    """

    @property
    def _model(self) -> tuple[SCLIPSegmentor, Vocabulary]:
        if "_weights" not in vars(self):
            grave = self._arguments.output.with_suffix(".grave")
            if grave.exists() and grave.read_text() == "killed":
                grave.write_text("killed; no memory")
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                room = pages * resource.getpagesize() + LARGE // 2
                resource.setrlimit(resource.RLIMIT_AS, (room, room))
            self._weights = np.ones(LARGE, np.uint8)
        return super()._model

    def do(self, task: Task) -> tuple[int, str, object]:
        grave = self._arguments.output.with_suffix(".grave")
        if task.piece and task.piece.number == 2 and not grave.exists():
            grave.write_text("killed")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do(task)


def test_a_worker_without_memory_for_its_model_costs_its_piece_alone(
        cluster, drive, tiny_model, tmp_path, monkeypatch, capsys):
    """As on a machine that other programs have filled since the run began."""
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "open_engine", lambda arguments, _: open_engine(
            arguments, partial(Cramped, arguments)))
        assert segment(tiny_model, tmp_path / "two", [drive], "--ray", cluster, "--ray-workers",
                       1) == 1
    assert (tmp_path / "two.grave").read_text() == "killed; no memory"
    assert "two/drive' is not done: piece 2 set aside, because two workers died of it" \
        in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "two/drive.partial").iterdir()) == [
        f"frames.sqlite.{number:05}" for number in (0, 1, 3)]
    assert segment(tiny_model, tmp_path / "two", [drive], "--resume") == 0
    assert "16 images segmented, 12 of them in an earlier run" in capsys.readouterr().out
