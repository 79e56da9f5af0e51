"""Small architectures that open_clip knows by name."""

from __future__ import annotations

import json

import open_clip
import pytest
from tiny_clip import ARCHITECTURE, NO_TWIN, PLAIN, QUICK, initial_weights, write_config


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Register small architectures under names, and return weights that fit them."""
    folder = tmp_path_factory.mktemp("architectures")
    for name, extra in ((PLAIN, {}), (QUICK, {"quick_gelu": True}), (NO_TWIN, {})):
        (folder / f"{name}.json").write_text(json.dumps({**ARCHITECTURE, **extra}))
    open_clip.add_model_config(folder)
    write_config(folder)
    return initial_weights(folder)
