"""The one place that speaks with a model hub: what is in the cache is used, unasked.

The cache is huggingface_hub's own (``$HF_HOME/hub``), so that other programs share it. A robot that
has its weights starts with them whatever the network or the hub does; only :func:`obtain` with
``update`` asks for newer ones.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from huggingface_hub import constants, get_token

from sclip_seg_ros.models.loading import transferring
from sclip_seg_ros.models.transfer import (
    Announcement,
    TransferError,
    announce,
    download,
    storage_error,
)
from sclip_seg_ros.models.weights import WeightsError, checksum

MAIN = "main"
MAY_LACK = ""  # as the last name of a group: the repository may do without such a file
_ABANDONED_SECONDS = 600.0  # without a byte: nobody writes such a file any more
PIN = "#sha256="  # as pip writes it behind an address

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where in a hub: a repository, a branch, tag or commit, and the checksum that is expected.

    Attributes:
        repository: "<organisation>/<name>".
        revision: branch, tag, or commit; a short commit is enough for what is in the cache.
        sha256: of the weights, lower case; empty where none is asked for.
    """

    repository: str
    revision: str = MAIN
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"


@dataclass(frozen=True)
class HubFile:
    """A file in the cache.

    Attributes:
        path: of the file.
        repository: it belongs to.
        commit: of the repository.
        sha256: of its content.
    """

    path: Path
    repository: str
    commit: str
    sha256: str

    def __str__(self) -> str:
        return (f"{self.repository}@{self.commit} {self.path.name} (SHA-256 {self.sha256}), "
                f"'{self.path}'")


class HubError(WeightsError):
    """A hub's file cannot be had.

    Attributes:
        kind: of the cause, see :class:`~sclip_seg_ros.models.transfer.TransferError`.
    """

    def __init__(self, kind: str, message: str) -> None:
        """Say it in one sentence."""
        super().__init__(message)
        self.kind = kind


def split_pin(text: str) -> tuple[str, str, str]:
    """Take "name@revision#sha256=checksum" apart; what is not there is empty.

    Raises:
        WeightsError: a checksum that is none.
    """
    name, pinned, checksum = text.partition(PIN)
    if pinned and not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
        raise WeightsError(f"'{text}' ends in no SHA-256; write '#sha256=' and 64 hexadecimal "
                           "digits, or leave it out")
    name, _, revision = name.partition("@")
    return name, revision, checksum.lower()


def pinned_file(text: str, setting: str) -> tuple[Path, str]:
    """Return the path in "path#sha256=checksum", and the SHA-256 of the file there.

    The latter is empty without a file that can be read; reading it tells what is wrong.

    Args:
        text: the path; a checksum behind it must be the file's.
        setting: that it was given as, for the error.

    Raises:
        WeightsError: a file with another checksum, or a checksum that is none.
    """
    _, _, pinned = split_pin(text)
    path = Path(text.partition(PIN)[0]).expanduser()
    found = checksum(path) if path.is_file() and os.access(path, os.R_OK) else ""
    if found and pinned and found != pinned:
        raise WeightsError(f"'{path}' has the SHA-256 {found}, not {pinned}; delete it and fetch "
                           f"it again, or correct {setting}")
    return path, found


def cache_folder(cache_dir: str | None = None) -> Path:
    """Return the folder of all downloads: the given one, else ``$HF_HOME/hub``."""
    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser()


def cached(place: Place, wanted: Sequence[Sequence[str]],
           cache_dir: str | None = None) -> list[Path | None] | None:
    """Return files of one commit from the cache, None where it lacks any of them.

    That is the commit the revision stands for there; or, since a reference may have been moved by a
    download that broke off, the newest that has the files.

    Args:
        place: repository and revision.
        wanted: names in groups: the first of a group that is there is taken.
        cache_dir: folder of the cache.
    """
    for snapshot in _snapshots(_folder(place, cache_dir), place.revision):
        found = [next((snapshot / name for name in group
                       if name and (snapshot / name).is_file()), None) for group in wanted]
        if all(path or MAY_LACK in group for path, group in zip(found, wanted, strict=True)):
            return found
    return None


def obtain(place: Place, wanted: Sequence[Sequence[str]], what: str, otherwise: str = "",
           cache_dir: str | None = None, update: bool = False) -> list[HubFile | None]:
    """Return files of one commit: from the cache if they are all there, else from the hub.

    Args:
        place: repository, revision and expected checksum; that is the last file's.
        wanted: names in groups: the first of a group that the repository has is taken.
        what: they are for, as the user spells it.
        otherwise: what else helps where they cannot be had, for the error.
        cache_dir: folder of the cache instead of ``$HF_HOME/hub``.
        update: ask the hub for the newest commit, though the cache has one.

    Raises:
        HubError: they cannot be had; it names cause and remedy.
    """
    try:
        paths = None if update else cached(place, wanted, cache_dir)
        if paths is None:
            paths = _fetched(place, wanted, what, cache_dir)
        return [None if path is None else
                _checked(place, path, place.sha256 if path == paths[-1] else "", what, cache_dir)
                for path in paths]
    except TransferError as error:
        raise HubError(error.kind, f"weights of '{what}' are out of reach: "
                       f"'{cache_folder(cache_dir)}' lacks them, and {error} ({place} of "
                       f"{urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT}); "
                       f"{error.remedy}"
                       f"{', or ' if otherwise else ''}{otherwise}") from error


