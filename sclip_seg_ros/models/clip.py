"""Load a CLIP model, its tokenizer and its image normalisation through open_clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from torch import nn

from sclip_seg_ros.models.weights import WeightsError, read_state_dict

EMBEDDED = "embedded"
RANDOM = "random"
DENSE_LOGIT_SCALE = 40.0  # SCLIP's for data without a background class; CLIP's own 100 is too sharp
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"

# Families trained with QuickGELU; their files do not say so (open_clip issue 771).
_QUICK_GELU_ORIGIN = re.compile(r"openai|metaclip|dfn", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipModel:
    """A CLIP model ready for inference.

    Attributes:
        model: open_clip model in evaluation mode; ``visual`` is its image tower.
        tokenize: texts to token ids (N, context length), int64.
        mean, std: channel statistics of the training images, RGB in 0..1.
        name: architecture and weights, e.g. ``"ViT-B-16-quickgelu/openai"``.
        logit_scale: inverse softmax temperature for dense scores.
    """

    model: nn.Module
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    logit_scale: float = DENSE_LOGIT_SCALE

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.model.visual.patch_size[0]


def load_clip(model: str = EMBEDDED, pretrained: str = "", device: str = "cpu",
              cache_dir: str | None = None) -> ClipModel:
    """Load a CLIP model; never leaves a weight at random unless asked for by name.

    Args:
        model: ``"embedded"`` (ships with the package), any open_clip architecture such as
            ``"ViT-B/16"``, or ``"hf-hub:<org>/<repo>"`` / ``"local-dir:<folder>"``.
        pretrained: an open_clip tag (``"openai"``, ``"metaclip_400m"``), the path of a
            safetensors or torch file, or literally ``"random"``. Empty means ``"openai"`` for a
            named architecture; it must be empty where ``model`` brings its own weights.
        device: torch device.
        cache_dir: folder for downloaded weights; open_clip's own by default.

    Raises:
        WeightsError: unknown architecture or tag, weights out of reach, or a file that does not
            fit the architecture. The message names the remedy.
    """
    if model == EMBEDDED:
        model = f"local-dir:{EMBEDDED_FOLDER}"
        loaded = _load_bundle(model, pretrained, cache_dir, name=EMBEDDED)
    elif ":" in model:
        loaded = _load_bundle(model, pretrained, cache_dir, name=model)
    else:
        loaded = _load_named(model.replace("/", "-"), pretrained or "openai", cache_dir)
    network, name = loaded
    network = network.to(device).eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(network)
    # The embedded model was trained through the dense head: its own temperature is right.
    scale = float(network.logit_scale.exp()) if name == EMBEDDED else DENSE_LOGIT_SCALE
    return ClipModel(model=network, tokenize=open_clip.get_tokenizer(model),
                     mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"]), name=name,
                     logit_scale=scale)


def _load_bundle(model: str, pretrained: str, cache_dir: str | None,
                 name: str) -> tuple[nn.Module, str]:
    """Load an architecture that brings its own weights along (a folder or a hub repository)."""
    if pretrained == RANDOM:
        return _random(model, name)
    if pretrained:
        raise WeightsError(f"model '{name}' brings its own weights, so pretrained='{pretrained}' "
                           "cannot apply; leave pretrained empty or name an architecture")
    return _create(model, None, cache_dir, name), name


def _load_named(architecture: str, pretrained: str, cache_dir: str | None) -> tuple[nn.Module, str]:
    """Load a named architecture with a tag's, a file's, or literally random weights."""
    if open_clip.get_model_config(architecture) is None:
        raise WeightsError(f"model '{architecture}' is unknown; choose '{EMBEDDED}' or one of "
                           "open_clip.list_models(), e.g. 'ViT-B/16'")
    name = f"{architecture}/{pretrained}"
    if pretrained == RANDOM:
        return _random(architecture, name)
    if pretrained in open_clip.list_pretrained_tags_by_model(architecture):
        quick = bool(get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False))
        return _create(architecture, pretrained, cache_dir, name, quick), name
    if Path(pretrained).expanduser().suffix or "/" in pretrained:
        return _load_file(architecture, Path(pretrained).expanduser())
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
    raise WeightsError(f"pretrained '{pretrained}' is neither a file nor a tag of "
                       f"'{architecture}' (its tags: {tags})")


def _load_file(architecture: str, path: Path) -> tuple[nn.Module, str]:
    state = read_state_dict(path)
    quick = bool(_QUICK_GELU_ORIGIN.search(path.name))
    if not quick and "quickgelu" not in architecture and _has_quick_gelu_twin(architecture):
        _log.warning("'%s' is loaded into '%s' with GELU; if these are OpenAI or MetaCLIP "
                     "weights, name the model '%s-quickgelu'", path, architecture, architecture)
    network = open_clip.create_model(architecture, pretrained=None, force_quick_gelu=quick,
                                     pretrained_text=False, load_weights=False)
    _fit(network, state, path)
    return network, f"{architecture}/{path.name}"


def _fit(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict into a network, or name the first tensors that do not fit."""
    wanted = network.state_dict()
    problems = [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is unknown" for key in state if key not in wanted]
    problems += [f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
                 for key, value in wanted.items()
                 if key in state and state[key].shape != value.shape]
    if problems:
        shown = "; ".join(problems[:4]) + (" ..." if len(problems) > 4 else "")
        raise WeightsError(f"'{path}' does not fit the model ({shown}); name the architecture "
                           "these weights were made for")
    network.load_state_dict(state)


def _create(model: str, pretrained: str | None, cache_dir: str | None, name: str,
            quick_gelu: bool = False) -> nn.Module:
    """Create a model with weights, turning open_clip's errors into one that says what to do."""
    try:
        return open_clip.create_model(model, pretrained=pretrained, cache_dir=cache_dir,
                                      force_quick_gelu=quick_gelu, require_pretrained=True,
                                      weights_only=True)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"weights of '{name}' are out of reach ({_first_line(error)}); connect to the model "
            "hub once, or download the safetensors file elsewhere and give its path as "
            "'pretrained', or use model 'embedded', which needs no network") from error


def _random(model: str, name: str) -> tuple[nn.Module, str]:
    _log.warning("'%s' has RANDOM weights, as asked: its labels mean nothing", name)
    network = open_clip.create_model(model, load_weights=False, pretrained_text=False)
    return network, f"{name.removesuffix('/' + RANDOM)}/{RANDOM}"


def _has_quick_gelu_twin(architecture: str) -> bool:
    return f"{architecture}-quickgelu" in open_clip.list_models()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
