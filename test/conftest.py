"""Shared set-up of the tests: threads, ROS isolation, models, folders of reference data."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import warm_libraries  # noqa: F401

# isort: split
import huggingface_hub
import open_clip
import pytest
import torch
from model_hub import TINY, ModelHub, register_tiny
from tiny_clip import write_tiny_clip

from sclip_seg_ros.common.entry import loading_libraries
from sclip_seg_ros.models import transfer
from sclip_seg_ros.models.names import tags_of_repositories
from sclip_seg_ros.segmentation.pipeline.upsampler_store import UpsamplerStore

ROOT = Path(__file__).resolve().parents[1]
OF_NODES = ROOT / "test/ros"

# Read when a participant starts: tests must neither see nor disturb a robot on the same network.
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Participants of tests, and of the processes that they start, find each other at once. Fast DDS 2
# has another name for the variable.
VENDOR = "FASTRTPS" if os.environ.get("ROS_DISTRO") in ("humble", "jazzy") else "FASTDDS"
os.environ.setdefault(f"{VENDOR}_DEFAULT_PROFILES_FILE",
                      str(ROOT / "test/data/quick_discovery.xml"))
# Waiting for a second thread costs more than the small tensors of tests do, the more so where
# several runs share a computer.
torch.set_num_threads(1)


WITHOUT_ROS = find_spec("rclpy") is None or find_spec("sclip_seg_ros.msg") is None
NO_ROS = "no ROS 2, or the messages are not built; run the tests with `make test`"
OF_ROS = re.compile(r"No module named '"
                    r"(rclpy|ament_index_python|\w+_interfaces|\w+_msgs|sclip_seg_ros\.msg)\b")


# Files that take more than half a minute, in the order they go: two that wait for nodes or networks
# beside two that compute. A file with few long tests goes early, because a worker is given its next
# file before the last tests of this one.
SLOW = (
    "test_ray_faults", "test_gpu_day", "test_three_hosts", "test_pipeline_combinations",
    "test_soak", "test_node_points", "test_timm_towers", "test_studio_page",
    "test_lifecycle_faults", "test_packaging", "test_ray", "test_embedded_model",
    "test_node_time", "test_train_embedded_model", "test_node_lifecycle", "test_train_loftup",
    "test_node_shutdown", "test_benchmark_command", "test_ros_doctor", "test_benchmark_ablation",
    "test_studio_node", "test_accelerator", "test_security", "test_node", "test_sclip",
    "test_node_more_faults")


# A thousand models ask for the tokens of the same few prompts.
open_clip.SimpleTokenizer.encode = cache(open_clip.SimpleTokenizer.encode)


def in_turn(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return tests file by file: slow files first, then files of nodes, which wait, and others.

    Files go to the workers in this order. Two that wait beside one another leave a core idle.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow, nodes, others = [], [], []
    for path in files:
        room = slow if path.stem in SLOW else nodes if OF_NODES in path.parents else others
        room.append(path)
    slow.sort(key=lambda path: SLOW.index(path.stem))
    places = [(number / max(1, len(room)), path) for room in (nodes, others)
              for number, path in enumerate(room)]
    ordered = [*slow, *(path for _, path in sorted(places, key=lambda place: place[0]))]
    return [item for path in ordered for item in files[path]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests, and mark them by where they stand and what their names say; see pyproject."""
    items[:] = in_turn(items)
    for item in items:
        if OF_NODES in item.path.parents:
            item.add_marker(pytest.mark.ros)
        if item.path.stem == "test_accelerator" or any(
                "CUDA" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skipif")):
            item.add_marker(pytest.mark.gpu)
        if "golden" in item.name:
            item.add_marker(pytest.mark.golden)
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator:
    """Look for no garbage meanwhile: tests last as long as the libraries that they import."""
    with loading_libraries():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator:
    """Skip files that need ROS where there is none, instead of calling them broken."""
    report = yield
    if WITHOUT_ROS and report.failed and OF_ROS.search(str(report.longrepr)):
        place = str(collector.path), None, f"Skipped: {NO_ROS}"
        report.outcome, report.longrepr = "skipped", place
    return report


@pytest.fixture(scope="session")
def ros() -> None:
    """Skip a test that needs ROS, itself or in the programs it starts, where there is none."""
    if WITHOUT_ROS:
        pytest.skip(NO_ROS)


def data_folder(variable: str, default: str) -> Path:
    """Return the folder named by an environment variable; skip the test when it is absent."""
    folder = Path(os.environ.get(variable, ROOT / default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set {variable} to the folder to run this test")
    return folder.resolve()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the model hubs off, at once and for sure."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name an architecture of a few thousand weights that open_clip knows, with tags."""
    register_tiny(tmp_path_factory.mktemp("architecture"))
    tags_of_repositories.cache_clear()
    return TINY


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        tiny_architecture: str) -> Iterator[ModelHub]:
    """Run a hub that this process asks, with an empty cache; pauses and patience are short."""
    (tmp_path / "repositories").mkdir()
    served = ModelHub(tmp_path / "repositories")
    cache = str(tmp_path / "cache")
    for name, value in (("ENDPOINT", served.url), ("HF_HUB_CACHE", cache),
                        ("HF_HUB_OFFLINE", False)):
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    for name, value in (("HF_ENDPOINT", served.url), ("HF_HUB_CACHE", cache)):
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", (0.01, 0.02))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def one_commit() -> Iterator[None]:
    """Hold the commit still: a run is rightly not continued on another, and developers commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sclip_seg_ros.tools.figures.provenance.commit", lambda: "one")
        yield


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Reference outputs of the published methods (sclip.npz, resclip.npz, loftup.npz)."""
    return data_folder("SCLIP_GOLDEN_DIR", "../shared/golden")


@pytest.fixture(scope="session")
def camvid_dir() -> Path:
    """A few frames of CamVid, images/ and labels/."""
    return data_folder("SCLIP_CAMVID_DIR", "../shared/data/camvid")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name a model of a few thousand weights; its labels are arbitrary, but always the same."""
    folder = tmp_path_factory.mktemp("tiny_model")
    write_tiny_clip(folder)
    return f"local-dir:{folder}"


@pytest.fixture
def slow_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold LoftUp's weights back until the event is set; its ``times`` counts the loads."""
    event, load = threading.Event(), UpsamplerStore.load

    def load_slowly(self, settings):
        event.times += 1
        assert event.wait(60.0), "the test never let the weights come"
        return load(self, settings)

    event.times = 0
    monkeypatch.setattr(UpsamplerStore, "load", load_slowly)
    yield event
    event.set()
