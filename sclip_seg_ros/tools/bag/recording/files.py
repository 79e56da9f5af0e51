"""The files that a recording consists of: those there are, those listed, and those missing."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sclip_seg_ros.io.file_kinds import found_instead, is_no_file
from sclip_seg_ros.io.files import is_mac_note

STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
METADATA = "metadata.yaml"
INFORMATION = "rosbag2_bagfile_information"
_PLACES, _LOOKED_AT = 64, 16_384  # of a large file, in bytes each
_SPECIAL = re.compile(r"[%?#]")  # in a URI, as which rosbags opens SQLite files


class RecordingError(ValueError):
    """A recording cannot be read; the message says which and what to do."""


class Listing:
    """What a recording's metadata says of its files, beside those that are there.

    Attributes:
        files: those that are listed and there; all, where none is.
        missing: names of files that are listed and not there.
        extra: files that are there and not listed, which rosbags leaves out; without those that
            `ros2 bag play` has unpacked beside the packed ones.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        """Compare them; a recording without readable metadata lists nothing."""
        self._path = path
        self._information = _information_of(path)
        # Early versions wrote longer paths.
        names = [Path(str(name)).name
                 for name in self._information.get("relative_file_paths") or []]
        there = {file.name: file for file in files}
        self._listed = [there[name] for name in names if name in there]
        self.files = self._listed or list(files)
        self.missing = [name for name in names if name not in there]
        self.extra = [file for file in files
                      if file not in self.files and f"{file.name}.zstd" not in there]
        if not self._listed and len(names) == len(files):
            self.missing = []  # renamed, folder and all

    def stand_in(self) -> tuple[TemporaryDirectory[str], Path] | None:
        """Link, under plain names, to those listed files that are there.

        rosbags refuses a recording of which one file is missing, and takes names of SQLite files
        apart as URIs.

        Returns:
            A folder, and what to open in it; None where rosbags can open the recording as it is,
            or there is nothing of what is listed.
        """
        files = self._listed if self._path.is_dir() else self.files
        special = any(_SPECIAL.search(str(file)) for file in files if ".db3" in file.suffixes)
        if not files or not (special or self.missing):
            return None
        folder = TemporaryDirectory(prefix="sclip-bag-")
        links = [Path(folder.name) / f"{number}{_ending_of(file)}"
                 for number, file in enumerate(files)]
        for file, link in zip(files, links, strict=True):
            link.symlink_to(file.resolve())
        if not self._path.is_dir():
            return folder, links[0]
        information = {**self._information, "files": [],
                       "relative_file_paths": [link.name for link in links]}
        (Path(folder.name) / METADATA).write_text(yaml.safe_dump({INFORMATION: information}),
                                                  encoding="utf-8")
        return folder, Path(folder.name)


def files_of(path: Path) -> tuple[list[Path], str]:
    """Return the files of a recording in their order, and their format.

    Raises:
        RecordingError: there are none, or others than ROS 2's.
        OSError: the folder cannot be read.
    """
    if not path.exists():
        raise RecordingError(f"'{path}' does not exist; check its path")
    inside = [file for file in sorted(path.iterdir()) if not is_mac_note(file)] \
        if path.is_dir() else [path]
    found = sorted((file for file in inside if storage_of(file) and not is_no_file(file)),
                   key=_natural)
    storages = {storage_of(file) for file in found}
    if len(storages) == 1:
        return found, storages.pop()
    if storages:
        raise RecordingError(f"'{path}' holds files of {' and '.join(sorted(storages))}; give each "
                             "recording by itself")
    for file in inside:
        if instead := found_instead(file, "recording"):
            raise RecordingError(f"'{file}' is not a rosbag2 recording: {instead}")
    below = sorted(str(file.parent) for file in path.glob(f"*/{METADATA}"))
    remedy = f"give those that are in it: {' '.join(below)}" if below else \
        f"give a folder with {METADATA}, or a file that ends in {' or '.join(STORAGES)}"
    raise RecordingError(f"'{path}' is not a rosbag2 recording; {remedy}")


def contents_of(file: Path) -> tuple[int, str]:
    """Return a file's size, and a checksum of its content: of a large file, of places all over it.

    Recordings made anew may have the size of the old ones to the byte, and copies have other times.

    Raises:
        OSError: it cannot be read.
    """
    size, checksum = file.stat().st_size, hashlib.blake2b(digest_size=8)
    with open(file, "rb") as opened:
        if size <= _PLACES * _LOOKED_AT:
            checksum.update(opened.read())
        else:
            for place in range(_PLACES):
                opened.seek(place * (size - _LOOKED_AT) // (_PLACES - 1))
                checksum.update(opened.read(_LOOKED_AT))
    return size, checksum.hexdigest()


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """Yield another path for a new recording's folder where rosbags would take this one for a URI.

    What was written there lies at ``path``, under its name, at the end.
    """
    if not _SPECIAL.search(str(path)):
        yield path
        return
    with TemporaryDirectory(prefix="sclip-bag-") as folder:
        beside = Path(folder) / "beside"
        beside.symlink_to(path.parent.resolve())
        plain = beside / "plain"
        shutil.rmtree(plain, ignore_errors=True)
        yield plain
        metadata = yaml.safe_load((plain / METADATA).read_text(encoding="utf-8"))
        information = metadata[INFORMATION]
        new = {name: path.name + name.removeprefix(plain.name)
               for name in information["relative_file_paths"]}
        for name in new:
            (plain / name).rename(plain / new[name])
        information["relative_file_paths"] = list(new.values())
        for entry in information["files"]:
            entry["path"] = new[entry["path"]]
        (plain / METADATA).write_text(yaml.safe_dump(metadata, sort_keys=False), encoding="utf-8")
        plain.rename(path)


def _information_of(path: Path) -> dict[str, Any]:
    """Return what a folder's metadata says; empty where there is none that can be read."""
    try:
        information = yaml.safe_load((path / METADATA).read_text(encoding="utf-8"))[INFORMATION]
        return information if isinstance(information, dict) else {}
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError):
        return {}


def _ending_of(file: Path) -> str:
    """Return the endings that tell a file's format, e.g. ``.mcap.zstd``."""
    return "".join(file.suffixes[-2:] if file.suffix == ".zstd" else file.suffixes[-1:])


def storage_of(file: Path) -> str:
    """Return the format of a file by its name, also of a compressed one; empty if none."""
    name = file.with_suffix("") if file.suffix == ".zstd" else file
    return STORAGES.get(name.suffix, "")


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort ``bag_10`` behind ``bag_9``."""
    return [(int(part), "") if part.isdecimal() else (0, part)
            for part in re.split(r"(\d+)", path.name)]
