"""Files and folders at addresses, wherever fsspec reaches: list, copy here, put there.

Nothing is renamed there, for object stores cannot: whoever puts several files says with the last
one that all are there.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs

from sclip_seg_ros.common.text import first_line

_LOCAL = "file://"


class AddressError(ValueError):
    """What is at an address cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True)
class File:
    """A file below a place.

    Attributes:
        path: for the file system.
        name: below the place, with its own name in front where that is a folder; of a pattern what
            its first ``*`` and all behind it stand for.
        size: in bytes; None where the file system does not tell.
    """

    path: str
    name: str
    size: int | None


@dataclass(frozen=True)
class Place:
    """A file or folder.

    Attributes:
        address: as users write it.
        below: names below it, with strokes between them.
    """

    address: str
    below: str = ""

    @classmethod
    def of(cls, given: Path | str) -> Place:
        """Return the place of an address, or of a path of this machine."""
        if isinstance(given, Path):
            return cls(_LOCAL + os.path.realpath(given))
        if given.startswith(_LOCAL) and "::" not in given:
            return cls(_LOCAL + os.path.realpath(given.removeprefix(_LOCAL)))
        return cls(given)

    def __str__(self) -> str:
        """Return it as people may see it, without a password."""
        return without_passwords(self._whole)

    def __truediv__(self, name: str) -> Place:
        """Return a place in this folder."""
        return Place(self.address, f"{self.below}/{name}".lstrip("/"))

    def holds(self, other: Place) -> bool:
        """Tell whether another place is this one, or lies in it."""
        return f"{other._whole}/".startswith(f"{self._whole}/")

    @property
    def name(self) -> str:
        """The last name of it."""
        return PurePosixPath(self.below or self._open()[1]).name

    def matches(self) -> list[Place]:
        """Return the places that a pattern with ``*`` stands for; without one, this.

        Raises:
            AddressError: it cannot be listed, or nothing matches.
        """
        if "*" not in self.address:
            return [self]
        with self._told("listed"):
            fs, pattern = self._open()
            found = sorted(map(str, fs.glob(pattern)))
        if not found:
            raise AddressError(f"nothing matches '{self}'; check the address")
        return [self._matched(path[pattern.index("*"):]) for path in found]

    def files(self) -> list[File]:
        """Return the file, all files in the folder and below it, or those of a pattern, sorted.

        Raises:
            AddressError: there is none, or it cannot be listed.
        """
        if "*" in self.address:
            with self._told("listed"):
                fs, pattern = self._open()
                found = [File(path, path[pattern.index("*"):], entry.get("size"))
                         for path, entry in sorted(fs.glob(pattern, detail=True).items())
                         if entry["type"] == "file"]
        else:
            found = self._below()
        for file in found:
            if ".." in PurePosixPath(file.name).parts:
                raise AddressError(f"'{self}' holds a file called '{file.name}', which would lie "
                                   "outside of any copy; rename it")
        if not found:
            raise AddressError(f"nothing matches '{self}'; check the address" if "*" in self.address
                               else f"'{self}' does not exist, or is empty; check the address")
        return found

    def names(self) -> set[str]:
        """Return the names of all files below this folder; none where there is no such folder.

        Raises:
            AddressError: it cannot be listed.
        """
        return {file.name.partition("/")[2] for file in self._below()} if self.exists() else set()

    def of_file(self, file: File) -> Place:
        """Return the place of one of :meth:`files`."""
        if "*" in self.address:
            return self._matched(file.name)
        below = file.name.partition("/")[2]
        return self / below if below else self

    def exists(self) -> bool:
        """Tell whether there is a file or folder.

        Raises:
            AddressError: that cannot be found out.
        """
        with self._told("listed"):
            fs, path = self._open()
            return bool(fs.exists(path))

    def read(self) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            AddressError: it cannot be read.
        """
        with self._told("read"):
            fs, path = self._open()
            return bytes(fs.cat_file(path)) if fs.exists(path) else None

    def read_each(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the contents of files below this folder; None for one that cannot be read.

        Raises:
            AddressError: none can be read.
        """
        with self._told("read"):
            fs, path = self._open()
            return [bytes(content) if isinstance(content, (bytes, bytearray)) else None
                    for content in fs.cat_ranges([f"{path}/{name}" for name in names], None, None)]

    def head(self, file: File, count: int) -> bytes:
        """Return the first bytes of one of :meth:`files`.

        Raises:
            AddressError: they cannot be read.
        """
        if file.size == 0:
            return b""  # of which stores refuse any range
        with self._told("read"):
            return bytes(self._open()[0].cat_file(file.path, 0, min(count, file.size or count)))

    def fetch(self, files: Sequence[File], folder: Path) -> None:
        """Copy files of this place into a folder of this machine, under their names.

        Raises:
            AddressError: one cannot be read.
            OSError: one cannot be written.
        """
        copies = [folder / file.name for file in files]
        for copy in copies:
            copy.parent.mkdir(parents=True, exist_ok=True)
        with self._told("read"):
            fs, _ = self._open()
            fs.get([file.path for file in files], [str(copy) for copy in copies])
        for file, copy in zip(files, copies, strict=True):
            if file.size is not None and copy.stat().st_size != file.size:
                raise AddressError(f"'{file.name}' of '{self}' has {file.size} bytes, of which "
                                   f"{copy.stat().st_size} came; the same command tries again")

    def put(self, files: Sequence[Path], folder: Path) -> None:
        """Put files of a folder of this machine below this place, under their names.

        Raises:
            AddressError: one cannot be written.
        """
        with self._told("written"):
            fs, path = self._open()
            targets = [f"{path}/{file.relative_to(folder).as_posix()}" for file in files]
            for parent in {target.rpartition("/")[0] for target in targets}:
                fs.makedirs(parent, exist_ok=True)
            fs.put([str(file) for file in files], targets)

    def write(self, content: bytes) -> None:
        """Make a file of this content.

        Raises:
            AddressError: it cannot be written.
        """
        with self._told("written"):
            fs, path = self._open()
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(path, content)

    def remove(self) -> None:
        """Remove a file.

        Raises:
            AddressError: it cannot be removed.
        """
        with self._told("removed"):
            fs, path = self._open()
            fs.rm_file(path)

    def try_to_write(self) -> None:
        """Make a file in this folder, and remove it, before any work is done.

        Raises:
            AddressError: it cannot be made.
        """
        trial = self / f".sclip-{uuid.uuid4().hex}"
        trial.write(b"trial\n")
        trial.remove()

    def _below(self) -> list[File]:
        """Return the file, or all files in the folder and below it, sorted.

        Raises:
            AddressError: it does not exist, or cannot be listed.
        """
        with self._told("listed"):
            fs, path = self._open()
            info = fs.info(path)
            if info["type"] == "file":
                return [File(path, self.name.partition("?")[0], info.get("size"))]
            root = str(info["name"]).rstrip("/")
            return [File(name, f"{self.name}{name.removeprefix(root)}", entry.get("size"))
                    for name, entry in sorted(fs.find(path, detail=True).items())
                    if not name.endswith("/")]  # some stores keep folders as empty objects

    def _matched(self, found: str) -> Place:
        """Return the place for which a pattern's first ``*`` and all behind it stand.

        An address is more than a path: its beginning names the host, its end what lies around.
        """
        before, _, behind = self.address.partition("*")
        return Place(before + found + "".join(behind.partition("::")[1:]))

    @property
    def _whole(self) -> str:
        return f"{self.address.rstrip('/')}/{self.below}".rstrip("/")

    def _open(self) -> tuple[Any, str]:
        """Return a file system, and the path there; a new one, for servers hang up on idle ones.

        Raises:
            AddressError: fsspec does not know it, or misses a library.
        """
        try:
            fs, root = url_to_fs(self.address, skip_instance_cache=True)
        except ImportError as error:
            raise AddressError(f"'{self}' cannot be reached ({first_line(error)}); do that on "
                               "every machine") from error
        except ValueError as error:
            raise AddressError(f"'{self}' cannot be reached ({first_line(error)}); give an address "
                               "such as s3://bucket/folder, or a path") from error
        return fs, f"{root.rstrip('/')}/{self.below}" if self.below else root

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Name the place in whatever its file system raises; every one has errors of its own."""
        try:
            yield
        except AddressError:
            raise
        except FileNotFoundError as error:
            raise AddressError(f"'{self}' does not exist; check the address") from error
        except Exception as error:
            raise AddressError(f"'{self}' cannot be {done} ({first_line(error) or type(error)}); "
                               "check the address, the network and your rights there") from error


def without_passwords(text: str) -> str:
    """Return a text as people may see it: what names a user in an address may be a password."""
    return re.sub(r"//[^/@]*@", "//***@", text)
