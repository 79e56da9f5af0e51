"""Weights for tests that check behaviour and not quality: random, and saved as real files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from sclip_seg_ros.segmentation.upsamplers.anyup.network import AnyUp
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp, LoftUpSizes


def save_clip(folder: Path, layers: int, seed: int = 0, width: int = 768) -> str:
    """Save a CLIP like ViT-B/16 but for its number of blocks; return the name it loads under.

    The text tower is small: its words are encoded once and reach the image only as vectors.
    """
    config = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": layers, "width": width, "head_width": 64,
                       "patch_size": 16},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2,
                     "layers": 2},
    }
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**config)
        for parameter in model.visual.parameters():  # fresh biases and norms do nothing
            parameter.data += 0.02 * torch.randn_like(parameter)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def save_loftup(path: Path, dimension: int, contract: FeatureContract | None = None,
                seed: int = 0) -> str:
    """Save a small LoftUp for features of a length; return its path."""
    sizes = LoftUpSizes(dimension, frequencies=6, position_frequencies=3, depth=1, hidden=32)
    metadata = {f"feature_{name}": value for name, value in asdict(contract).items()} \
        if contract else None
    save_file(random_state(sizes, seed), path, metadata=metadata)
    return str(path)


def random_anyup(width: int = 16, seed: int = 0) -> AnyUp:
    """Return a small AnyUp with drawn weights."""
    torch.manual_seed(seed)
    network = AnyUp(width, heads=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval().requires_grad_(False)


def save_anyup(path: Path) -> str:
    """Save a small AnyUp with drawn weights; return its path."""
    torch.save(random_anyup().state_dict(), path)
    return str(path)


def random_state(sizes: LoftUpSizes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return lively random tensors of a checkpoint's form, for identities that need no training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        wanted = LoftUp(sizes).state_dict()
    state = {}
    for name, like in wanted.items():
        noise = torch.randn(like.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
        elif name.endswith("running_var"):
            state[name] = 0.5 + noise.abs()
        elif name.endswith("biases"):
            state[name] = noise
        elif like.dim() > 1:
            state[name] = noise * like[0].numel() ** -0.5
        else:
            state[name] = (1.0 if name.endswith("weight") else 0.0) + 0.1 * noise
    return state
