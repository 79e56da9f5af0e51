"""Load a CLIP model, its tokenizer and its image normalisation through open_clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from torch import nn

from sclip_seg_ros.models.devices import resolve_device
from sclip_seg_ros.models.messages import first_line
from sclip_seg_ros.models.weights import WeightsError, read_state_dict

EMBEDDED = "embedded"
RANDOM = "random"
DENSE_LOGIT_SCALE = 40.0  # SCLIP's for data without a background class; CLIP's own 100 is too sharp
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"

_QUICK = "-quickgelu"
_CONFIG = "open_clip_config.json"
_HUB_FILE = "open_clip_model.safetensors"
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
# Families trained with QuickGELU; their files do not say so. MetaCLIP 2, MetaCLIP "altogether"
# and DFN "39B" went back to GELU.
_QUICK_GELU_ORIGIN = re.compile(r"openai|metaclip(?!2|.*altogether)|dfn[25]b(?!.*39b)",
                                re.IGNORECASE)
_KNOWN_ORIGIN = re.compile(r"openai|metaclip|dfn|laion|datacomp|commonpool", re.IGNORECASE)
# Numbers that OpenAI's own archives keep beside their weights, and nobody else's do.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")

_log = logging.getLogger(__name__)


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
    """

    model: nn.Module
    tokenize: Callable[..., torch.Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    logit_scale: float = DENSE_LOGIT_SCALE

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.model.visual.patch_size[0]


def load_clip(model: str = EMBEDDED, pretrained: str = "",
              device: str | torch.device = "cpu", cache_dir: str | None = None) -> ClipModel:
    """Load a CLIP model; never leaves a weight at random unless asked for by name.

    Args:
        model: ``"embedded"`` (ships with the package), any open_clip architecture such as
            ``"ViT-B/16"``, or ``"hf-hub:<org>/<repo>"`` / ``"local-dir:<folder>"``.
        pretrained: an open_clip tag (``"openai"``, ``"metaclip_400m"``), the path of a
            safetensors or torch file, or literally ``"random"``. Empty means ``"openai"`` for a
            named architecture; it must be empty where ``model`` brings its own weights.
        device: torch device, or "auto".
        cache_dir: folder for downloaded weights; open_clip's own by default.

    Raises:
        WeightsError: unknown architecture or tag, weights out of reach, or a file that does not
            fit the architecture. The message names the remedy.
        ValueError: arguments that are no text, or an unusable device.
    """
    for argument, value in (("model", model), ("pretrained", pretrained)):
        if not isinstance(value, str):
            raise ValueError(f"{argument}={value!r} is of type {type(value).__name__}; give a text "
                             "such as 'embedded' for the model, '' or 'openai' for pretrained")
    device = resolve_device(device)
    source = _source(model)
    if ":" in source:
        network, name = _load_bundle(source, model, pretrained, cache_dir)
    else:
        network, name = _load_named(source, pretrained or "openai", cache_dir)
    network = network.to(device).eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(network)
    # The embedded model was trained through the dense head: its own temperature is right.
    scale = float(network.logit_scale.exp()) if name == EMBEDDED else DENSE_LOGIT_SCALE
    return ClipModel(model=network, tokenize=_tokenizer(source, name, cache_dir),
                     mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"]), name=name,
                     logit_scale=scale)


def _source(model: str) -> str:
    """Spell a model as open_clip does: an architecture, or a scheme and a place."""
    if model == EMBEDDED:
        return f"local-dir:{EMBEDDED_FOLDER}"
    scheme, colon, place = model.partition(":")
    if not colon:
        return model.replace("/", "-")
    if scheme not in ("hf-hub", "local-dir") or not place:
        raise WeightsError(f"model '{model}' is unknown; write 'hf-hub:<org>/<repo>', "
                           "'local-dir:<folder>', or an architecture such as 'ViT-B/16'")
    return f"local-dir:{Path(place).expanduser()}" if scheme == "local-dir" else model


def _load_bundle(source: str, name: str, pretrained: str,
                 cache_dir: str | None) -> tuple[nn.Module, str]:
    """Load an architecture that brings its own weights along (a folder or a hub repository)."""
    if pretrained and pretrained != RANDOM:
        raise WeightsError(f"model '{name}' brings its own weights, so pretrained='{pretrained}' "
                           "cannot apply; leave pretrained empty or name an architecture")
    scheme, _, place = source.partition(":")
    if scheme == "local-dir" and not (Path(place) / _CONFIG).is_file():
        raise WeightsError(f"model '{name}' has no '{place}/{_CONFIG}'; give a folder saved by "
                           "open_clip")
    if pretrained == RANDOM:
        return _random(source, name)
    if scheme == "local-dir":
        return _load_folder(Path(place), source, name), name
    return _download(source, None, cache_dir, name), name


def _load_folder(folder: Path, source: str, name: str) -> nn.Module:
    """Load the configuration and the weights in a folder."""
    weights = weights_in(folder)
    if weights is None:
        remedy = ("install the package again, or train it with 'python -m "
                  "sclip_seg_ros.tools.train_embedded_model'") if name == EMBEDDED else \
            "put open_clip_model.safetensors there"
        raise WeightsError(f"model '{name}' has no weights in '{folder}'; {remedy}")
    network = _build(source, name)
    _fit(network, read_state_dict(weights), weights)
    return network


def weights_in(folder: Path) -> Path | None:
    """Return the weights file that loading a folder takes, None where there is none.

    open_clip's own names come first: a folder may hold another library's weights beside them.
    """
    files = (file for file in folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    return min(files, default=None,
               key=lambda file: (not file.name.startswith("open_clip"),
                                 file.suffix != ".safetensors", file.name))


def _load_named(architecture: str, pretrained: str, cache_dir: str | None) -> tuple[nn.Module, str]:
    """Load a named architecture with a tag's, a file's, or literally random weights."""
    if open_clip.get_model_config(architecture) is None:
        raise WeightsError(f"model '{architecture}' is unknown; choose '{EMBEDDED}' or one of "
                           "open_clip.list_models(), e.g. 'ViT-B/16'")
    if pretrained == RANDOM:
        return _random(architecture, architecture)
    if get_pretrained_cfg(architecture, pretrained):
        quick = bool(get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False))
        name = f"{_with_activation(architecture, quick)}/{pretrained}"
        return _download(architecture, pretrained, cache_dir, name, quick), name
    path = Path(pretrained).expanduser()
    if path.suffix or "/" in pretrained or path.is_file():
        return _load_file(architecture, path)
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
    raise WeightsError(f"pretrained '{pretrained}' is neither a file nor a tag of "
                       f"'{architecture}'; give a path, or one of its tags ({tags})")


def _load_file(architecture: str, path: Path) -> tuple[nn.Module, str]:
    state = read_state_dict(path)
    evidence = _evidence_of_quick_gelu(state, path)
    quick = bool(evidence)
    state = {key: value for key, value in state.items() if key not in _OPENAI_NUMBERS}
    name = f"{_with_activation(architecture, quick)}/{path.name}"
    if not quick and not architecture.endswith(_QUICK) and _has_quick_gelu_twin(architecture):
        _log.warning("'%s' is loaded into '%s' with GELU; if these are OpenAI or MetaCLIP "
                     "weights, name the model '%s'", path, architecture, architecture + _QUICK)
    network = _build(architecture, name, quick)
    _fit(network, state, path)
    if quick:
        _log.info("'%s' runs with QuickGELU, because %s", path, evidence)
    return network, name


def _evidence_of_quick_gelu(state: dict[str, torch.Tensor], path: Path) -> str:
    """Return why a file's weights were trained with QuickGELU; empty where nothing says so.

    The hub gives all its files one name, so that only the folder around them tells the origin.
    The innermost part of the path that names an origin decides.
    """
    if all(key in state for key in _OPENAI_NUMBERS):
        return f"it holds '{_OPENAI_NUMBERS[0]}', as OpenAI's own files do"
    for part in reversed(path.absolute().parts):
        if _KNOWN_ORIGIN.search(part):
            return f"of '{part}' in its path" if _QUICK_GELU_ORIGIN.search(part) else ""
    return ""


def _fit(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict into a network, or name the first tensors that do not fit."""
    wanted = network.state_dict()
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


def _random(source: str, name: str) -> tuple[nn.Module, str]:
    _log.warning("'%s' has RANDOM weights, as asked: its labels mean nothing", name)
    return _build(source, name), f"{name}/{RANDOM}"


def _build(source: str, name: str, quick_gelu: bool = False) -> nn.Module:
    """Create a model whose weights the caller fills in, or leaves at random on purpose."""
    try:
        with _without_log(lambda record: "initialized randomly" in record.getMessage()):
            return open_clip.create_model(source, load_weights=False, pretrained_text=False,
                                          force_quick_gelu=quick_gelu)
    except Exception as error:  # a broken configuration fails in as many ways as there are keys
        raise WeightsError(f"model '{name}' cannot be built ({first_line(error)}); check its "
                           f"{_CONFIG}, or choose another model") from error


def _download(source: str, pretrained: str | None, cache_dir: str | None, name: str,
              quick_gelu: bool = False) -> nn.Module:
    """Create a model with the hub's weights; its failures become one that says what to do."""
    try:
        with _without_log(lambda record: record.levelno >= logging.ERROR):
            return open_clip.create_model(source, pretrained=pretrained, cache_dir=cache_dir,
                                          force_quick_gelu=quick_gelu, require_pretrained=True,
                                          weights_only=True)
    except Exception as error:  # network, disk, unpickler and open_clip each raise their own kinds
        raise WeightsError(
            f"weights of '{name}' are out of reach ({first_line(error)}); connect to the model "
            f"hub once, or {_manual_download(source, pretrained, name)}, or use model "
            f"'{EMBEDDED}', which needs no network") from error


def _manual_download(source: str, pretrained: str | None, name: str) -> str:
    """Say which file to fetch by hand and how to name it afterwards."""
    if not pretrained:
        return (f"download {_CONFIG} and {_HUB_FILE} of huggingface.co/"
                f"{source.partition(':')[2]} into a folder and give model 'local-dir:<folder>'")
    config = get_pretrained_cfg(source, pretrained)
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    place = f"{file or _HUB_FILE} of huggingface.co/{repository}" if repository \
        else config.get("url", "the file")
    return (f"download {place} elsewhere and give its path as 'pretrained' with model "
            f"'{name.partition('/')[0]}'")


def _tokenizer(source: str, name: str,
               cache_dir: str | None) -> Callable[..., torch.Tensor]:
    try:
        return open_clip.get_tokenizer(source, cache_dir=cache_dir)
    except Exception as error:
        raise WeightsError(f"tokenizer of '{name}' is out of reach ({first_line(error)}); connect "
                           "to the model hub once, or choose a model with CLIP's own "
                           "tokenizer, such as 'ViT-B/16'") from error


@contextmanager
def _without_log(unwanted: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Hold back lines of open_clip's that are untrue here, or that an exception says better.

    Its notice of random weights is wrong once a file fills them.
    """
    def other(record: logging.LogRecord) -> bool:
        return not unwanted(record)

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)


def _with_activation(architecture: str, quick_gelu: bool) -> str:
    """Name an architecture after the activation it runs with."""
    plain = architecture.removesuffix(_QUICK)
    return plain + _QUICK if quick_gelu or architecture != plain else plain


def _has_quick_gelu_twin(architecture: str) -> bool:
    return architecture + _QUICK in open_clip.list_models()
