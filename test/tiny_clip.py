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
# Names of that architecture: one that has a twin with QuickGELU, the twin, and one without.
PLAIN, QUICK, NO_TWIN = "tiny-test-ViT", "tiny-test-ViT-quickgelu", "tiny-test-ViT-alone"


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


def holds(model, weights) -> bool:
    """Tell whether a model has just these weights."""
    state = model.state_dict()
    return state.keys() == weights.keys() and all(
        torch.equal(state[name], weights[name]) for name in weights)


def activation(clip) -> str:
    """Return the name of the activation that both of a model's towers have."""
    block = clip.model.visual.transformer.resblocks[0]
    assert type(block.mlp.gelu) is type(clip.model.transformer.resblocks[0].mlp.gelu)
    return type(block.mlp.gelu).__name__
