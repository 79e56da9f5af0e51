"""The proxy's weights: from the hub, its cache, or a file."""

from __future__ import annotations

import logging
import uuid
from contextlib import nullcontext
from pathlib import Path

from sclip_seg_ros.models.hub import MAIN, HubFile, Place, obtain, pinned_file, split_pin
from sclip_seg_ros.models.loading import loading
from sclip_seg_ros.models.recipe import Undrawn
from sclip_seg_ros.models.weights import WeightsError, read_state_dict
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES, ProxySettings
from sclip_seg_ros.segmentation.backbones.proxies.towers import (
    Proxy,
    build_network,
    proxy_names_of_authors,
)

HUB, RANDOM = "hub", "random"
_FILES = ("model.safetensors", "pytorch_model.bin")

_log = logging.getLogger(__name__)


def load_proxy(settings: ProxySettings, cache_dir: str | None = None) -> Proxy:
    """Load a proxy's weights into main memory, without running code that comes with them.

    Args:
        settings: which tower, and from where.
        cache_dir: folder for downloads instead of the hub's own.

    Raises:
        WeightsError: they are out of reach, have another checksum than they should, or do not fit.
    """
    drawn = settings.source == RANDOM
    with nullcontext() if drawn else Undrawn():
        network = build_network(settings.model).eval().requires_grad_(False)
    if drawn:
        _log.warning("proxy '%s' has RANDOM weights, as asked: its labels mean nothing",
                     settings.model)
        return Proxy(settings.model, network, f"{RANDOM} {uuid.uuid4().hex}")
    with loading(settings.model):
        path, origin = _file(settings, cache_dir)
        state = proxy_names_of_authors(read_state_dict(path))
    wanted = network.state_dict()
    foreign = [name for name in wanted if name not in state
               or state[name].shape != wanted[name].shape]
    foreign += [name for name in state if name not in wanted]
    if foreign:
        raise WeightsError(f"'{path}' does not fit the proxy '{settings.model}' ({foreign[0]} "
                           "differs); name the tower these weights are of as proxy.model, or give "
                           "its own file")
    network.load_state_dict(state)
    _log.info("proxy %s loaded from %s", settings.model, origin)
    return Proxy(settings.model, network, origin)


def fetch_proxy(name: str, revision: str = "", checksum: str = "", cache_dir: str | None = None,
                update: bool = False) -> HubFile:
    """Return a proxy's published file: from the cache whenever it is there, else from the hub.

    Args:
        name: key in :data:`table.PROXIES`.
        revision: branch, tag or commit; empty for the newest, or that which the cache has.
        checksum: that the file must have; empty where none is asked for.
        cache_dir: folder for downloads instead of the hub's own.
        update: ask the hub for the newest, though the cache has one.

    Raises:
        WeightsError: it is out of reach.
    """
    [found] = obtain(Place(PROXIES[name].repository, revision or MAIN, checksum), [_FILES], name,
                     f"run 'sclip-fetch --proxy {name}' where there is a network, give the path of "
                     "its file as proxy.source, or set use_proxy to false", cache_dir, update)
    assert found is not None  # the group has no MAY_LACK
    return found


def _file(settings: ProxySettings, cache_dir: str | None) -> tuple[Path, str]:
    """Return the weights' file and what is known of it."""
    place, revision, checksum = split_pin(settings.source)
    if place == HUB:
        found = fetch_proxy(settings.model, revision, checksum, cache_dir)
        return found.path, str(found)
    path, sha256 = pinned_file(settings.source, "proxy.source")
    return path, f"{path} (SHA-256 {sha256})"
