"""A CLIP of a few thousand weights, saved the way that open_clip saves its models."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
STATISTICS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


def write_config(folder: Path, architecture: dict = ARCHITECTURE) -> None:
    """Write ``open_clip_config.json`` into a folder."""
    config = {"model_cfg": architecture, "preprocess_cfg": STATISTICS}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def initial_weights(folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw weights for the configuration in a folder."""
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    return {name: value.clone().contiguous() for name, value in model.state_dict().items()}


def write_tiny_clip(folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    """Write a folder that ``load_clip("local-dir:<folder>")`` reads; return its weights."""
    write_config(folder)
    weights = initial_weights(folder, seed)
    save_file(weights, folder / "open_clip_model.safetensors")
    return weights
