"""Which published weights a file holds, by its content and whatever it is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg, get_pretrained_url

from sclip_seg_ros.models.hub import repository_of
from sclip_seg_ros.models.names import QUICK, tags_of_repositories, with_activation
from sclip_seg_ros.models.weights import WeightsError

MANIFEST = "sclip.json"  # beside weights that sclip-fetch wrote


@dataclass(frozen=True)
class Origin:
    """Where a model's weights come from; all that is known of it, and the rest empty.

    Attributes:
        path: of the file.
        sha256: of the file.
        architecture, tag: in open_clip's spelling, where they are published weights.
        repository, commit: of the hub they were fetched from.
        licence: as the hub states it.
        upsamplers, proxies: paths of what was fetched along with them, by name.
    """

    path: Path
    sha256: str
    architecture: str = ""
    tag: str = ""
    repository: str = ""
    commit: str = ""
    licence: str = ""
    upsamplers: dict[str, Path] = field(default_factory=dict)
    proxies: dict[str, Path] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """What open_clip knows of published weights: activation, statistics; else empty."""
        return get_pretrained_cfg(self.architecture, self.tag) if self.tag else {}

    @property
    def name(self) -> str:
        """Architecture and tag, e.g. "ViT-B-16-quickgelu/openai"; else empty."""
        quick = bool(self.config.get("quick_gelu"))
        return f"{with_activation(self.architecture, quick)}/{self.tag}" if self.tag else ""

    def __str__(self) -> str:
        place = f"{self.repository}@{self.commit} " if self.repository else ""
        return f"{place}'{self.path}' (SHA-256 {self.sha256})"


def origin_of(path: Path, sha256: str, architecture: str = "") -> Origin:
    """Find out which published weights a file holds.

    Evidence is the file that sclip-fetch left beside it, its checksum if the publisher states it in
    the address, or the repository of the cache that it lies in, in this order.

    Args:
        path: of the file.
        sha256: of its content.
        architecture: that the user names; one of another architecture is not recognised.
    """
    stated = read_manifest(path.parent)
    repository, commit = repository_of(path) or ("", "")
    plain = architecture.removesuffix(QUICK)
    if stated.get("files", {}).get(path.name) == sha256:
        candidates = [(stated.get("architecture", ""), stated.get("pretrained", ""))]
        repository, commit = stated.get("repository", ""), stated.get("commit", "")
    else:
        candidates, stated = [*_published(sha256)], {}
        if repository in tags_of_repositories():
            candidates.append(tags_of_repositories()[repository])
    name, tag = next(((name, tag) for name, tag in candidates
                      if tag and plain in ("", name.removesuffix(QUICK))), ("", ""))
    upsamplers, proxies = ({name: path.parent / file for name, file in stated.get(kind, {}).items()}
                           for kind in ("upsamplers", "proxies"))
    return Origin(path, sha256, name, tag, repository, commit, stated.get("licence", ""),
                  upsamplers, proxies)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what sclip-fetch says of a folder's weights; empty where it did not make it.

    Raises:
        WeightsError: a file of its that cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"'{path}' cannot be read ({error}); make the folder again with "
                           "sclip-fetch") from error
    return found if isinstance(found, dict) else {}


def _published(sha256: str) -> Iterator[tuple[str, str]]:
    return (found for checksum, found in _checksums().items() if sha256.startswith(checksum))


@lru_cache(1)
def _checksums() -> dict[str, tuple[str, str]]:
    """Return architecture and tag by checksum, which some publishers put into the address.

    OpenAI's addresses hold the whole SHA-256, open_clip's own the first eight digits.
    """
    found: dict[str, tuple[str, str]] = {}
    for architecture, tag in open_clip.list_pretrained():
        url = get_pretrained_url(architecture, tag)
        if "openaipublic" in url:
            found.setdefault(url.split("/")[-2], (architecture, tag))
        elif "mlfoundations" in url:
            found.setdefault(Path(url).stem.rpartition("-")[2], (architecture, tag))
    return found
