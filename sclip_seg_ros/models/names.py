"""What users call models: open_clip's names, other spellings of them, and near misses."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

from sclip_seg_ros.models.weights import WeightsError

QUICK = "-quickgelu"
_SIZES = {"base": "B", "large": "L", "huge": "H"}
# OpenAI's weights as transformers publishes them.
_TRANSFORMERS_NAME = re.compile(r"(?:openai/)?clip-vit-(base|large|huge)-patch(\d+)(?:-(\d+))?",
                                re.IGNORECASE)
_FAMILIES = (("SigLIP", "SigLIP"), ("PE-", "Perception Encoder"), ("MobileCLIP", "MobileCLIP"),
             ("EVA", "EVA-CLIP"), ("ViTamin", "ViTamin"), ("convnext", "ConvNeXt"),
             ("swin", "Swin"), ("RN", "ResNet"), ("coca", "CoCa"))


def split_tag(model: str, pretrained: str) -> tuple[str, str]:
    """Take "ViT-B/16/openai", as models are called in logs, apart, where no tag is given."""
    architecture, slash, tag = model.rpartition("/")
    if slash and not pretrained and tag and _known(model) is None \
            and (name := _known(architecture)) and get_pretrained_cfg(name, tag.split("@")[0]):
        return architecture, tag
    return model, pretrained


def architecture_of(model: str) -> str:
    """Return open_clip's name of an architecture, such as "ViT-L-14-336" of "ViT-L/14@336px".

    Raises:
        WeightsError: an unknown one; the message names what was meant, where that can be told.
    """
    name = _known(model)
    if name is None:
        raise WeightsError(f"model '{model}' is unknown; {_meant(model)}")
    return name


def tag_of(architecture: str, tag: str) -> tuple[str, dict[str, Any]] | None:
    """Return a tag in open_clip's spelling with its configuration; None for an unknown one."""
    config = get_pretrained_cfg(architecture, tag)
    return (tag.lower().replace("-", "_"), config) if config else None


def repository_of_tag(config: dict[str, Any]) -> tuple[str, str]:
    """Return a tag's hub repository, and its file where that has a name of its own."""
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    return repository, file


def statistics_of(architecture: str) -> dict[str, Any]:
    """Return the channel statistics that all published weights of an architecture agree on.

    SigLIP's differ from CLIP's, which are open_clip's default. Empty where there are none.
    """
    stated = [get_pretrained_cfg(architecture, tag)
              for tag in open_clip.list_pretrained_tags_by_model(architecture)]
    both = {tuple(tuple(config.get(key) or ()) for key in ("mean", "std")) for config in stated}
    mean, std = both.pop() if len(both) == 1 else ((), ())
    return {"mean": mean, "std": std} if mean and std else {}


def family_of(architecture: str) -> str:
    """Return what the family of an architecture is called."""
    return next((family for part, family in _FAMILIES if part in architecture), "this family")


def with_activation(architecture: str, quick_gelu: bool) -> str:
    """Name an architecture after the activation it runs with."""
    plain = architecture.removesuffix(QUICK)
    return plain + QUICK if quick_gelu or architecture != plain else plain


@lru_cache(1)
def tags_of_repositories() -> dict[str, tuple[str, str]]:
    """Return the architecture and tag that each hub repository holds, the plain names first."""
    found: dict[str, tuple[str, str]] = {}
    for architecture, tag in open_clip.list_pretrained():
        repository, _ = repository_of_tag(get_pretrained_cfg(architecture, tag))
        if repository:
            found.setdefault(repository, (architecture, tag))
    for size, patch, side in (("base", 32, ""), ("base", 16, ""), ("large", 14, ""),
                              ("large", 14, "-336")):
        found[f"openai/clip-vit-{size}-patch{patch}{side}"] = \
            f"ViT-{_SIZES[size]}-{patch}{side}", "openai"
    for version in ("", "2"):
        found[f"google/siglip{version}-base-patch16-224"] = f"ViT-B-16-SigLIP{version}", "webli"
    return found


def _known(model: str) -> str | None:
    name = re.sub(r"@(\d+)(px)?$", r"-\1", model).replace("/", "-")
    # Not get_model_config(), which asks a hub about names such as "hf-hub:...".
    return name if name in open_clip.list_models() else None


def _meant(model: str) -> str:
    """Say what was probably meant by a name that is unknown."""
    if match := re.fullmatch(r"https?://[^/]+/([\w.-]+/[\w.-]+)/?.*", model):
        return f"it is a web address; write 'hf-hub:{match[1]}'"
    path = Path(model).expanduser()
    if model and path.is_dir():
        return f"it is a folder; write 'local-dir:{model}'"
    if model and path.is_file():
        return "it is a file; give it as pretrained, and its architecture, e.g. 'ViT-B/16', as " \
               "model"
    if model.startswith(("/", "~", ".")):
        return "there is no such folder or file; give one that exists as 'local-dir:<folder>', " \
               "or an architecture such as 'ViT-B/16'"
    if match := _TRANSFORMERS_NAME.fullmatch(model):
        size, patch, side = match.groups()
        short = f"ViT-{_SIZES[size.lower()]}/{patch}{f'@{side}px' if side else ''}"
        full = model if "/" in model else f"openai/{model}"
        return (f"that is transformers' name; write '{short}', or 'hf-hub:{full}' for the files "
                "that transformers has in its cache")
    if found := tags_of_repositories().get(model):
        return f"that is a repository; write '{found[0]}' with pretrained '{found[1]}', or " \
               f"'hf-hub:{model}'"
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name
             for name in ("embedded", *open_clip.list_models())}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", model.lower()), plain, 1, 0.75)
    hint = f"did you mean '{plain[near[0]]}'? " if near else ""
    if re.fullmatch(r"(?!ViT-)[\w.-]+/[\w.-]+", model) and not near:
        hint = f"for a repository of the hub write 'hf-hub:{model}'; else "
    return f"{hint}choose 'embedded' or one of open_clip.list_models(), e.g. 'ViT-B/16'"
