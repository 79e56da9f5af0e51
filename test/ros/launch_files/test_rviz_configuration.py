"""The RViz configuration has the node's topics, and panes that lie where they were saved.

RViz takes what it does not understand in silence, so what it needs is looked for here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sclip_seg_ros.ros.cameras.outputs import DEPTH, OUTPUTS

FILE = Path(__file__).resolve().parents[3] / "config/segment.rviz"


@pytest.fixture(scope="module")
def configuration() -> dict:
    return yaml.safe_load(FILE.read_text())


@pytest.fixture(scope="module")
def displays(configuration) -> dict[str, dict]:
    return {display["Name"]: display
            for display in configuration["Visualization Manager"]["Displays"]}


def docks_in(state: str) -> set[str]:
    """Return the names of the docks in a saved state of a QMainWindow, which are UTF-16."""
    content, docks = bytes.fromhex(state), set()
    for name in ("Displays", "Overlay", "Label", "Confidence", "Camera"):
        encoded = name.encode("utf-16-be")
        if len(encoded).to_bytes(4, "big") + encoded in content:
            docks.add(name)
    return docks


def test_displays_show_topics_that_the_node_has(displays):
    assert {name: display["Topic"]["Value"] for name, display in displays.items()} == {
        "Overlay": "sclip_seg/overlay", "Label": "sclip_seg/label",
        "Confidence": "sclip_seg/confidence", "Camera": "image_raw"}
    assert {"overlay", "label", "confidence"} <= {output.topic for output in OUTPUTS}


def test_every_pane_has_its_place(configuration, displays):
    geometry = configuration["Window Geometry"]
    panes = {name for name, value in geometry.items()
             if isinstance(value, dict) and "collapsed" in value}
    panels = {panel["Name"] for panel in configuration["Panels"]}
    assert panes == set(displays) | panels
    assert docks_in(geometry["QMainWindow State"]) == panes
    assert geometry["Hide Left Dock"] is False and geometry["Hide Right Dock"] is False
    assert geometry["Width"] >= 1024 and geometry["Height"] >= 700


def test_what_looks_black_is_switched_off(displays):
    shown = {name for name, display in displays.items() if display["Enabled"]}
    assert shown == {name for name, display in displays.items() if display["Value"]}
    assert shown == {"Overlay", "Confidence", "Camera"}


def test_frames_wait_as_long_as_the_node_keeps_them(displays):
    for name, display in displays.items():
        assert display["Topic"]["Depth"] == DEPTH, name
        reliability = "Best Effort" if name == "Camera" else "Reliable"
        assert display["Topic"]["Reliability Policy"] == reliability, name


def test_images_are_shown_without_any_transform(configuration):
    manager = configuration["Visualization Manager"]
    assert manager["Transformation"]["Current"]["Class"] == "rviz_common/Identity"
    assert manager["Global Options"]["Fixed Frame"] == "base_link"
