"""Fetch a model ahead: into the cache, or into a folder that a robot runs from without a network.

    sclip fetch --model ViT-B/16 --upsampler loftup --to /data/clip
    sclip fetch --proxy dinov2_vitb14
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program
from sclip_seg_ros.common.text import in_number

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_seg_ros.tools.fetch", "sclip-fetch"))

import argparse
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sclip_seg_ros.models import EMBEDDED, RANDOM, ClipModel, load_clip
from sclip_seg_ros.models.clip import WEIGHTS
from sclip_seg_ros.models.hub import HubError, Place, cache_folder, list_cached, obtain
from sclip_seg_ros.models.identity import MANIFEST, Origin
from sclip_seg_ros.models.loading import megabytes
from sclip_seg_ros.models.recipe import CONFIG, SUITS, TEXT_FOLDER
from sclip_seg_ros.models.weights import WeightsError, checksum, is_safetensors
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.backbones.proxies.weights import fetch_proxy
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS
from sclip_seg_ros.tools.arguments import UsageError, filled
from sclip_seg_ros.tools.console import readable
from sclip_seg_ros.tools.program import Program

FETCHED = {name: kind.fetch for name, kind in UPSAMPLERS.items() if kind.fetch}
_SPARE = 10_000_000  # bytes that stay free on the disk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--model", help="as the node takes it, e.g. ViT-B/16 or hf-hub:ORG/REPO")
    parser.add_argument("--pretrained", default="", help="tag, e.g. openai@COMMIT, or a file")
    parser.add_argument("--upsampler", action="append", choices=FETCHED, default=[],
                        help="fetch its weights, too; may be given twice")
    parser.add_argument("--proxy", action="append", choices=list(PROXIES), default=[],
                        metavar="NAME", help="fetch a second tower, for use_proxy; may be given "
                        f"again: {', '.join(PROXIES)}")
    parser.add_argument("--to", type=Path, metavar="FOLDER",
                        help="make a folder that model:=local-dir:FOLDER runs from; without it the "
                             "cache is filled")
    parser.add_argument("--update", action="store_true",
                        help="ask the hub for newer weights, though the cache has some")
    parser.add_argument("--list", action="store_true", help="list what the cache holds, and end")
    parser.add_argument("--cache-dir", type=filled, metavar="FOLDER", default=None,
                        help="cache, instead of $HF_HOME/hub")


def check(parsed: argparse.Namespace) -> None:
    """Refuse flags that do not go together.

    Raises:
        UsageError: naming them.
    """
    if not parsed.list and not parsed.model and not parsed.proxy:
        raise UsageError("there is nothing to fetch; give --model, e.g. --model ViT-B/16, --proxy, "
                         "or --list")
    for flag, value in (("--to", parsed.to), ("--upsampler", parsed.upsampler)):
        if value and not parsed.model:
            raise UsageError(f"{flag} needs a model that it is for; give --model too, e.g. "
                             "--model ViT-B/16")
    if parsed.model == EMBEDDED:
        raise UsageError("--model embedded ships with the package; give another to fetch")
    if parsed.pretrained == RANDOM:
        raise UsageError("--pretrained random is fetched from nowhere; give a tag, e.g. openai")
    if parsed.to and parsed.to.exists() and not parsed.to.is_dir():
        raise UsageError(f"--to '{parsed.to}' is a file; give a folder")


def run(parsed: argparse.Namespace) -> int:
    """List the cache, or fetch and say what is where."""
    if parsed.list:
        _list(parsed.cache_dir)
        return 0
    proxies = {name: fetch_proxy(name, cache_dir=parsed.cache_dir, update=parsed.update)
               for name in parsed.proxy}
    for name, found in proxies.items():
        print(f"{name}: {found}")
    if not parsed.model:
        return 0
    clip = load_clip(parsed.model, parsed.pretrained, cache_dir=parsed.cache_dir,
                     accept=lambda model: backbone_of(model.visual), update=parsed.update)
    origin = clip.origin
    assert origin is not None  # None is of random weights
    upsamplers = {name: FETCHED[name](clip.name, parsed.cache_dir, parsed.update)
                  for name in parsed.upsampler}
    print(f"{clip.name}: {origin}")
    for name, path in upsamplers.items():
        print(f"{name}: '{readable(path)}' (SHA-256 {checksum(path)})")
    if parsed.to is not None:
        write_folder(parsed.to.expanduser(), clip, upsamplers,
                     {name: found.path for name, found in proxies.items()},
                     _licence(origin, parsed.cache_dir))
        print(f"runs from there: model:=local-dir:{readable(parsed.to.expanduser().resolve())}")
    return 0


def write_folder(folder: Path, clip: ClipModel, upsamplers: dict[str, Path],
                 proxies: dict[str, Path], licence: str) -> None:
    """Copy a model and all it needs into a folder of its own.

    Raises:
        OSError: there is no room, or the folder cannot be written to.
        WeightsError: a copy differs from what was copied.
    """
    origin = clip.origin
    assert origin is not None
    files = {WEIGHTS[0] if is_safetensors(origin.path) else WEIGHTS[1]: origin.path}
    files.update({f"{name}{path.suffix}": path for name, path in upsamplers.items()})
    files.update({f"proxy_{name}{path.suffix}": path for name, path in proxies.items()})
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = (sum(path.stat().st_size for path in files.values()),
                    shutil.disk_usage(folder).free)
    if free < needed + _SPARE:
        raise WeightsError(f"there is no space in '{folder}' ({megabytes(needed)} needed, "
                           f"{megabytes(free)} free); make room, or give another folder")
    (folder / MANIFEST).unlink(missing_ok=True)  # until all is there
    checksums = {name: _copied(path, folder / name) for name, path in files.items()}
    for stale in WEIGHTS:
        if stale not in files:
            (folder / stale).unlink(missing_ok=True)
    write_configuration(folder, clip)
    _write(folder / MANIFEST, {
        "architecture": origin.architecture, "pretrained": origin.tag,
        "repository": origin.repository, "commit": origin.commit, "licence": licence,
        "files": checksums, "upsamplers": {name: f"{name}{path.suffix}"
                                           for name, path in upsamplers.items()},
        "proxies": {name: f"proxy_{name}{path.suffix}" for name, path in proxies.items()}})


def write_configuration(folder: Path, clip: ClipModel,
                        suits: Mapping[str, Any] | None = None) -> None:
    """Write what a folder of weights needs beside them: configuration, and the tokenizer's files.

    Args:
        folder: where they go.
        clip: whose they are.
        suits: settings that suit the weights, where these are not the model's own.

    Raises:
        WeightsError: a copy differs from what was copied.
    """
    if clip.text_folder is not None:
        (folder / TEXT_FOLDER).mkdir(exist_ok=True)
        for path in clip.text_folder.iterdir():
            if path.is_file() and path.suffix in (".json", ".txt", ".model"):
                _copied(path, folder / TEXT_FOLDER / path.name)
    stated = clip.suits if suits is None else suits
    _write(folder / CONFIG, {"model_cfg": clip.config, "preprocess_cfg": {
        "mean": clip.mean, "std": clip.std}} | ({SUITS: dict(stated)} if stated else {}))


def _licence(origin: Origin, cache_dir: str | None) -> str:
    """Return the licence as a repository's page states it; empty where it cannot be asked."""
    if not origin.repository:
        return ""
    try:
        [page] = obtain(Place(origin.repository, origin.commit or "main"), [("README.md",)],
                        "its licence", cache_dir=cache_dir)
    except HubError as error:
        if error.kind != "no entry":
            print(f"{PROGRAM.name}: its licence is not known: {error}", file=sys.stderr)
        return ""
    if page is None:
        return ""
    head = page.path.read_text(encoding="utf-8", errors="replace").split("---")[1:2]
    stated = dict(re.findall(r"^(license\w*): *[\"']?(.+?)[\"']?$", "".join(head), re.MULTILINE))
    return stated.get("license_name") or stated.get("license", "")


def _copied(source: Path, target: Path) -> str:
    """Copy a file as a whole or not at all; return its checksum."""
    half = target.with_name(f"{target.name}.incomplete")
    shutil.copyfile(source, half)
    found = checksum(half)
    if found != checksum(source):
        raise WeightsError(f"'{half}' is no true copy of '{source}'; see to that disk")
    half.replace(target)
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _list(cache_dir: str | None) -> None:
    found = list_cached(cache_dir)
    print(f"{in_number(len(found), 'commit')} in '{readable(cache_folder(cache_dir))}'")
    for snapshot in found:
        size = megabytes(sum(snapshot.files.values()))
        note = "" if snapshot.current else ", not what 'main' stands for"
        print(f"{snapshot.repository}@{snapshot.commit}: {size}{note}")
        for name, length in snapshot.files.items():
            print(f"    {name}  {megabytes(length)}")


PROGRAM = Program(
    "sclip-fetch", "Fetch a model ahead: into the cache, or into a folder that a robot runs from "
    "without a network.",
    "sclip-fetch --model ViT-B/16 --upsampler loftup --to /data/clip", add_arguments, run, check,
    interrupted="interrupted; the same command goes on where the download was")
main = PROGRAM
