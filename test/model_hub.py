"""A model hub on loopback, as tests need it: it counts requests, and fails as real ones do."""

from __future__ import annotations

import atexit
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import open_clip
import torch
from open_clip import pretrained as published
from safetensors.torch import save_file
from tiny_clip import ARCHITECTURE

from sclip_seg_ros.models.weights import checksum

TINY, REPOSITORY = "tiny-hub-ViT", "tests/tiny.openai"
BIN_ONLY = "tests/tiny.bin_only"
STATISTICS = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}  # of the tag alone


@dataclass(frozen=True)
class Published:
    """A model as the hub has it: OpenAI's weights, and others that are not safetensors.

    Attributes:
        model: architecture, as open_clip calls it.
        repository: of the tag "openai".
        bin_only, bin_only_repository: a tag of weights in torch's format alone, and where it lies.
        statistics: of the images.
    """

    model: str
    repository: str
    bin_only: str
    bin_only_repository: str
    statistics: dict[str, tuple[float, float, float]]

    @property
    def config(self) -> dict[str, Any]:
        """open_clip's ``model_cfg``."""
        return open_clip.get_model_config(self.model) or ARCHITECTURE


SMALL = Published(TINY, REPOSITORY, "bin_only", BIN_ONLY, STATISTICS)
FULL = Published(  # by their real names, 599 MB each
    "ViT-B-16", "timm/vit_base_patch16_clip_224.openai", "dfn2b", "apple/DFN2B-CLIP-ViT-B-16",
    {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD})
_SMALL = (".json", ".txt", ".md")  # kept in git itself: sent at once, and hashed as git does


@dataclass
class Faults:
    """What goes wrong; only for paths that contain ``only``.

    Attributes:
        status: HTTP status in place of an answer, with ``code`` as its X-Error-Code, and
            ``message`` as its X-Error-Message.
        page: every answer is a login page.
        die_after: bytes of a file after which the connection is closed, ``deaths`` times.
        silent_after: bytes after which nothing comes any more, for as long.
        short: bytes that the storage has lost at a file's end.
        flip: a byte in the middle differs.
        no_range: requests for a part get the whole.
        no_size: the size is not announced.
        rate: bytes a second.
    """

    only: str = ""
    status: int = 0
    code: str = ""
    message: str = ""
    page: bool = False
    die_after: int = 0
    deaths: int = 10**9
    silent_after: int = 0
    short: int = 0
    flip: bool = False
    no_range: bool = False
    no_size: bool = False
    rate: float = 0.0


