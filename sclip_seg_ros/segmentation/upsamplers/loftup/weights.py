"""Where LoftUp's weights come from: the package, the Hugging Face hub or its cache, or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.hub import MAIN, HubFile, Place, obtain, pinned_file, split_pin
from sclip_seg_ros.models.loading import loading
from sclip_seg_ros.models.weights import WeightsError, read_metadata, read_state_dict
from sclip_seg_ros.segmentation.upsamplers.feature_contract import PUBLISHED, FeatureContract

_ORGANISATION = "haiwen/loftup-"
REPOSITORY = f"{_ORGANISATION}clip"
FILE_NAME = "pytorch_model.bin"
AUTO = "auto"
BILINEAR = "bilinear"   # no weights at all: interpolation, on purpose
HUBS = ("hub", "torch-hub")  # the authors' torch.hub entry point loads the same file
EMBEDDED_FILE = EMBEDDED_FOLDER / "loftup.safetensors"
PUBLISHED_BACKBONE = "ViT-B-16-quickgelu/openai"  # what the published checkpoint was trained for

# What the authors published for other backbones, by their names, and what these are called here.
# All of them were trained on tokens before any head, of images in ImageNet's statistics.
PUBLISHED_FOR = {
    "siglip": "ViT-B-16-SigLIP/webli",
    "siglip2": "ViT-B-16-SigLIP2/webli",
    "dinov2s": "dinov2_vits14",
    "dinov2s_reg": "dinov2_vits14_reg",
    "dinov2b": "dinov2_vitb14",
    "dinov2b_reg": "dinov2_vitb14_reg",
}
_OF_HUB = "hub:"  # before one of their names

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
    known |= {model: f"{_OF_HUB}{name}" for name, model in PUBLISHED_FOR.items()}
    if backbone not in known:
        raise WeightsError(f"no LoftUp is known for '{backbone}'; train one with "
                           "sclip-train-loftup and give its path as loftup.source, name a source "
                           "(embedded, hub, hub:siglip2, bilinear), or set use_loftup to false")
    return known[backbone]


def fetch_loftup_for(backbone: str, cache_dir: str | None = None, update: bool = False) -> Path:
    """Return the published file for a model, see :func:`fetch_loftup`.

    Raises:
        WeightsError: it is out of reach, or none is known for the model.
    """
    return fetch_loftup(cache_dir=cache_dir, update=update,
                        source=resolve_source(AUTO, backbone)).path


def published_contract(source: str, backbone: str) -> FeatureContract:
    """Return the features that a source is taken to be trained on, where it states nothing.

    Args:
        source: as :func:`resolve_source` returns it.
        backbone: whose features it gets. A file for one of the authors' backbones is taken for
            theirs.
    """
    place, _, _ = split_pin(source)
    name = place.removeprefix(_OF_HUB) if place.startswith(_OF_HUB) else ""
    of_file = place not in (*HUBS, EMBEDDED) and backbone in PUBLISHED_FOR.values()
    if name in PUBLISHED_FOR or of_file:
        return FeatureContract(PUBLISHED_FOR.get(name, backbone), "plain", "imagenet")
    return PUBLISHED


def read_loftup(source: str = "hub", cache_dir: str | None = None) -> LoftUpWeights:
    """Read LoftUp's weights without running code that comes with them.

    What was fetched once is used without asking the network again, so that a robot starts offline
    at once and its weights do not change between two starts.

    Args:
        source: ``"embedded"`` (the embedded model's, which ships with the package), ``"hub"``
            (Hugging Face or its cache; ``"torch-hub"`` means the same), ``"hub:siglip2"`` and the
            like for other backbones than CLIP, or the path of a safetensors or torch file. The hub
            takes a branch, tag or commit, as in ``"hub@<commit>"``, and all of them a checksum that
            the file must have, as in
            ``"loftup.bin#sha256=..."``.
        cache_dir: folder for downloads instead of the hub's own.

    Raises:
        WeightsError: weights out of reach, cut short, with another checksum than they should
            have, or holding more than tensors.
    """
    place, revision, checksum = split_pin(source)
    if place in HUBS or place.startswith(_OF_HUB):
        with loading("LoftUp"):
            found = fetch_loftup(revision, checksum, cache_dir, source=place)
        path, origin = found.path, str(found)
    else:
        path, sha256 = pinned_file(source if place != EMBEDDED else
                                   source.replace(EMBEDDED, str(EMBEDDED_FILE)), "loftup.source")
        origin = f"{place if place == EMBEDDED else path} (SHA-256 {sha256})"
    state = _published_names(read_state_dict(path))
    return LoftUpWeights(state, read_metadata(path), origin)


def fetch_loftup(revision: str = "", checksum: str = "", cache_dir: str | None = None,
                 update: bool = False, source: str = HUBS[0]) -> HubFile:
    """Return the published file: from the cache whenever it is there, else from the hub.

    Args:
        revision: branch, tag or commit; empty for the newest, or that which the cache has.
        checksum: that the file must have; empty where none is asked for.
        cache_dir: folder for downloads instead of the hub's own.
        update: ask the hub for the newest, though the cache has one.
        source: "hub" for CLIP's, "hub:siglip2" and the like for another backbone's.

    Raises:
        WeightsError: it is out of reach, or there is none of that name.
    """
    name = source.removeprefix(_OF_HUB)
    if source not in HUBS and name not in PUBLISHED_FOR:
        raise WeightsError(f"LoftUp's authors publish none called '{name}'; write 'hub' for CLIP's "
                           f"or 'hub:' and one of {', '.join(PUBLISHED_FOR)}")
    repository = REPOSITORY if source in HUBS else f"{_ORGANISATION}{name}"
    [found] = obtain(Place(repository, revision or MAIN, checksum), [(FILE_NAME,)], "LoftUp",
                     f"download {FILE_NAME} elsewhere and give its path as loftup.source, or set "
                     "use_loftup to false, or allow the bilinear fallback", cache_dir, update)
    assert found is not None  # the group has no MAY_LACK
    return found


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
