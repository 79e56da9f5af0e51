"""A room imports only from the floors below it, its parts too, and rclpy lives in ros/ alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sclip_seg_ros"
GROUND = ("segmentation", "models", "common")
BELOW = {"ros": ("studio", "tools", "io", "geometry", "latency", "temporal", *GROUND),
         "studio": ("tools", "cluster", "io", "geometry", "latency", "temporal", *GROUND),
         "tools": ("cluster", "io", "geometry", "latency", "temporal", *GROUND),
         "geometry": ("common",), "cluster": ("common",),
         "io": ("latency", "temporal", *GROUND), "latency": ("temporal", *GROUND),
         "temporal": GROUND, "segmentation": ("models", "common"),
         "models": ("common",), "common": ()}
ROS = ("rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs", "rcl_interfaces", "vision_msgs",
       "sclip_seg_ros.msg")


def imports_of(path: Path) -> Iterator[str]:
    """Yield the names of all modules a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def files_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_is_known() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_from_below(room) -> None:
    allowed = (room, *BELOW[room])
    for path in files_of(room):
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "sclip_seg_ros" and len(parts) > 1 and parts[1] in BELOW:
                assert parts[1] in allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", sorted(set(BELOW) - {"ros"}))
def test_ros_stays_in_its_room(room) -> None:
    for path in files_of(room):
        for name in imports_of(path):
            assert not name.startswith(ROS), f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", BELOW)
def test_the_parts_of_a_room_lie_on_one_another(room) -> None:
    """No file or folder of a room imports, by however many others, what imports it."""
    parts = {path.stem for path in (PACKAGE / room).iterdir()
             if path.is_dir() or path.suffix == ".py"}
    wanted: dict[str, set[str]] = {part: set() for part in parts}
    for path in files_of(room):
        part = path.relative_to(PACKAGE / room).parts[0].removesuffix(".py")
        for name in imports_of(path):
            if name.startswith(f"sclip_seg_ros.{room}."):
                wanted[part].add(name.split(".")[2])
    for part in parts:
        wanted[part] &= parts - {part, "__init__"}
    list(TopologicalSorter(wanted).static_order())
