"""What a call of `sclip-segment` works on, and what came of it so far."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sclip_seg_ros.io.points import PointFile, Score
from sclip_seg_ros.tools.segment.inputs import Input


@dataclass
class Run:
    """What the command works on, and what came of it so far.

    Attributes:
        said: what results depend on, as :meth:`Labelling.describe` has it.
    """

    arguments: argparse.Namespace
    inputs: Sequence[Input]
    said: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    videos: int = 0
    frames: int = 0
    before: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    points: PointFile | None = None
    score: Score | None = None
