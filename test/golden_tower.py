"""The image tower inside a golden file, as an open_clip VisionTransformer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

PREFIX = "w/visual."


def build_golden_tower(data: Mapping[str, np.ndarray]) -> VisionTransformer:
    """Build the tower whose sizes and weights a golden file holds, ready for inference."""
    state = {key[len(PREFIX):]: torch.from_numpy(data[key]) for key in data
             if key.startswith(PREFIX)}
    width, output = state["proj"].shape
    depth = len({key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")})
    tower = VisionTransformer(
        image_size=int(data["resolution"]), patch_size=int(data["patch"]), width=width,
        layers=depth, heads=int(data["heads"]),
        mlp_ratio=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0] / width,
        output_dim=output, act_layer=QuickGELU)
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)
