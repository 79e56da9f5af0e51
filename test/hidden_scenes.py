"""Programs as they are on a robot, where the rendered rooms of research/ are not installed."""

from __future__ import annotations

import sys

import pytest

_PACKAGE = "sclip_research"


class _Absent:
    """Finds nothing where the rooms would be."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse the rooms' package, and leave others to other finders."""
        if name == _PACKAGE:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def hide_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the rooms' package missing until the end of the test."""
    for name in list(sys.modules):
        if name.partition(".")[0] == _PACKAGE or name == "sclip_seg_ros.tools.scenes":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent, *sys.meta_path])
