"""The governor without one of its rules, or without all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.governor.machine import RefiningMachine
from sclip_seg_ros.latency import governor

Change = tuple[Any, str, Any]  # of what, which name, to what

RULES: dict[str, Change] = {
    "back-off": (governor, "LONGEST_WAIT", governor.PATIENCE),
    "relief": (governor, "RELIEF", 0.0),
    "narrow misses": (governor, "NARROW", 1.0),
    "probes": (governor.Governor, "_probe_due", False),
}
VARIANTS: dict[str, Sequence[Change]] = {
    "as it is": (),
    **{f"no {rule}": (change,) for rule, change in RULES.items()},
    "none of them": tuple(RULES.values()),
    "with missing iterations": ((RefiningMachine, "whole", True),),
}


@contextmanager
def changed(changes: Sequence[Change]) -> Iterator[None]:
    """Change the governor, or the machine, for a while."""
    if not changes:
        yield
        return
    with patch.object(*changes[0]), changed(changes[1:]):
        yield
