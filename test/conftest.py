"""Shared set-up of the tests: threads, ROS isolation, models, folders of reference data."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import pytest
import torch
from tiny_clip import write_tiny_clip

from sclip_seg_ros.segmentation import SCLIPSegmentor

ROOT = Path(__file__).resolve().parents[1]

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


@pytest.fixture(scope="module")
def one_commit() -> Iterator[None]:
    """Hold the commit still: a run is rightly not continued on another, and developers commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sclip_seg_ros.tools.provenance.commit", lambda: "one")
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
    event, load = threading.Event(), SCLIPSegmentor.load_weights

    def load_slowly(self, settings):
        event.times += 1
        assert event.wait(60.0), "the test never let the weights come"
        return load(self, settings)

    event.times = 0
    monkeypatch.setattr(SCLIPSegmentor, "load_weights", load_slowly)
    yield event
    event.set()
