"""Load a CLIP model, its tokenizer and its image normalisation."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer
from torch import nn

from sclip_seg_ros.common.libraries import remedy_for
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.models import hub
from sclip_seg_ros.models.devices import resolve_device
from sclip_seg_ros.models.hub import MAIN, MAY_LACK, Place, obtain, pinned_file, split_pin
from sclip_seg_ros.models.identity import Origin, origin_of
from sclip_seg_ros.models.layouts import LayoutError, adapted, image_side
from sclip_seg_ros.models.loading import loading
from sclip_seg_ros.models.names import (
    QUICK,
    architecture_of,
    family_of,
    repository_of_tag,
    split_tag,
    tag_of,
    with_activation,
)
from sclip_seg_ros.models.recipe import (
    CONFIG,
    THEIR_CONFIG,
    THEIR_STATISTICS,
    TOKENIZER_FILES,
    Recipe,
    build,
    read_recipe,
    recipe_of,
)
from sclip_seg_ros.models.weights import WeightsError, checksum, is_part, read_state_dict

EMBEDDED = "embedded"
RANDOM = "random"
OPENAI = "openai"
DENSE_LOGIT_SCALE = 40.0  # SCLIP's for data without a background class; CLIP's own 100 is too sharp
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
# There is no telling a photo from a rendered room by simple means, so this is said in any case.
EMBEDDED_HINT = ("the embedded model knows nothing but rendered rooms, and its labels of a "
                 "camera's pictures or of photos mean nothing; name another model for them, e.g. "
                 "'ViT-B/16'")

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_THEIR_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
# What lies beside weights under such a suffix: upsamplers, proxies, a trainer's own state.
_OTHER_FILES = (".", "loftup", "anyup", "proxy", "optimizer", "scheduler", "scaler", "rng_state",
                "training_args")
_TOWER_FILES = (("config.json",),)  # of a text tower that transformers builds
# Families trained with QuickGELU; their files do not say so. MetaCLIP 2 (but for ViT-H/14 at 224
# pixels, which its tag tells), MetaCLIP "altogether" and DFN "39B" went back to GELU.
_QUICK_GELU_ORIGIN = re.compile(r"openai|metaclip(?!2|.*altogether)|dfn[25]b(?!.*39b)",
                                re.IGNORECASE)
_KNOWN_ORIGIN = re.compile(r"openai|metaclip|dfn|laion|datacomp|commonpool", re.IGNORECASE)
# Numbers that OpenAI's own archives keep beside their weights, and nobody else's do.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")

_log = logging.getLogger(__name__)

Accept = Callable[[nn.Module], object]


@dataclass(frozen=True)
class ClipModel:
    """A CLIP model ready for inference.

    Attributes:
        model: open_clip model in evaluation mode; ``visual`` is its image tower.
        tokenize: texts, and optionally another context length, to token ids (N, context length),
            int64.
        mean, std: channel statistics of the training images, RGB in 0..1.
        name: architecture and weights, e.g. ``"ViT-B-16-quickgelu/openai"``.
        logit_scale: inverse softmax temperature for dense scores.
        origin: where the weights come from; None for random ones.
        config: open_clip's ``model_cfg`` of the model as it runs.
        text_folder: of the tokenizer's files, where the model has another than CLIP's own.
        suits: settings that its configuration states for it, by name.
    """

    model: nn.Module
    tokenize: Callable[..., torch.Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    logit_scale: float = DENSE_LOGIT_SCALE
    origin: Origin | None = None
    config: dict[str, Any] = field(default_factory=dict)
    text_folder: Path | None = None
    suits: dict[str, Any] = field(default_factory=dict)


def load_clip(model: str = EMBEDDED, pretrained: str = "",
              device: str | torch.device = "cpu", cache_dir: str | None = None,
              accept: Accept | None = None, update: bool = False) -> ClipModel:
    """Load a CLIP model; never leaves a weight at random unless asked for by name.

    Weights in the cache are used without asking the hub.

    Args:
        model: ``"embedded"`` (ships with the package), any open_clip architecture such as
            ``"ViT-B/16"``, or ``"hf-hub:<org>/<repo>"`` / ``"local-dir:<folder>"`` in open_clip's
            or transformers' layout.
        pretrained: an open_clip tag (``"openai"``, ``"metaclip_400m"``), the path of a
            safetensors, torch or TorchScript file, or literally ``"random"``. Empty means
            ``"openai"`` for a named architecture; it must be empty where ``model`` brings its own
            weights. Tags and repositories take a commit and all take a checksum, as in
            ``"openai@<commit>#sha256=..."``.
        device: torch device, or "auto".
        cache_dir: folder for downloads instead of ``$HF_HOME/hub``.
        accept: called with the model before its weights are fetched; raises ValueError for one
            that the caller cannot use.
        update: ask the hub for newer weights, though the cache has some.

    Raises:
        WeightsError: unknown architecture or tag, weights out of reach, or a file that does not
            fit the architecture. The message names the remedy.
        ValueError: arguments that are not text, or an unusable device.
    """
    for argument, value in (("model", model), ("pretrained", pretrained)):
        if not isinstance(value, str):
            raise ValueError(f"{argument}={value!r} is of type {type(value).__name__}; give a text "
                             "such as 'embedded' for the model, '' or 'openai' for pretrained")
    device = resolve_device(device)
    with loading(model):
        loader = _Loader(model, pretrained, cache_dir, accept or (lambda network: None), update)
        loaded = loader.load(*split_tag(model, pretrained))
        network = loaded.network.to(device).eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(network)
    # The embedded model was trained through the dense head: its own temperature is right.
    scale = float(network.logit_scale.exp()) if loaded.name == EMBEDDED else DENSE_LOGIT_SCALE
    if loaded.name == EMBEDDED:
        _log.info("%s", EMBEDDED_HINT)
    elif loaded.origin:
        _log.info("weights of '%s': %s", loaded.name, loaded.origin)
    return ClipModel(model=network, tokenize=loaded.tokenize, mean=tuple(preprocess["mean"]),
                     std=tuple(preprocess["std"]), name=loaded.name, logit_scale=scale,
                     origin=loaded.origin, config=loaded.config, text_folder=loaded.text_folder,
                     suits=loaded.suits)


@dataclass
class _Loaded:
    """A model whose weights are there."""

    network: nn.Module
    tokenize: Callable[..., torch.Tensor]
    name: str
    config: dict[str, Any]
    text_folder: Path | None
    suits: dict[str, Any]
    origin: Origin | None = None


class _Loader:
    """Build a model, see that it can be used, and only then get its weights."""

    def __init__(self, model: str, pretrained: str, cache_dir: str | None,
                 accept: Accept, update: bool) -> None:
        self._spelling, self._pretrained = model, pretrained
        self._cache_dir, self._accept, self._update = cache_dir, accept, update

    def load(self, model: str, pretrained: str) -> _Loaded:
        """Load a model from wherever it is said to come from."""
        if model == EMBEDDED:
            self._refuse_pretrained(pretrained)
            return self._folder(EMBEDDED_FOLDER, EMBEDDED, pretrained)
        scheme, colon, place = model.partition(":")
        if not colon or scheme in ("http", "https"):
            return self._named(architecture_of(model), pretrained)
        if scheme not in ("hf-hub", "local-dir") or not place \
                or scheme == "hf-hub" and not re.fullmatch(r"[^/]+/[^/]+", place):
            raise WeightsError(f"model '{model}' is unknown; write 'hf-hub:<org>/<repo>', "
                               "'local-dir:<folder>', or an architecture such as 'ViT-B/16'")
        self._refuse_pretrained(pretrained)
        if scheme == "local-dir":
            folder = Path(place).expanduser()
            return self._folder(folder, f"local-dir:{folder}", pretrained)
        return self._repository(place, pretrained)

    def _refuse_pretrained(self, pretrained: str) -> None:
        if pretrained and pretrained != RANDOM:
            raise WeightsError(f"model '{self._spelling}' brings its own weights, so pretrained="
                               f"'{pretrained}' cannot apply; leave pretrained empty or name an "
                               "architecture")

    def _folder(self, folder: Path, name: str, pretrained: str) -> _Loaded:
        """Load the configuration and the weights in a folder."""
        config = next((folder / file for file in (CONFIG, THEIR_CONFIG)
                       if (folder / file).is_file()), None)
        if config is None:
            raise WeightsError(f"model '{self._spelling}' has no '{folder}/{CONFIG}'; give a "
                               "folder saved by open_clip, sclip-fetch or transformers")
        recipe = read_recipe(config, self._spelling)
        if pretrained == RANDOM:
            return self._at_random(recipe, name)
        loaded = self._built(recipe, name)
        weights = weights_in(folder)
        if weights is None:
            remedy = ("install the package again, or train it with 'python -m "
                      "sclip_research.train_embedded_model'") if name == EMBEDDED else \
                f"put {WEIGHTS[0]} there"
            raise WeightsError(f"model '{name}' has no weights in '{folder}'; {remedy}")
        return self._filled(loaded, origin_of(weights, checksum(weights)))

    def _repository(self, text: str, pretrained: str) -> _Loaded:
        """Load the configuration and the weights in a repository of the hub."""
        place = _place(text)
        configs = [(CONFIG, THEIR_CONFIG), (*THEIR_STATISTICS, MAY_LACK)]
        weights = (*WEIGHTS, *_THEIR_WEIGHTS)
        both = None if self._update else hub.cached(place, [*configs, weights], self._cache_dir)
        # Of one commit: that which the cache has all files of, else that of the configuration.
        whole = replace(place, revision=both[-1].parent.name) if both and both[-1] else place
        config, _ = self._obtain(replace(whole, sha256=""), configs)
        recipe, name = read_recipe(config.path, self._spelling), f"hf-hub:{text}"
        if pretrained == RANDOM:
            return self._at_random(recipe, name)
        loaded = self._built(recipe, name)
        [found] = self._obtain(replace(place, revision=config.commit), [weights])
        return self._filled(loaded, origin_of(found.path, found.sha256))

    def _named(self, architecture: str, pretrained: str) -> _Loaded:
        """Load a named architecture with a tag's, a file's, or literally random weights."""
        if pretrained == RANDOM:
            return self._at_random(recipe_of(architecture), architecture)
        tag, revision, pinned = split_pin(pretrained or OPENAI)
        if found := tag_of(architecture, tag):
            return self._tag(architecture, *found, revision, pinned)
        if pretrained.startswith(("hf-hub:", "local-dir:")):
            raise WeightsError(f"pretrained '{pretrained}' brings its own architecture; give it as "
                               "model, and leave pretrained empty")
        path, sha256 = pinned_file(pretrained, "pretrained")
        if pretrained and (path.suffix or "/" in pretrained or path.exists()):
            return self._file(architecture, path, sha256)
        known = open_clip.list_pretrained_tags_by_model(architecture)
        tags = ", ".join(known) or "none"
        if not pretrained:
            raise WeightsError(f"model '{self._spelling}' has no weights called '{OPENAI}', which "
                               "is what an empty pretrained stands for: 'openai' is neither a "
                               f"file nor a tag of '{architecture}'; give a path, or one of its "
                               f"tags ({tags})")
        near = get_close_matches(tag.lower(), known, 1)
        raise WeightsError(f"pretrained '{pretrained}' is neither a file nor a tag of "
                           f"'{self._spelling}'; "
                           + (f"did you mean '{near[0]}'? " if near else "")
                           + f"give a path, or one of its tags ({tags})")

    def _tag(self, architecture: str, tag: str, config: dict[str, Any], revision: str,
             checksum: str) -> _Loaded:
        """Load published weights: from the cache, else from the hub."""
        quick = bool(config.get("quick_gelu", False))
        name = f"{with_activation(architecture, quick)}/{tag}"
        loaded = self._built(recipe_of(architecture, quick, config), name)
        repository, file = repository_of_tag(config)
        if not repository:
            raise WeightsError(f"weights of '{name}' are in no hub but at {config.get('url')}; "
                               "download that file and give its path as pretrained")
        names = WEIGHTS if not file else \
            tuple(dict.fromkeys((str(Path(file).with_suffix(".safetensors")), file)))
        [found] = self._obtain(Place(repository, revision or MAIN, checksum), [names], name)
        origin = origin_of(found.path, found.sha256, architecture)
        return self._filled(loaded, replace(origin, architecture=architecture, tag=tag))

    def _file(self, architecture: str, path: Path, sha256: str) -> _Loaded:
        """Load a file into a named architecture, with what is known of the weights it holds."""
        state = read_state_dict(path)
        origin = origin_of(path, sha256, architecture)
        quick, evidence = _evidence(state, origin)
        name = f"{with_activation(architecture, bool(quick))}/{path.name}"
        recipe = recipe_of(architecture, bool(quick), origin.config)
        side = image_side(state)
        if side and recipe.config["vision_cfg"].get("image_size") != side \
                and "timm_model_name" not in recipe.config["vision_cfg"]:
            recipe.config["vision_cfg"]["image_size"] = side
        loaded = self._filled(self._built(recipe, name), origin, state)
        if quick is None and not architecture.endswith(QUICK) \
                and architecture + QUICK in open_clip.list_models():
            _log.warning("'%s' is loaded into '%s' with GELU; if these are OpenAI or MetaCLIP "
                         "weights, name the model '%s'", path, architecture, architecture + QUICK)
        if quick:
            _log.info("'%s' runs with QuickGELU, because %s", path, evidence)
        return loaded

    def _built(self, recipe: Recipe, name: str, drawn: bool = False) -> _Loaded:
        """Create the tokenizer, and the model without weights, and see that it can be used."""
        config, text = recipe.config, recipe.config["text_cfg"]
        self._refuse_without_transformers(text.get("hf_model_name"))
        if text.get("hf_model_name"):  # whose configuration transformers would ask the hub for
            folder = self._text_folder(recipe, text["hf_model_name"], _TOWER_FILES)
            config = {**config, "text_cfg": {**text, "hf_model_name": str(folder)}}
        network = build(replace(recipe, config=config), self._spelling, drawn)
        try:
            self._accept(network)
        except ValueError as error:
            raise WeightsError(f"model '{self._spelling}' cannot be used: "
                               f"{family_of(self._spelling)} is not supported ({error})") \
                from error
        if not text.get("hf_tokenizer_name"):
            return _Loaded(network, _simple_tokenizer(text), name, recipe.config, None,
                           recipe.suits)
        self._refuse_without_transformers(True)
        folder = self._text_folder(recipe, text["hf_tokenizer_name"], TOKENIZER_FILES)
        return _Loaded(network, self._tokenizer(text, folder), name, recipe.config, folder,
                       recipe.suits)

    def _at_random(self, recipe: Recipe, name: str) -> _Loaded:
        loaded = self._built(recipe, f"{name}/{RANDOM}", drawn=True)
        _log.warning("'%s' has RANDOM weights, as asked: its labels mean nothing", name)
        return loaded

    def _filled(self, loaded: _Loaded, origin: Origin,
                state: dict[str, torch.Tensor] | None = None) -> _Loaded:
        """Load the weights; what they are called follows from what they are."""
        _fit(loaded.network, read_state_dict(origin.path) if state is None else state, origin.path,
             needs_scale=loaded.name == EMBEDDED)
        name = loaded.name if loaded.name == EMBEDDED else origin.name or loaded.name
        return replace(loaded, name=name, origin=origin)

    def _obtain(self, place: Place, wanted: list, what: str = "") -> list[Any]:
        tag = f" --pretrained {self._pretrained}" if self._pretrained else ""
        return obtain(place, wanted, what or self._spelling,
                      f"run 'sclip-fetch --model {self._spelling}{tag} --to FOLDER' where there is "
                      "a network and give model 'local-dir:FOLDER', or use model "
                      f"'{EMBEDDED}', which needs no network", self._cache_dir, self._update)

    def _refuse_without_transformers(self, needed: object) -> None:
        if needed and find_spec("transformers") is None:
            raise WeightsError(f"model '{self._spelling}' needs the library transformers for its "
                               f"texts, which is not installed; {remedy_for('transformers')}")

    def _text_folder(self, recipe: Recipe, name: str,
                     wanted: Sequence[Sequence[str]]) -> Path:
        """Return the folder of a text tower's files: beside the configuration, or in the cache."""
        beside = recipe.text_folder
        if beside is not None and any((beside / file).is_file() for file in wanted[0]):
            return beside
        return self._obtain(Place(name), list(wanted))[0].path.parent

    def _tokenizer(self, text: Mapping[str, Any], folder: Path) -> Callable[..., torch.Tensor]:
        try:
            return HFTokenizer(
                str(folder), context_length=text.get("context_length", DEFAULT_CONTEXT_LENGTH),
                tokenizer_mode=text.get("tokenizer_mode"), **text.get("tokenizer_kwargs", {}))
        except Exception as error:  # whatever transformers raises
            raise WeightsError(f"the tokenizer of '{self._spelling}' cannot be made of '{folder}' "
                               f"({first_line(error)}); fetch that repository again") from error


