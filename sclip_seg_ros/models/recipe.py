"""How a model is built before it has weights: open_clip's and transformers' configurations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg
from torch import nn
from torch.overrides import TorchFunctionMode

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.models.embedded import tower  # noqa: F401 (timm registers it)
from sclip_seg_ros.models.hub import MAY_LACK
from sclip_seg_ros.models.layouts import config_of_transformers, statistics_of_transformers
from sclip_seg_ros.models.names import statistics_of
from sclip_seg_ros.models.weights import WeightsError

CONFIG = "open_clip_config.json"
SUITS = "sclip_seg_ros"  # in it, passed over by open_clip: settings that suit the model
TEXT_FOLDER = "text"  # beside a configuration: of a tokenizer that is not CLIP's own
THEIR_CONFIG = "config.json"  # of transformers, whose statistics are in the first of these
THEIR_STATISTICS = ("preprocessor_config.json", "processor_config.json")
TOKENIZER_FILES = (("tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "vocab.txt",
                    "vocab.json"),
                   *((name, MAY_LACK) for name in (
                       "config.json", "tokenizer_config.json", "special_tokens_map.json",
                       "merges.txt", "sentencepiece.bpe.model", "spiece.model", "vocab.txt")))

# All that open_clip, timm and transformers draw weights with.
_FILLING = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}
_MAKING = {torch.rand, torch.randn}


class Undrawn(TorchFunctionMode):
    """Leave weights as the memory holds them while a network is built within this context.

    Every one of them must be filled in afterwards, as a strict ``load_state_dict`` does. Drawing
    takes about as long as all the rest of loading. Buffers and constants are made as ever, which
    the ``meta`` device would leave out.
    """

    def __torch_function__(self, func: Callable, types: Sequence[type],
                           args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None):
        """Do what a call asks for, but for drawing."""
        kwargs = kwargs or {}
        if func in _MAKING:
            return torch.empty(*args, **kwargs)
        if getattr(func, "__name__", "") in _FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Recipe:
    """A model's architecture and the statistics of its images.

    Attributes:
        config: open_clip's ``model_cfg``.
        statistics: open_clip's ``preprocess_cfg``, or what is known of it.
        text_folder: of the tokenizer's files, where they lie beside the configuration.
        suits: settings that suit the model, by name, as its configuration states them.
    """

    config: dict[str, Any]
    statistics: dict[str, Any]
    text_folder: Path | None = None
    suits: dict[str, Any] = field(default_factory=dict)


def recipe_of(architecture: str, quick: bool = False,
              statistics: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of an architecture that open_clip knows by name.

    Args:
        architecture: open_clip's name.
        quick: with QuickGELU.
        statistics: of the images that the weights were trained on; by default the family's.
    """
    config = open_clip.get_model_config(architecture)
    if quick:
        config["quick_gelu"] = True
    kept = ("mean", "std", "interpolation", "resize_mode")
    statistics = statistics or statistics_of(architecture)
    return Recipe(config, {key: value for key, value in statistics.items() if key in kept})


def read_recipe(path: Path, spelling: str) -> Recipe:
    """Read a configuration file of open_clip's or transformers'.

    Args:
        path: named ``CONFIG`` in open_clip's layout; what lies beside it is read too.
        spelling: the model as the user named it, for messages.

    Raises:
        WeightsError: not a configuration.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        suits = dict(content.get(SUITS, {}))
        if path.name == CONFIG:
            config = content["model_cfg"]
            beside = path.with_name(TEXT_FOLDER)
            if not beside.is_dir():  # open_clip's own bundles keep these files in the folder
                beside = path.parent
            config["text_cfg"].get("hf_tokenizer_name")  # or it is not a configuration
            statistics = content.get("preprocess_cfg", {})
        else:
            config, beside = config_of_transformers(content), path.parent
            stated = next((path.with_name(name) for name in THEIR_STATISTICS
                           if path.with_name(name).is_file()), None)
            statistics = statistics_of_transformers(
                content, json.loads(stated.read_text(encoding="utf-8")) if stated else {})
        tells = any((beside / name).is_file() for name in TOKENIZER_FILES[0])
        return Recipe(config, statistics, beside if tells else None, suits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise WeightsError(f"model '{spelling}' cannot be built ({reason}); check its "
                           f"{path.name}, or choose another model") from error


def build(recipe: Recipe, spelling: str, drawn: bool) -> nn.Module:
    """Create a model before it has weights.

    Args:
        recipe: for it.
        spelling: the model as the user named it, for messages.
        drawn: whether its weights are drawn at random; if not, the caller fills all of them in.

    Raises:
        WeightsError: open_clip cannot build what the configuration says.
    """
    try:
        config = deepcopy(recipe.config)
        vision, text = config["vision_cfg"], config["text_cfg"]
        if "timm_model_name" in vision:
            vision["timm_model_pretrained"] = False
        if "hf_model_name" in text:
            text["hf_model_pretrained"] = False
        custom = config.pop("custom_text", False) or "hf_model_name" in text
        kind = open_clip.CLIP if not custom else \
            open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
        with nullcontext() if drawn else Undrawn():
            network = kind(**config)
        open_clip.set_model_preprocess_cfg(network, {
            **asdict(PreprocessCfg()), "size": network.visual.image_size, **recipe.statistics})
    except Exception as error:  # a broken configuration fails in as many ways as there are keys
        raise WeightsError(f"model '{spelling}' cannot be built ({first_line(error)}); check its "
                           f"{CONFIG}, or choose another model") from error
    return network
