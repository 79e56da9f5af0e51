"""Fetch a hub's file over HTTP: resumed where it broke off, compared with its announced checksum.

The library huggingface_hub begins anew after each restart, checks sizes alone, and has raised
another HTTP library's exceptions in each of its versions; Python's own urllib is enough.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import shutil
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit

from huggingface_hub import constants

from sclip_seg_ros import __version__
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.models.loading import megabytes
from sclip_seg_ros.models.weights import checksum

TIMEOUT_SECONDS = 10.0          # of silence
PAUSES_SECONDS = (1.0, 2.0, 4.0)  # between attempts that brought less than the next number
PROGRESS_BYTES = 1 << 16
_BLOCK = 1 << 18
_SPARE = 10_000_000              # bytes that stay free on the disk

# A hub says this of a token that it does not know, also where none is needed.
_BAD_TOKEN = "Invalid credentials in Authorization header"
_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # as huggingface_hub reads them
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)


class TransferError(Exception):
    """A file cannot be had.

    Attributes:
        kind: "no repository", "token", "gated", "no revision", "no entry", "no space",
            "not writable", "offline", "name", "refused", "timed out", "unreachable", "proxy",
            "certificate", "portal", "cut short", "checksum", "lost" or "status".
        remedy: what to do about it.
        passing: whether it may work at the next attempt.
    """

    def __init__(self, kind: str, cause: str, remedy: str, passing: bool = False) -> None:
        """Name a cause and a remedy."""
        super().__init__(cause)
        self.kind, self.remedy, self.passing = kind, remedy, passing


@dataclass(frozen=True)
class Announcement:
    """What a hub says of a file before it sends it.

    Attributes:
        url: to get it from.
        commit: of the repository.
        etag: SHA-256 of a large file, git's hash of a small one.
        size: in bytes, None if unknown.
    """

    url: str
    commit: str
    etag: str
    size: int | None


def announce(url: str, token: str | None) -> Announcement:
    """Ask a hub about a file.

    Raises:
        TransferError: it has none, or does not answer as a hub does.
    """
    def ask() -> Announcement:
        with _open(url, token, "HEAD", stay=True) as answer:
            headers = answer.headers
        commit = headers.get("X-Repo-Commit")
        etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        etag = etag.removeprefix("W/").strip('"')
        if not commit or not re.fullmatch(r"[\w.-]+", etag):
            raise _no_hub(url, headers)
        size = headers.get("X-Linked-Size") or \
            (headers.get("Content-Length") if "Location" not in headers else None)
        return Announcement(url, commit, etag, int(size) if size else None)

    return _repeated(ask, lambda: 0)


def download(found: Announcement, target: Path, token: str | None,
             report: Callable[[int], None]) -> None:
    """Fetch an announced file; what an interrupted attempt left is gone on with.

    A half file is called ``<target>.incomplete`` until its checksum is right. Two processes that
    want the same file wait for one another.

    Args:
        found: of :func:`announce`.
        target: path of the file.
        token: of the hub.
        report: told how many bytes are there.

    Raises:
        TransferError: it cannot be had.
    """
    partial = target.with_name(f"{target.name}.incomplete")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "a+b") as file:
            with contextlib.suppress(OSError):  # a file system without locks: the checksum tells
                fcntl.flock(file, fcntl.LOCK_EX)
            if target.is_file():  # by another process, meanwhile
                if partial.is_file() and not partial.samefile(target):
                    partial.unlink()
                return
            try:
                _fill(file, found, token, report)
            except TransferError as error:
                if error.kind in ("checksum", "cut short", "portal"):
                    partial.unlink(missing_ok=True)
                raise
            os.replace(partial, target)
    except OSError as error:
        raise storage_error(error, target.parent, found.size) from error


def storage_error(error: OSError, folder: Path, needed: int | None = None) -> TransferError:
    """Say why a file could not be written."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if error.errno in _NO_SPACE:
        free = shutil.disk_usage(place).free
        return TransferError(
            "no space", f"there is no space in '{folder}' ({megabytes(needed)} needed, "
            f"{megabytes(free)} free)", "make room, or name another folder with cache_dir or "
                                        "HF_HOME")
    if error.errno in _NOT_WRITABLE:
        return TransferError(
            "not writable", f"the folder '{folder}' cannot be written to "
            f"({os.strerror(error.errno)})", "give it to the user who runs this, or name another "
                                             "with cache_dir or HF_HOME")
    return TransferError("storage", f"it cannot be written to '{folder}' ({first_line(error)})",
                         "see to that disk, or name another folder with cache_dir or HF_HOME")


