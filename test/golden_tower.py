"""The image tower inside a golden file, as an open_clip VisionTransformer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

PREFIX = "w/visual."
FOLDER = Path(os.environ.get("SCLIP_GOLDEN_DIR",
                             Path(__file__).resolve().parents[1] / "../shared/golden"))


def golden_names(file: str) -> list[str]:
    """Return the names of the arrays in a golden file; none where it is absent."""
    path = FOLDER / file
    if not path.is_file():
        return []
    with np.load(path) as data:
        return data.files


def build_golden_tower(data: Mapping[str, np.ndarray]) -> VisionTransformer:
    """Build the tower whose sizes and weights a golden file holds, ready for inference."""
    state = {key[len(PREFIX):]: torch.from_numpy(data[key]) for key in data
             if key.startswith(PREFIX)}
    width, output = state["proj"].shape
    patch = state["conv1.weight"].shape[-1]
    side = round((state["positional_embedding"].shape[0] - 1) ** 0.5)
    depth = len({key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")})
    tower = VisionTransformer(
        image_size=side * patch, patch_size=patch, width=width, layers=depth,
        heads=int(data["heads"]),
        mlp_ratio=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0] / width,
        output_dim=output, act_layer=QuickGELU)
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)


def random_tower(depth: int = 4, patch: int = 16, width: int = 32, heads: int = 4,
                 side: int = 4, output: int = 24, seed: int = 0) -> VisionTransformer:
    """Build a tower of any size with drawn weights, for what holds whatever they are."""
    torch.manual_seed(seed)
    tower = VisionTransformer(image_size=side * patch, patch_size=patch, width=width, layers=depth,
                              heads=heads, mlp_ratio=4.0, output_dim=output, act_layer=QuickGELU)
    return tower.eval().requires_grad_(False)
