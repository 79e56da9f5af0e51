"""sclip-bag as its tests call it."""

from __future__ import annotations

from pathlib import Path

from sclip_seg_ros.tools.bag.command import main

WORDS = ("floor", "table|desk", "cup")


def flags(model: str, output: Path, *more: object) -> list[str]:
    """Return a command line."""
    return ["--model", model, "--output", str(output), "--vocabulary", *WORDS, *map(str, more)]


def segment(model: str, output: Path, *more: object) -> int:
    """Run the command."""
    return main(flags(model, output, *more))
