"""Tell whether a file was segmented by an earlier run with the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sclip_seg_ros.tools.segment.inputs import Input
from sclip_seg_ros.tools.segment.outputs import IMAGE_RESULTS, beside
from sclip_seg_ros.tools.segment.video import VIDEO_RESULTS

_KEY = "made_of"


def made_of(entry: Input, made_with: Mapping[str, Any]) -> dict[str, str]:
    """Return a checksum of what a result depends on, for its JSON file, which is written last.

    Args:
        entry: the file; its state counts.
        made_with: all that results depend on besides.
    """
    said = json.dumps([*entry.state, made_with], sort_keys=True)
    return {_KEY: hashlib.sha256(said.encode()).hexdigest()}


def is_finished(entry: Input, made_with: Mapping[str, Any]) -> bool:
    """Look whether all results of a file are there, and were made of the same."""
    try:
        if not tells_of(beside(entry.target, ".json").read_bytes(), entry, made_with):
            return False
    except OSError:
        return False
    endings = VIDEO_RESULTS if entry.is_video else IMAGE_RESULTS
    return all(beside(entry.target, ending).is_file() for ending in endings)


def tells_of(content: bytes, entry: Input, made_with: Mapping[str, Any]) -> bool:
    """Look whether a result's JSON file is of a file as it is, and was made of the same."""
    try:
        return bool(json.loads(content).get(_KEY) == made_of(entry, made_with)[_KEY])
    except (OSError, ValueError, AttributeError):
        return False
