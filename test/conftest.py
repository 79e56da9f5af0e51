"""Shared set-up of the tests: threads, ROS isolation, and folders of reference data."""

from __future__ import annotations

import os
from pathlib import Path

import huggingface_hub
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# Read when a participant starts: tests must neither see nor disturb a robot on the same network.
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Waiting for a second thread costs more than the small tensors of tests do, the more so where
# several runs share a computer.
torch.set_num_threads(1)


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
def golden_dir() -> Path:
    """Reference outputs of the published methods (sclip.npz, resclip.npz, loftup.npz)."""
    return data_folder("SCLIP_GOLDEN_DIR", "../shared/golden")


@pytest.fixture(scope="session")
def camvid_dir() -> Path:
    """A few frames of CamVid, images/ and labels/."""
    return data_folder("SCLIP_CAMVID_DIR", "../shared/data/camvid")