def obtain_published(url: str, sha256: str, folder: Path, what: str, otherwise: str) -> Path:
    """Return a file that its authors publish at an address: from a folder, else from there.

    Args:
        url: of the file.
        sha256: that it must have.
        folder: where it is kept.
        what: it is for, as the user spells it.
        otherwise: what else helps where it cannot be had, for the error.

    Raises:
        HubError: it cannot be had; it names cause and remedy.
    """
    folder = folder.expanduser()
    path = folder / url.rpartition("/")[2]
    if path.is_file():
        return path
    try:
        _refuse_offline()
        with transferring(what, str(folder), 0, None) as transfer:
            download(Announcement(url, "", sha256, None), path, None, transfer.at)
    except TransferError as error:
        raise HubError(error.kind, f"weights of '{what}' are out of reach: '{folder}' lacks them, "
                       f"and {error} ({url}); {error.remedy}, or {otherwise}") from error
    return path


@dataclass(frozen=True)
class CachedSnapshot:
    """What the cache has of one commit of a repository.

    Attributes:
        repository, commit: which.
        current: whether its branch "main" stands for that commit.
        files: names and sizes in bytes.
    """

    repository: str
    commit: str
    current: bool
    files: dict[str, int]


def list_cached(cache_dir: str | None = None) -> list[CachedSnapshot]:
    """List all that the cache holds of models."""
    found = []
    for folder in sorted(cache_folder(cache_dir).glob("models--*--*")):
        repository = folder.name.removeprefix("models--").replace("--", "/", 1)
        current = _reference(folder, MAIN)
        for snapshot in sorted((folder / "snapshots").glob("*")):
            files = {str(path.relative_to(snapshot)): path.stat().st_size
                     for path in sorted(snapshot.rglob("*")) if path.is_file()}
            if files:
                found.append(CachedSnapshot(repository, snapshot.name, snapshot.name == current,
                                            files))
    return found


def repository_of(path: Path) -> tuple[str, str] | None:
    """Return the repository of a path into a cache, and the commit or ""; None for any other."""
    for part in path.absolute().parents:
        kind, folder = part.parent.name, part.parents[1] if len(part.parents) > 1 else part
        if part.name == "blobs" and part.parent.name.startswith("models--"):
            kind, folder, part = "blobs", part.parent, Path()
        if kind in ("snapshots", "blobs") and folder.name.startswith("models--"):
            return folder.name.removeprefix("models--").replace("--", "/", 1), part.name
    return None


def _folder(place: Place, cache_dir: str | None) -> Path:
    return cache_folder(cache_dir) / f"models--{place.repository.replace('/', '--')}"


def _reference(folder: Path, revision: str) -> str:
    try:
        return (folder / "refs" / revision).read_text().strip()
    except OSError:
        return ""


def _snapshots(folder: Path, revision: str) -> Iterator[Path]:
    """Yield the snapshots that may stand for a revision, best first."""
    snapshots = folder / "snapshots"
    named = _reference(folder, revision)
    if named:
        yield snapshots / named
    with contextlib.suppress(OSError):
        there = sorted((entry for entry in snapshots.iterdir() if entry.is_dir()),
                       key=lambda entry: entry.stat().st_mtime, reverse=True)
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            yield from (entry for entry in there if entry.name.startswith(revision))
        elif revision == MAIN:
            others = {path.read_text().strip() for path in (folder / "refs").glob("*")
                      if path.name != MAIN and path.is_file()} - {named}
            yield from (entry for entry in there if entry.name not in others)


def _fetched(place: Place, wanted: Sequence[Sequence[str]], what: str,
             cache_dir: str | None) -> list[Path | None]:
    """Download what the cache lacks."""
    _refuse_offline()
    if not constants.ENDPOINT.startswith(("https://", "http://")):
        raise TransferError("name", f"HF_ENDPOINT is '{constants.ENDPOINT}', which does not begin "
                            "with https:// or http://", "write it as "
                            f"'https://{constants.ENDPOINT.rpartition('//')[2]}'")
    if re.fullmatch(r"[0-9a-f]{7,39}", place.revision):
        raise TransferError("no revision", f"a hub does not know the short commit "
                            f"'{place.revision}'", "give all its 40 digits")
    folder = _folder(place, cache_dir)
    _refuse_unwritable(folder)
    revision, found = place.revision, []
    for group in wanted:
        path, revision = _first_of(place.repository, revision, group, folder, what)
        found.append(path)
    if revision != place.revision:
        _write_reference(folder, place.revision, revision)
    return found