@dataclass
class ModelHub:
    """Serve ``<folder>/<organisation>/<repository>/<file>`` as a hub does.

    Attributes:
        folder: of the repositories; a change of files is a new commit.
        requests: "<method> <path>" of each, in order.
        tokens: the Authorization header of each, in the same order.
        faults: may be replaced at any time.
        on_send: called with the headers of each request for a large file.
        published: what :meth:`publish_clip` publishes.
    """

    folder: Path
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    on_send: Callable[[Any], object] = lambda headers: None
    published: Published = SMALL

    def __post_init__(self) -> None:
        """Start to serve."""
        self.gone = threading.Event()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        """Port on 127.0.0.1; the files' storage is "localhost", another host."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """What HF_ENDPOINT names."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def model(self) -> str:
        """Architecture of what is published."""
        return self.published.model

    @property
    def repository(self) -> str:
        """Repository of its tag "openai"."""
        return self.published.repository

    def stop(self) -> None:
        """Go away for good; connections are refused from now on."""
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repository: str) -> str:
        """Return the commit of a repository: a hash of all its files."""
        digest = hashlib.sha1()
        for path in sorted((self.folder / repository).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + sha256_of(path).encode())
        return digest.hexdigest()

    def publish(self, repository: str, files: dict[str, bytes | Path]) -> None:
        """Add or replace files of a repository: contents, or files to be linked there."""
        for name, content in files.items():
            path = self.folder / repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                os.link(content, path)
            sha256_of(path)  # so that it is known when it is asked for

    def publish_clip(self, seed: int = 0) -> dict[str, torch.Tensor]:
        """Publish the tag "openai" in open_clip's layout; return its weights."""
        return self._publish(self.published.repository, "open_clip_model.safetensors", seed)

    def publish_bin_only(self, seed: int = 1) -> dict[str, torch.Tensor]:
        """Publish the other tag; return its weights."""
        return self._publish(self.published.bin_only_repository, "open_clip_pytorch_model.bin",
                             seed)

    def _publish(self, repository: str, file: str, seed: int) -> dict[str, torch.Tensor]:
        weights, path = _weights(self.published.model, seed, file.endswith(".safetensors"))
        config = json.dumps({"model_cfg": {**self.published.config, "quick_gelu": True},
                             "preprocess_cfg": self.published.statistics})
        self.publish(repository, {file: path, "open_clip_config.json": config.encode(),
                                  "README.md": b"---\nlicense: mit\n---\nRandom.\n"})
        return weights


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as it stays as it is."""
    found = path.stat()
    return _sha256(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache
def _sha256(path: Path, *identity: int) -> str:
    return checksum(path)


@lru_cache(1)
def _state(model: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = open_clip.CLIP(**(open_clip.get_model_config(model) or ARCHITECTURE))
    return {name: value.clone().contiguous() for name, value in network.state_dict().items()}


@lru_cache
def _weights(model: str, seed: int, safe: bool) -> tuple[dict[str, torch.Tensor], Path]:
    """Return random weights of a model, another for each seed, and a file that holds them."""
    noise = torch.Generator().manual_seed(seed)
    weights = dict(_state(model))
    shape = weights["visual.class_embedding"].shape
    weights["visual.class_embedding"] = torch.randn(shape, generator=noise)
    path = _folder() / f"{model}-{seed}.{'safetensors' if safe else 'bin'}"
    save_file(weights, path) if safe else torch.save(weights, path)
    return weights, path


@lru_cache(1)
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="sclip-hub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: ModelHub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    do_GET = do_HEAD

    def _serve(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        faults = hub.faults if hub.faults.only in path else Faults()
        hub.requests.append(f"{self.command} {path}")
        hub.tokens.append(self.headers.get("Authorization"))
        parts = path.strip("/").split("/")
        if faults.page:
            self._answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
        elif faults.status:
            told = {"X-Error-Code": faults.code, "X-Error-Message": faults.message}
            self._answer(faults.status, {name: text for name, text in told.items() if text})
        elif parts[0] == "storage":
            self._send(hub.folder / "/".join(parts[1:]), faults)
        elif len(parts) < 5 or parts[2] != "resolve":
            self._answer(404)
        else:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), faults)

    def _resolve(self, repository: str, revision: str, name: str, faults: Faults) -> None:
        hub = self.server_hub
        if not (hub.folder / repository).is_dir():
            return self._answer(401, {"X-Error-Code": "RepoNotFound"})
        commit = hub.commit(repository)
        common = {"X-Repo-Commit": commit}
        if revision not in ("main", commit):
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        path = hub.folder / repository / name
        if not path.is_file():
            return self._answer(404, {**common, "X-Error-Code": "EntryNotFound"})
        if name.endswith(_SMALL):
            content = path.read_bytes()
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return self._answer(200, {**common, "ETag": f'"{etag}"'}, content)
        size = {} if faults.no_size else {"X-Linked-Size": str(path.stat().st_size)}
        return self._answer(302, {
            **common, **size, "X-Linked-Etag": f'"{sha256_of(path)}"',
            "Location": f"http://localhost:{hub.port}/storage/{repository}/{name}"})

    def _send(self, path: Path, faults: Faults) -> None:
        self.server_hub.on_send(self.headers)
        with open(path, "rb") as file:
            private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        if faults.flip:
            private[len(private) // 2] ^= 255
        content = memoryview(private)[:len(private) - faults.short]
        begin, asked = 0, self.headers.get("Range")
        if asked and not faults.no_range:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = content[begin:]
        if faults.rate:
            step = max(1 << 14, int(faults.rate / 100))
            for start in range(0, len(rest), step):
                self.wfile.write(rest[start:start + step])
                if self.server_hub.gone.wait(step / faults.rate):
                    return
        elif faults.silent_after and faults.deaths > 0:
            faults.deaths -= 1
            self.wfile.write(rest[:faults.silent_after])
            self.wfile.flush()
            self.server_hub.gone.wait(60)
        elif faults.die_after and faults.deaths > 0:
            faults.deaths -= 1
            self.wfile.write(rest[:faults.die_after])
            self.close_connection = True
        else:
            self.wfile.write(rest)

    def _answer(self, status: int, headers: dict[str, str] | None = None,
                body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class RefusingProxy:
    """A proxy that lets nothing through, with a status."""

    def __init__(self, status: int) -> None:
        """Start to refuse."""
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(status, "refused")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_CONNECT = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()


def register_tiny(folder: Path) -> None:
    """Have open_clip know a tiny architecture with published tags, as it knows the large ones."""
    for name, extra in ((TINY, {}), (f"{TINY}-quickgelu", {"quick_gelu": True})):
        (folder / f"{name}.json").write_text(json.dumps({**ARCHITECTURE, **extra}))
    open_clip.add_model_config(folder)
    tag = {"hf_hub": f"{REPOSITORY}/", "quick_gelu": True, "interpolation": "bicubic",
           "resize_mode": "shortest", **STATISTICS}
    published._PRETRAINED[TINY] = {"openai": tag, "bin_only": {**tag, "hf_hub": f"{BIN_ONLY}/"}}
    published._PRETRAINED[f"{TINY}-quickgelu"] = published._PRETRAINED[TINY]
