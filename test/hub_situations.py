"""What a network, a hub, a disk and a cache can do to a robot that wants its weights.

Each situation is made of a hub and pytest's monkeypatch.
"""

from __future__ import annotations

import errno
import shutil
import socket
from pathlib import Path

import huggingface_hub
import torch
from checkpoints import random_state
from model_hub import Faults, RefusingProxy

from sclip_seg_ros.models import transfer
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUpSizes
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import FILE_NAME
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import REPOSITORY as LOFTUP

FILE = "open_clip_model.safetensors"
SIZES = LoftUpSizes(32, frequencies=6, position_frequencies=3, depth=1, hidden=32)


def cache(hub) -> Path:
    return hub.folder.parent / "cache"


def holds(clip, weights) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in clip.model.state_dict().items())


def publish_loftup(hub, seed=0, sizes=SIZES) -> None:
    (hub.folder / LOFTUP).mkdir(parents=True, exist_ok=True)
    torch.save(random_state(sizes, seed), hub.folder / LOFTUP / FILE_NAME)


def silent_port() -> tuple[socket.socket, int]:
    """Return a server that accepts connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def gone(hub, monkeypatch):
    hub.stop()


def silent(hub, monkeypatch):
    server, port = silent_port()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    hub.kept = server


def offline_variable(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def refusing_proxy(hub, monkeypatch):
    hub.kept = RefusingProxy(407)
    monkeypatch.setenv("HTTP_PROXY", hub.kept.url)


def socks_proxy(hub, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")


def garbage_proxy(hub, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense")


def server_error(hub, monkeypatch):
    hub.faults = Faults(status=503)


def newer(hub, monkeypatch):
    hub.publish_clip(seed=9)
    hub.publish(hub.published.bin_only_repository, {"README.md": b"edited"})
    publish_loftup(hub, seed=9)


def read_only(hub, monkeypatch):
    newer(hub, monkeypatch)
    for path in sorted(cache(hub).rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o555)


def fine(hub, monkeypatch):
    pass


def refuse_network(*arguments, **options):
    raise AssertionError(f"the network was asked: {arguments}")


def unresolved(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://no-such-host.invalid")


def no_scheme(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "hf-mirror.com")


def no_space(hub, monkeypatch):
    usage = shutil.disk_usage(hub.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))


def full_while_writing(hub, monkeypatch):
    def pull(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_pull", pull)


def not_writable(hub, monkeypatch):
    cache(hub).write_text("a file in the folder's place")


def swallowed(hub, monkeypatch):
    silent(hub, monkeypatch)


def refused_token(variable):
    """A token that has been withdrawn, in a variable or in the file that a login leaves."""
    def situation(hub, monkeypatch):
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        if variable:
            monkeypatch.setenv(variable, "hf_old")
        else:
            path = hub.folder.parent / "token"
            path.write_text("hf_old")
            monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(path))
        hub.faults = Faults(status=401, message="Invalid credentials in Authorization header")
    return situation


def proxied(status):
    def situation(hub, monkeypatch):
        hub.kept = RefusingProxy(status)
        monkeypatch.setenv("http_proxy", hub.kept.url.replace("http://", "http://me:secret@"))
    return situation


def with_faults(**faults):
    def situation(hub, monkeypatch):
        hub.faults = Faults(**faults)
    return situation