def _simple_tokenizer(text: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
    """Return CLIP's own tokenizer: open_clip's, or one with options, which takes 0.1 s to make."""
    length = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
    if options := text.get("tokenizer_kwargs"):
        return open_clip.SimpleTokenizer(context_length=length, **options)

    def tokenize(texts: str | list[str], context_length: int = length) -> torch.Tensor:
        return open_clip.tokenize(texts, context_length)

    return tokenize


def weights_in(folder: Path) -> Path | None:
    """Return the weights file that loading a folder takes, None where there is none.

    open_clip's own names come first, then transformers': a folder may hold another library's
    weights beside them, and parts of what is there as a whole.
    """
    files = (file for file in folder.iterdir()
             if file.suffix in _WEIGHT_SUFFIXES and not file.name.startswith(_OTHER_FILES)
             and file.is_file())
    return min(files, default=None,
               key=lambda file: (not file.name.startswith("open_clip"),
                                 file.name not in _THEIR_WEIGHTS, is_part(file),
                                 file.suffix != ".safetensors", file.name))


def _place(text: str) -> Place:
    """Read "<org>/<repo>[@revision][#sha256=...]"."""
    repository, revision, checksum = split_pin(text)
    return Place(repository, revision or MAIN, checksum)


def _evidence(state: Mapping[str, torch.Tensor], origin: Origin) -> tuple[bool | None, str]:
    """Return whether a file's weights were trained with QuickGELU, and why that is thought.

    The hub gives all its files one name, so that only the folder around them tells the origin.
    The innermost part of the path that names an origin decides; None where nothing does.
    """
    if origin.name:
        return bool(origin.config.get("quick_gelu")), f"it holds {origin.name}"
    if all(key in state for key in _OPENAI_NUMBERS):
        return True, f"it holds '{_OPENAI_NUMBERS[0]}', as OpenAI's own files do"
    for part in reversed(origin.path.absolute().parts):
        if _KNOWN_ORIGIN.search(part):
            return bool(_QUICK_GELU_ORIGIN.search(part)), f"of '{part}' in its path"
    return None, ""


def _fit(network: nn.Module, state: dict[str, torch.Tensor], path: Path,
         needs_scale: bool) -> None:
    """Load a state dict into a network, or name the first tensors that do not fit."""
    wanted = network.state_dict()
    try:
        state = adapted(state, wanted)
    except LayoutError as error:
        raise WeightsError(f"'{path}' cannot be used: {error}") from error
    # Dense scores have their own temperature, and a bias shifts those of all words alike.
    for constant in ("logit_scale", "logit_bias") if not needs_scale else ():
        if constant in wanted:
            state.setdefault(constant, wanted[constant])
    problems = [f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
                for key, value in wanted.items()
                if key in state and state[key].shape != value.shape]
    problems += [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is unknown" for key in state if key not in wanted]
    if problems:
        shown = "; ".join(problems[:4]) + (" ..." if len(problems) > 4 else "")
        raise WeightsError(f"'{path}' does not fit the model ({shown}); name the architecture "
                           "these weights were made for")
    network.load_state_dict(state)
