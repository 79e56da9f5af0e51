"""Programs as they are on a robot, where the rendered rooms of research/ are not installed."""

from __future__ import annotations

import sys

import pytest


def hide_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the rooms' package missing until the end of the test."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "sclip_research" or name == "sclip_seg_ros.tools.scenes":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sclip_research", None)
