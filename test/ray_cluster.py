"""A real Ray cluster of two nodes on this computer, and recordings for it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import bag_program
import pytest
from recordings import picture, raw
from warm_workers import worker_program

from sclip_seg_ros.cluster.work import Engine, OneProcess, Worker

# Without the programs that no run needs: each takes half a second to start.
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False,
        "include_log_monitor": False, "no_monitor": True}
PIECES = ("--piece-seconds", 0.4, "--run-in", 0.2)


@contextmanager
def two_nodes(*modules: ModuleType, count: int = 2, **more: str) -> Iterator[Any]:
    """Start two nodes with a core each; ``address`` of what is yielded is theirs.

    Args:
        modules: whose classes workers shall have; nodes do not know the tests' modules.
        count: of nodes, where it is another.
        more: parameters of the nodes.
    """
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # 30 are few on a busy computer
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args=NODE | more)
    try:
        for _ in range(count - 1):
            nodes.add_node(**NODE, **more)
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        yield nodes
    finally:
        nodes.shutdown()


def cluster_fixture(module: str, count: int = 2) -> Any:
    """Return the fixture ``cluster`` of a test file: the address of nodes with a core each.

    Their workers are forked; seconds sooner than those that Ray starts, whom other nodes have.
    """
    @pytest.fixture(scope="module", name="cluster")
    def cluster() -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder, worker_program(Path(folder)) as script, \
                two_nodes(sys.modules[module], count=count, worker_path=str(script)) as nodes:
            yield nodes.address
    return cluster


def one_process_fixture(copies: ModuleType) -> Any:
    """Return a fixture by which this process does what workers would, for the tests' time.

    Args:
        copies: module that opens the engine.
    """
    @contextmanager
    def engine(arguments: argparse.Namespace, worker: Callable[[], Worker]) -> Iterator[Engine]:
        yield OneProcess(worker())

    @pytest.fixture(name="one_process")
    def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(copies, "open_engine", engine)
    return one_process


def scenes(frames: int) -> dict[int, bytes]:
    """Return images of a square on the move, so that frames help one another."""
    def scene(index: int) -> bytes:
        pixels = picture(0)
        pixels[10:30, 2 * index:2 * index + 20] = 255
        return raw(pixels, index)

    return {index: scene(index) for index in range(frames)}


def segment(model: str, output: Path, drives: list[Path], *more: object) -> int:
    """Run sclip-bag in pieces; return its exit code."""
    return bag_program.segment(model, output, "--device", "cpu", "--bag", *drives, *PIECES, *more)


def files(folder: Path) -> dict[str, bytes]:
    """Return all that lies below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}