def _fill(file: BinaryIO, found: Announcement, token: str | None,
          report: Callable[[int], None]) -> None:
    """Bring a half file to its whole length, and compare its checksum."""
    for resumed in (file.seek(0, os.SEEK_END) > 0, False):
        _need_space(file, found.size)
        report(file.tell())
        total = _repeated(lambda: _pull(file, found, token, report), file.tell)
        problem = _wrong(file, total, found.etag)
        if not problem:
            file.flush()
            os.fsync(file.fileno())
            return
        file.truncate(0)  # what was resumed may have been spoilt by a crash: once more, all of it
        file.seek(0)
        if not resumed:
            raise TransferError("checksum", f"what arrived has {problem}: it was altered on its "
                                            "way", "try again, or use another network")


def _need_space(file: BinaryIO, size: int | None) -> None:
    if size is not None and \
            shutil.disk_usage(os.path.dirname(file.name)).free < size - file.tell() + _SPARE:
        raise OSError(errno.ENOSPC, "too little space")


def _pull(file: BinaryIO, found: Announcement, token: str | None,
          report: Callable[[int], None]) -> int:
    """Append what is missing of a file; return its whole size."""
    begin = file.seek(0, os.SEEK_END)
    if found.size is not None and begin == found.size:
        return begin
    if found.size is not None and begin > found.size:
        begin = file.truncate(0)
    with _open(found.url, token, "GET", begin=begin) as answer:
        if begin and answer.status != 206:  # the server does not know of ranges
            file.truncate(0)
            begin = 0
        total = _announced_total(answer, begin)
        if "text/html" in answer.headers.get("Content-Type", "") and total != found.size:
            raise _no_hub(found.url, answer.headers)
        if total is not None and found.size is not None and total != found.size:
            raise TransferError("cut short", f"the hub announces {found.size} bytes, but its "
                                             f"server has {total}", "try again later")
        total = found.size if total is None else total
        while True:
            try:
                block = answer.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                problem = _explained(error, found.url)
                problem.passing = True  # it worked until now
                raise problem from error
            if not block:
                break
            file.write(block)
            begin += len(block)
            report(begin)
    file.flush()
    if total is not None and begin < total:
        raise TransferError("lost", f"the connection was lost after {megabytes(begin)} of "
                                    f"{megabytes(total)}", "start again: it goes on there",
                            passing=True)
    return begin


def _announced_total(answer: http.client.HTTPResponse, begin: int) -> int | None:
    """Return a whole file's size by the headers of an answer that may hold a part."""
    if match := re.search(r"/(\d+)$", answer.headers.get("Content-Range", "")):
        return int(match[1])
    length = answer.headers.get("Content-Length")
    return begin + int(length) if length else None


def _wrong(file: BinaryIO, size: int, etag: str) -> str:
    """Say how a file differs from what its etag announces; empty where it does not."""
    file.flush()
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        kind, found = "SHA-256", checksum(file.name)
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        kind, found = "git hash", checksum(file.name, "sha1", b"blob %d\0" % size)
    else:
        return ""
    return "" if found == etag else f"the {kind} {found}, not {etag}"


def _repeated(work, progress: Callable[[], int]):
    """Do something that may fail for a moment, until it works or next to nothing comes any more."""
    pauses = iter(PAUSES_SECONDS)
    while True:
        before = progress()
        try:
            return work()
        except TransferError as error:
            if not error.passing:
                raise
            if progress() >= before + PROGRESS_BYTES:
                pauses = iter(PAUSES_SECONDS)
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follow redirections, but take the token to no other host, nor from https to http."""

    def __init__(self, stay: bool) -> None:
        self._stay = stay

    def redirect_request(self, request, fp, code, message, headers, url):
        old, new = urlsplit(request.full_url), urlsplit(urljoin(request.full_url, url))
        same = (old.scheme, old.netloc) == (new.scheme, new.netloc)
        if self._stay and not same or old.scheme == "https" != new.scheme:
            return None
        kept = {name: value for name, value in request.headers.items()}
        following = urllib.request.Request(new.geturl(), headers=kept,
                                           method=request.get_method())
        if same:
            for name, value in request.unredirected_hdrs.items():
                if name.lower() == "authorization":
                    following.add_unredirected_header(name, value)
        return following


@contextlib.contextmanager
def _open(url: str, token: str | None, method: str, begin: int = 0,
          stay: bool = False) -> Iterator:
    """Send a request and yield the answer, or what is known of one that leads elsewhere."""
    headers = {"User-Agent": f"sclip_seg_ros/{__version__}", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    request = urllib.request.Request(url, headers=headers, method=method)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        proxy = _proxy(url)
        handler = urllib.request.ProxyHandler({urlsplit(url).scheme: proxy[1]} if proxy else {})
        answer = urllib.request.build_opener(handler, _Redirect(stay)).open(
            request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if not (stay and 300 <= error.code < 400):
            raise _explained(error, url) from error
        answer = error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _explained(error, url) from error
    with answer:
        yield answer


def _proxy(url: str) -> tuple[str, str] | None:
    """Return the variable that names a proxy for an address, and what it says."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        for name in (variable, variable.upper()):
            if value := os.environ.get(name):
                return name, value if "://" in value else f"http://{value}"
    return None


