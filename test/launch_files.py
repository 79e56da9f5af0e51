"""The launch files as modules, and what they would start; skips without a ROS installation."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "launch"


def launch_file(name: str) -> ModuleType:
    """Return a launch file as a module; skip without launch_ros, which only ROS from apt has."""
    # Not `launch`: the folder of that name would pass for it.
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), FOLDER / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch_file_fixture(name: str) -> Any:
    """Return the fixture ``launch_file`` of a test file."""
    @pytest.fixture(scope="module", name="launch_file")
    def loaded() -> ModuleType:
        return launch_file(name)
    return loaded


def context_of(module: ModuleType, before: Sequence[Any] = (), **given: str) -> Any:
    """Return a context in which a launch file's arguments have their defaults, or are given.

    Args:
        module: the launch file.
        before: actions of a launch file around it.
        given: arguments.
    """
    from launch import LaunchContext

    context = LaunchContext()
    for action in [*before, *module.generate_launch_description().get_launch_arguments()]:
        action.execute(context)
    context.launch_configurations.update(given)
    return context
