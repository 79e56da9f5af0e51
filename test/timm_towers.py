"""Towers of timm with drawn weights, and a CLIP around a small one, for tests of their families."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import open_clip
import timm
import torch
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file
from torch import nn

SIGLIP = {
    "embed_dim": 64, "custom_text": True, "init_logit_bias": -10,
    "vision_cfg": {"image_size": 224, "timm_model_name": "test_vit", "timm_pool": "map",
                   "timm_proj": "none"},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2,
                 "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}  # SigLIP's form in small, with CLIP's tokenizer; the tower has a class token


def timm_tower(name: str, dimension: int, pool: str, proj: str | None, size: int = 224,
               depth: int = 3, seed: int = 0) -> TimmModel:
    """Build an open_clip tower of a published architecture, of its first blocks alone."""
    torch.manual_seed(seed)
    with mock.patch("timm.create_model", partial(timm.create_model, depth=depth)):
        tower = TimmModel(name, dimension, size, pool, proj).eval().requires_grad_(False)
    return enliven(tower)


def enliven(network: nn.Module) -> nn.Module:
    """Draw what is fresh and all alike: biases, norms, scales, which do nothing otherwise."""
    for parameter in network.parameters():
        if parameter.numel() > 1 and parameter.std() < 1e-6:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return network


def golden_vit(data: Mapping[str, np.ndarray], prefix: str, name: str, heads: int,
               side: int) -> nn.Module:
    """Build timm's ViT whose sizes and weights a golden file holds, for images of a side."""
    state = {key[len(prefix):]: torch.from_numpy(data[key]) for key in data
             if key.startswith(prefix)}
    state.pop("mask_token", None)
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    ratio = state["blocks.0.mlp.fc1.weight"].shape[0] / width
    tower = timm.create_model(name, img_size=side, patch_size=patch, embed_dim=width, depth=depth,
                              num_heads=heads, mlp_ratio=ratio, num_classes=0)
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)


def write_siglip(folder: Path, seed: int = 0, vision: Mapping | None = None,
                 ) -> dict[str, torch.Tensor]:
    """Write a small SigLIP in open_clip's layout into a folder; return its weights.

    Another image tower is given as open_clip's ``vision_cfg``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {**SIGLIP, "vision_cfg": {**SIGLIP["vision_cfg"], **(vision or {})}}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(seed)
    config.pop("custom_text")
    model = enliven(open_clip.CustomTextCLIP(**json.loads(json.dumps(config))))
    weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return weights


def write_tokenizer(folder: Path, repository: str) -> None:
    """Give a SigLIP in a folder a tokenizer of whole words, in transformers' files.

    Its configuration names the repository, as SigLIP's name the one they are in.
    """
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": repository,
                                        "tokenizer_kwargs": {"clean": "canonicalize"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    words = ["<pad>", "</s>", "<unk>", "a", "red", "cup", "chair", "photo", "of", "the"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>",
        "unk_token": "<unk>"}))
