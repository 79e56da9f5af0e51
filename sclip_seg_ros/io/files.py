"""The files below a folder: one walk for all programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sclip_seg_ros.io.file_kinds import APPLE_DOUBLE, is_no_file


def files_below(folder: Path, unreadable: Callable[[OSError], None] | None = None) -> list[Path]:
    """Return all files in a folder and in those below it, sorted.

    Links to folders are followed, after everything else; a folder that several ways lead to counts
    once. A link that leads nowhere is a file, so that whoever reads it says so. What Macs note
    about files (``._photo.jpg``), pipes, sockets and devices are left out.

    Args:
        folder: to begin with.
        unreadable: told of each folder that cannot be read; without it the first one is raised.
    """
    def refuse(error: OSError) -> None:
        if unreadable is None:
            raise error
        unreadable(error)

    found: list[Path] = []
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        for parent, folders, names in os.walk(waiting.pop(0), onerror=refuse):
            real = os.path.realpath(parent)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            below = Path(parent)
            waiting += sorted(below / name for name in folders if (below / name).is_symlink())
            found += (path for name in names
                      if not is_mac_note(path := below / name) and not is_no_file(path))
    return sorted(found)


def real_path(path: Path) -> Path:
    """Follow the links of a path as far as they lead; one that leads to itself is no error."""
    return Path(os.path.realpath(path))


def is_mac_note(path: Path) -> bool:
    """Tell the file that a Mac writes beside a photo on a foreign disk, by name and content."""
    if not path.name.startswith("._"):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(APPLE_DOUBLE)) == APPLE_DOUBLE
    except OSError:
        return False
