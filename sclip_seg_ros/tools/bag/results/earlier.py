"""What an earlier run left in the output folder: recognise it, and remove nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from sclip_seg_ros.tools.bag.recording.files import INFORMATION, METADATA, RecordingError

FRAMES = "frames.sqlite"  # in the folder of unfinished work
OWNER = "sclip_seg_ros"  # key of what this program says in a recording's metadata


def partial_of(target: Path) -> Path:
    """Return the folder of unfinished work, beside the new recording."""
    return target.with_name(target.name + ".partial")


def read_summary(target: Path) -> dict[str, Any] | None:
    """Return what an earlier run wrote about its recording; None where this program made none."""
    try:
        metadata = yaml.safe_load((target / METADATA).read_text(encoding="utf-8"))
        summary = json.loads(metadata[INFORMATION]["custom_data"][OWNER])
        return summary if isinstance(summary["run"], dict) else None
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError):
        return None


def check_partial(target: Path) -> None:
    """Refuse a folder of unfinished work that holds anything else, since it is removed at the end.

    Raises:
        RecordingError: naming what is not of this program.
    """
    partial = partial_of(target)
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        raise RecordingError(f"'{partial}' is not a folder of this program; move it away, or "
                             "choose another --output")
    _refuse_strangers(partial, FRAMES, target.name)


def remove(target: Path) -> None:
    """Remove a finished recording and unfinished work of this program.

    Raises:
        RecordingError: there is something that it did not make; then nothing is removed.
        OSError: it cannot be removed.
    """
    check_partial(target)
    if target.is_symlink() or target.exists():
        if target.is_symlink() or read_summary(target) is None:
            raise RecordingError(f"'{target}' was not made by this program, and is not removed; "
                                 "move it away, or choose another --output")
        _refuse_strangers(target, f"{target.name}.", METADATA)
    for folder in (target, partial_of(target)):
        if folder.exists():
            shutil.rmtree(folder)


def _refuse_strangers(folder: Path, beginning: str, name: str) -> None:
    """Refuse a folder that holds more than one name, and names with one beginning."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if path.name != name and not path.name.startswith(beginning):
            raise RecordingError(f"'{path}' was not made by this program, which would remove it; "
                                 "move it away, or choose another --output")