def _refuse_offline() -> None:
    if constants.HF_HUB_OFFLINE:
        names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        name = next((name for name in names if os.environ.get(name)), names[0])
        raise TransferError("offline", f"{name} is set, so the hub is not asked", f"unset {name}")


def _refuse_unwritable(folder: Path) -> None:
    """Find out before anything is asked for that nothing could be kept."""
    try:
        for name in ("blobs", "snapshots", "refs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            if not os.access(folder / name, os.W_OK):
                (folder / name / ".writable").touch()
    except OSError as error:
        raise storage_error(error, folder) from error


def _first_of(repository: str, revision: str, group: Sequence[str], folder: Path,
              what: str) -> tuple[Path | None, str]:
    """Fetch the first file of a group that the repository has; return its path and commit."""
    for name in group:
        if name == MAY_LACK:
            return None, revision
        try:
            found = announce(f"{constants.ENDPOINT}/{repository}/resolve/"
                             f"{quote(revision, safe='')}/{quote(name)}", get_token())
        except TransferError as error:
            if error.kind != "no entry":  # only then may another name help
                raise
        else:
            return _kept(found, repository, name, folder, what), found.commit
    names = " and no ".join(repr(name) for name in group)
    raise TransferError("no entry", f"'{repository}' has no {names}", "name a repository with "
                        "weights of open_clip or of transformers' CLIP")


def _kept(found: Announcement, repository: str, name: str, folder: Path, what: str) -> Path:
    """Download a file into the cache, in the layout of its library."""
    blob = folder / "blobs" / found.etag
    pointer = folder / "snapshots" / found.commit / name
    if pointer.is_file():
        return pointer
    if not blob.is_file():
        partial = blob.with_name(f"{blob.name}.incomplete")
        done = partial.stat().st_size if partial.is_file() else 0
        with transferring(what, str(folder), done, found.size) as transfer:
            download(found, blob, get_token(), transfer.at)
        _remove_orphans(blob)
        _log.info("downloaded '%s' of %s@%s", name, repository, found.commit)
    try:
        pointer.parent.mkdir(parents=True, exist_ok=True)
        link = pointer.with_name(f".{pointer.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            link.symlink_to(os.path.relpath(blob, pointer.parent))
            os.replace(link, pointer)  # at once, where another process does the same
        except OSError:
            if not pointer.is_file():  # a file system without links
                os.replace(blob, pointer)
    except OSError as error:
        raise storage_error(error, folder) from error
    return pointer


def _remove_orphans(blob: Path) -> None:
    """Remove what interrupted downloads of huggingface_hub left, which nobody goes on with."""
    for orphan in blob.parent.glob(f"{blob.name}.*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - orphan.stat().st_mtime > _ABANDONED_SECONDS:
                orphan.unlink()


def _write_reference(folder: Path, revision: str, commit: str) -> None:
    """Say which commit a branch stands for, once all of its files are there."""
    try:
        path = folder / "refs" / revision
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    except OSError as error:
        raise storage_error(error, folder) from error


def _checked(place: Place, path: Path, pinned: str, what: str,
             cache_dir: str | None) -> HubFile:
    """Compare a cached file with the checksum that the hub announced, and with a pinned one.

    The cache names a large file's content by its SHA-256. A file that a disk has spoilt is fetched
    again, once.
    """
    commit = _commit_of(path)
    announced = path.resolve().name
    known = re.fullmatch(r"[0-9a-f]{64}", announced)
    found = checksum(path)
    if known and found != announced:
        _log.warning("'%s' is spoilt (SHA-256 %s, not %s); fetching it again", path, found,
                     announced)
        folder = _folder(place, cache_dir)
        try:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise TransferError("checksum", f"the file there is spoilt and cannot be replaced "
                                f"({os.strerror(error.errno or 0)})", "delete "
                                f"'{path.resolve()}' and fetch it again") from error
        name = str(path.relative_to(folder / "snapshots" / commit))
        try:
            _fetched(Place(place.repository, commit), [[name]], what, cache_dir)
        except TransferError as error:
            raise TransferError(error.kind, f"the file that was there is spoilt (SHA-256 {found}, "
                                f"not {announced}); {error}", f"{error.remedy} and fetch it again"
                                ) from error
        found = checksum(path)
    if pinned and found != pinned:
        raise HubError("checksum", f"'{path}' of {place} has the SHA-256 {found}, not the pinned "
                       f"{pinned}; correct the pin, or pin a commit that has that file")
    return HubFile(path, place.repository, commit, found)


def _commit_of(path: Path) -> str:
    found = repository_of(path)
    return found[1] if found else ""
