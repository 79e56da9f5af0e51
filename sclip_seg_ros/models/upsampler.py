"""Where LoftUp's weights come from: the package, the Hugging Face hub, torch's cache, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.messages import first_line
from sclip_seg_ros.models.weights import WeightsError, read_metadata, read_state_dict, sha256

REPOSITORY = "haiwen/loftup-clip"
FILE_NAME = "pytorch_model.bin"
REVISION = "main"
AUTO = "auto"
BILINEAR = "bilinear"   # no weights at all: interpolation, on purpose
EMBEDDED_FILE = EMBEDDED_FOLDER / "loftup.safetensors"
PUBLISHED_BACKBONE = "ViT-B-16-quickgelu/openai"  # what the published checkpoint was trained for

_CHECKSUM = "#sha256="  # as pip writes it behind an address

# The authors' training code keeps the input norm as the second module of its featurizer.
_TRAINING_NORM = "model.1."


@dataclass(frozen=True)
class LoftUpWeights:
    """LoftUp's tensors under the names of the published checkpoint.

    Attributes:
        state: ``channelnorm.*`` and ``upsampler.*``.
        metadata: text metadata of a safetensors file; empty for the published torch file.
        origin: where they came from and the file's SHA-256, for logs and reports.
    """

    state: dict[str, torch.Tensor]
    metadata: dict[str, str]
    origin: str


def resolve_source(source: str, backbone: str) -> str:
    """Return where a model's LoftUp comes from: what is asked for, or with "auto" its own.

    Args:
        source: of the settings.
        backbone: as :class:`~sclip_seg_ros.models.clip.ClipModel` names it.

    Raises:
        WeightsError: "auto" for a model that no LoftUp is known for.
    """
    if source != AUTO:
        return source
    known = {EMBEDDED: EMBEDDED, PUBLISHED_BACKBONE: "hub"}
    if backbone not in known:
        raise WeightsError(f"no LoftUp is known for '{backbone}'; train one with "
                           "sclip-train-loftup and give its path as loftup.source, name a source "
                           "(embedded, hub, torch-hub, bilinear), or set use_loftup to false")
    return known[backbone]


def read_loftup(source: str = "hub", cache_dir: str | None = None) -> LoftUpWeights:
    """Read LoftUp's weights without running code that comes with them.

    Args:
        source: ``"embedded"`` (the embedded model's, which ships with the package), ``"hub"``
            (Hugging Face, its own cache), ``"torch-hub"`` (the same published file, kept in
            torch.hub's folder), or the path of a safetensors or torch file. The hubs take a
            branch, tag or commit, as in ``"hub@0123abc"``, and all of them a checksum that the
            file must have, as in ``"loftup.bin#sha256=..."``.
        cache_dir: folder for downloads instead of the hub's own.

    Raises:
        WeightsError: weights out of reach, cut short, with another checksum than they should
            have, or holding more than tensors.
    """
    place, _, checksum = source.partition(_CHECKSUM)
    hub, _, revision = place.partition("@")
    revision = revision or REVISION
    if place == EMBEDDED:
        path, origin = EMBEDDED_FILE, EMBEDDED
    elif hub == "hub":
        path, origin = _from_hub(revision, cache_dir), f"{REPOSITORY}@{revision}"
        checksum = checksum or _checksum_in_cache(path)
    elif hub == "torch-hub":
        path, origin = _from_torch_hub(revision, cache_dir), f"{REPOSITORY}@{revision}"
    else:
        path, origin = Path(place).expanduser(), place
    found = sha256(path) if path.is_file() else ""
    if found and checksum and found != checksum.lower():
        raise WeightsError(f"LoftUp's file '{path}' has the SHA-256 {found}, not {checksum}; "
                           "delete it and fetch it again, or correct loftup.source")
    state = _published_names(read_state_dict(path))
    return LoftUpWeights(state, read_metadata(path), f"{origin} (SHA-256 {found})")


def _from_hub(revision: str, cache_dir: str | None) -> Path:
    """Return the published file, from the local cache whenever it is there.

    A file that was fetched once is used without asking the network again, so that a robot starts
    offline at once and its weights do not change between two starts.
    """
    where = {"repo_id": REPOSITORY, "filename": FILE_NAME, "revision": revision,
             "cache_dir": cache_dir}
    try:
        return Path(hf_hub_download(**where, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hf_hub_download(**where))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _out_of_reach(revision, error) from error


def _checksum_in_cache(path: Path) -> str:
    """Return the SHA-256 that the hub announced for a cached file, empty if it is not known.

    Its cache names a large file's content by that; a small one's by a git hash, which is shorter.
    """
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else ""


def _from_torch_hub(revision: str, cache_dir: str | None) -> Path:
    """Fetch the file that ``loftup_clip`` of the authors' torch hub entry point loads.

    torch.hub.load would run the repository's Python code; the file it names is enough.
    """
    folder = Path(cache_dir) if cache_dir else Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / f"loftup_clip-{revision.replace('/', '-')}.bin"
    if path.is_file():
        return path
    url = f"https://huggingface.co/{REPOSITORY}/resolve/{revision}/{FILE_NAME}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, ValueError) as error:
        raise _out_of_reach(revision, error) from error
    return path


def _out_of_reach(revision: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"LoftUp weights '{REPOSITORY}@{revision}' are out of reach ({first_line(error)}); connect "
        f"to huggingface.co once, or download {FILE_NAME} elsewhere and give its path as "
        "loftup.source, or set use_loftup to false, or allow the bilinear fallback")


def _published_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn the authors' training checkpoint into the published form; leave others as they are.

    A training checkpoint also holds the CLIP tower, the downsampler and the upsampler's moving
    average, none of which inference needs.
    """
    if not any(name.startswith(_TRAINING_NORM) for name in state):
        return state
    kept = {name: value for name, value in state.items() if name.startswith("upsampler.")}
    kept.update({f"channelnorm.{name.removeprefix(_TRAINING_NORM)}": value
                 for name, value in state.items() if name.startswith(_TRAINING_NORM)})
    return kept