def _explained(error: Exception, url: str) -> TransferError:
    """Turn any failure of a request into one cause."""
    host = urlsplit(url).netloc
    if isinstance(error, HTTPError) and error.code != 407 and not (
            error.code >= 500 and _proxy(url) and "X-Request-Id" not in error.headers):
        return _status(error, host)
    reason = error.reason if isinstance(error, URLError) else error
    text = first_line(reason) if isinstance(reason, BaseException) else str(reason)
    if isinstance(reason, ssl.SSLError):
        return TransferError(
            "certificate", f"the certificate of {host} is not trusted ({text})", "see that the "
            "clock is right and ca-certificates installed; behind a company's proxy name its "
            "certificates with SSL_CERT_FILE")
    if proxy := _proxy(url):
        name, address = proxy
        shown = address.rpartition("@")[2].rpartition("://")[2]
        if isinstance(error, HTTPError):
            text = f"{error.code} {error.reason}"
        elif address.lower().startswith("socks"):
            text = "SOCKS is not supported"
        return TransferError("proxy", f"the proxy '{shown}' that {name} names does not let it "
                                      f"through ({text})", f"correct or unset {name}, or list "
                                                           "the hub in NO_PROXY")
    if isinstance(reason, socket.gaierror):
        return TransferError("name", f"the name {urlsplit(url).hostname} is not resolved",
                             "connect to a network that reaches it")
    if isinstance(reason, ConnectionRefusedError):
        return TransferError("refused", f"{host} refuses the connection", "see that the hub runs "
                             "and HF_ENDPOINT is right", passing=True)
    if isinstance(reason, TimeoutError):
        return TransferError("timed out", f"{host} does not answer within {TIMEOUT_SECONDS:g} s",
                             "see that the network lets it through")
    if isinstance(reason, OSError) and reason.errno in _UNREACHABLE:
        return TransferError("unreachable", f"there is no network to {host}",
                             "connect to a network that reaches it")
    return TransferError("lost", f"the connection to {host} was lost ({text})",
                         "try again: it goes on there", passing=True)


def _status(error: HTTPError, host: str) -> TransferError:
    """Turn an answer that is not a file into a cause."""
    code = error.headers.get("X-Error-Code", "")
    if error.code == 401 and error.headers.get("X-Error-Message", "") == _BAD_TOKEN:
        variable = next((name for name in _TOKEN_VARIABLES if os.environ.get(name)), "")
        held = f"that {variable} gives" if variable else f"in '{constants.HF_TOKEN_PATH}'"
        return TransferError("token", f"{host} refuses the token {held}", ("correct or unset "
                             f"{variable}" if variable else "log in anew, or delete that file")
                             + " (public models need none)")
    if code == "GatedRepo":
        return TransferError("gated", "the repository asks for consent first", "accept its licence "
                             "on its page and set HF_TOKEN")
    if code == "RevisionNotFound":
        return TransferError("no revision", "there is no such revision", "give a branch, a tag or "
                             "a commit in all its 40 digits")
    if code == "EntryNotFound" or error.code == 404 and code != "RepoNotFound":
        return TransferError("no entry", "there is no such file", "name another")
    if error.code in (401, 404):
        return TransferError("no repository", "there is no such repository, or it is private",
                             "check its name, or set HF_TOKEN")
    if error.code == 403:
        return TransferError("gated", f"{host} forbids it (403)", "accept the licence on its page "
                             "and set HF_TOKEN to a token that may read it")
    return TransferError("status", f"{host} answers {error.code} ({error.reason})",
                         "try again later", passing=error.code == 429 or error.code >= 500)


def _no_hub(url: str, headers) -> TransferError:
    host = urlsplit(url).netloc
    if "text/html" in headers.get("Content-Type", ""):
        return TransferError("portal", f"a web page answers in place of {host}", "log in to the "
                             "network (a hotel's or company's portal) with a browser first")
    return TransferError("portal", f"{host} does not answer as a hub does", "correct HF_ENDPOINT")
