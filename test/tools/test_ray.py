"""`--ray` on a real cluster of two nodes: the bytes of one process, whatever happens to workers."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import bag_program
import pytest
from folder_data import write_folder_data
from recordings import cut, picture, raw, record

from sclip_seg_ros.cluster.work import Task
from sclip_seg_ros.tools.bag import pieces
from sclip_seg_ros.tools.benchmark.command import main as measure
from sclip_seg_ros.tools.pieces import open_engine

ray = pytest.importorskip("ray")

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
PIECES = ("--piece-seconds", 0.4, "--run-in", 0.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start two nodes with a core each, and return their address."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args=NODE)
    nodes.add_node(**NODE)
    # Nodes do not know the tests' modules.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def drives(tmp_path: Path) -> list[Path]:
    """Record three cameras that look at a square on the move, and break the last recording."""
    def scene(index: int) -> bytes:
        pixels = picture(0)
        pixels[10:30, 2 * index:2 * index + 20] = 255
        return raw(pixels, index)

    images = {index: scene(index) for index in range(16)}
    paths = [record(tmp_path / name, storage, 16, images=images)
             for name, storage in (("drive", "mcap"), ("walk", "sqlite3"), ("broken", "mcap"))]
    return [*paths[:2], cut(paths[2], 0.001)]


def segment(model: str, output: Path, drives: list[Path], *more: object) -> int:
    return bag_program.segment(model, output, "--device", "cpu", "--bag", *drives, *PIECES, *more)


def files(folder: Path) -> dict[str, bytes]:
    """Return all that lies below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


class Fragile(pieces.BagWorker):
    """Dies twice of one piece of the first recording, and once of one of the second."""

    deaths = {(0, 2): 2, (1, 1): 1}  # as of an out-of-memory killer

    def do(self, task: Task) -> tuple[int, str, object]:
        place = task.source, task.piece and task.piece.number
        if place in self.deaths:
            graves = self._arguments.output.with_suffix(f".{place[0]}")
            with open(graves, "a") as file:
                file.write("x")
            if graves.stat().st_size <= self.deaths[place]:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().do(task)


@pytest.fixture
def one(drives, tiny_model, tmp_path) -> Path:
    """Let one process do the same pieces."""
    assert segment(tiny_model, tmp_path / "one", drives) == 1
    return tmp_path / "one"


def test_two_nodes_make_the_bytes_of_one_process(cluster, drives, one, tiny_model, tmp_path,
                                                 capsys):
    assert segment(tiny_model, tmp_path / "two", drives, "--ray", cluster) == 1
    said = capsys.readouterr()
    assert "broken" in said.err
    assert files(one) == files(tmp_path / "two")
    rates = [line for line in said.out.splitlines() if ", process " in line]
    assert len(rates) == 2 and all(line.endswith("a second") for line in rates)


def test_a_piece_that_kills_two_workers_is_set_aside_and_done_later(
        cluster, drives, one, tiny_model, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "open_engine", lambda arguments, _: open_engine(
            arguments, partial(Fragile, arguments)))
        assert segment(tiny_model, tmp_path / "two", drives, "--ray", cluster) == 1
    said = capsys.readouterr()
    assert "two/drive' is not done: piece 2 set aside, because two workers died of it" in said.err
    # The other one was done when it was tried again.
    assert (tmp_path / "two.1").read_text() == "xx" and "walk: 16 images segmented" in said.out
    partial_work = tmp_path / "two/drive.partial"
    assert sorted(path.name for path in partial_work.iterdir()) == [
        f"frames.sqlite.{number:05}" for number in (0, 1, 3)]
    done = []
    real = pieces.BagWorker.do
    monkeypatch.setattr(pieces.BagWorker, "do",
                        lambda self, task: done.append(task) or real(self, task))
    assert segment(tiny_model, tmp_path / "two", drives, "--resume") == 1
    assert [task.piece and task.piece.number for task in done] == [2, None]
    assert files(one) == files(tmp_path / "two")


def test_without_ray_the_remedy_is_told(drives, tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "sclip_seg_ros.cluster.ray_pool", raising=False)
    assert segment(tiny_model, tmp_path / "out", drives, "--ray") == 2
    assert "--ray needs the Python module 'ray', which is not installed; `pip install ray` " \
        "brings it, and so does this package's extra 'cluster'" in capsys.readouterr().err


def test_an_address_without_a_cluster_is_told(drives, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "out", drives, "--ray", "127.0.0.1:1") == 2
    assert "there is no Ray cluster at '127.0.0.1:1'" in capsys.readouterr().err


def test_scores_over_workers_are_those_of_one_process(cluster, tiny_model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_folder_data(data, 20, ["floor", "table, desk", "cup"], cell=20)
    flags = ["--dataset", "folder", "--data-root", str(data), "--model", tiny_model, "--device",
             "cpu"]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert measure([*flags, "--output", str(one)]) == 0
    assert measure([*flags, "--output", str(two), "--ray", cluster]) == 0
    results = [json.loads(path.read_text()) for path in (one, two)]
    for key in ("dataset", "scores", "by_class", "settings", "model"):
        assert results[0][key] == results[1][key]
    names = [[json.loads(line).get("image") for line in
              path.with_suffix(".journal.jsonl").read_text().splitlines()] for path in (one, two)]
    assert names[0] == names[1] and len(names[0]) == 21
