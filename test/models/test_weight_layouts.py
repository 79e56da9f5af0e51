"""The same weights in the layouts that people have on disk are the same model."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import PLAIN, STATISTICS, activation, holds, write_config

from sclip_seg_ros.models import WeightsError, load_clip


def transformers_layout(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename weights as transformers does, from its modelling code's names."""
    found = {}
    for theirs, tower in (("vision_model.", "visual."), ("text_model.", "")):
        blocks = f"{tower}transformer.resblocks."
        for name, value in weights.items():
            if not name.startswith(blocks):
                continue
            number, _, rest = name.removeprefix(blocks).partition(".")
            layer = f"{theirs}encoder.layers.{number}."
            if "in_proj" in rest:
                kind = rest.rpartition("_")[2]
                for part, piece in zip("qkv", value.chunk(3), strict=True):
                    found[f"{layer}self_attn.{part}_proj.{kind}"] = piece.clone()
                continue
            for old, new in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                             ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
                             ("mlp.c_proj", "mlp.fc2")):
                rest = rest.replace(old, new)
            found[layer + rest] = value
    for ours, theirs in (
            ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
            ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
            ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
            ("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"),
            ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"),
            ("visual.ln_post.weight", "vision_model.post_layernorm.weight"),
            ("visual.ln_post.bias", "vision_model.post_layernorm.bias"),
            ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
            ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
            ("ln_final.weight", "text_model.final_layer_norm.weight"),
            ("ln_final.bias", "text_model.final_layer_norm.bias"),
            ("logit_scale", "logit_scale")):
        found[theirs] = weights[ours]
    found["visual_projection.weight"] = weights["visual.proj"].T.contiguous()
    found["text_projection.weight"] = weights["text_projection"].T.contiguous()
    found["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    found["text_model.embeddings.position_ids"] = torch.arange(32)[None]
    return found


def prefixed(prefix):
    return lambda weights: {prefix + name: value for name, value in weights.items()}


def towers_apart(weights):
    return {name if name.startswith("visual.") or name == "logit_scale" else f"text.{name}": value
            for name, value in weights.items()}


def without(*names):
    return lambda weights: {name: value for name, value in weights.items() if name not in names}


def with_extra(**extra):
    return lambda weights: {**weights, **extra}


@pytest.mark.parametrize("layout", [
    prefixed("_orig_mod."), prefixed("module._orig_mod."), prefixed("model."),
    prefixed("model._orig_mod."), prefixed("clip."), towers_apart, transformers_layout,
    lambda weights: prefixed("module.")(transformers_layout(weights)),
    lambda weights: {name.replace("visual.", "visual._orig_mod."): value
                     for name, value in weights.items()},
    lambda weights: {**weights, "logit_scale": weights["logit_scale"][None]},
    with_extra(logit_bias=torch.tensor(-10.0)), with_extra(attn_mask=torch.zeros(32, 32)),
    without("logit_scale"), OrderedDict,
], ids=["compiled", "data-parallel and compiled", "Lightning", "Lightning, compiled", "any prefix",
        "text.*", "transformers", "transformers, data-parallel", "image tower compiled",
        "scale of shape [1]", "logit_bias", "attn_mask", "no scale", "OrderedDict"])
def test_the_same_weights_in_another_layout_are_the_same_model(named, tmp_path, layout):
    torch.save({"state_dict": layout(named), "epoch": 3}, tmp_path / "weights.ckpt")
    assert holds(load_clip(PLAIN, str(tmp_path / "weights.ckpt")).model, named)


@pytest.mark.parametrize("prefix", ["visual.", ""])
def test_the_image_tower_alone_is_called_so(named, tmp_path, prefix):
    torch.save({prefix + name.removeprefix("visual."): value for name, value in named.items()
                if name.startswith("visual.")}, tmp_path / "visual.pt")
    with pytest.raises(WeightsError, match="visual.pt' cannot be used: it holds the image tower "
                                           "alone.*text tower.*give the checkpoint"):
        load_clip(PLAIN, str(tmp_path / "visual.pt"))


@pytest.mark.parametrize("layout", [
    prefixed(""), prefixed("model."), prefixed("_orig_mod."), prefixed("clip."),
    transformers_layout, lambda weights: prefixed("model.")(transformers_layout(weights)),
], ids=["plain", "Lightning", "compiled", "any prefix", "transformers", "transformers, Lightning"])
def test_weights_of_another_image_size_bring_it_along(named, tmp_path, layout):
    width = named["visual.positional_embedding"].shape[1]
    weights = {**named, "visual.positional_embedding": torch.randn(1 + 7 * 7, width)}
    torch.save(layout(weights), tmp_path / "larger.pt")
    model = load_clip(PLAIN, str(tmp_path / "larger.pt")).model
    assert holds(model, weights) and model.visual.image_size == (112, 112)


def test_foreign_weights_are_still_named(named, tmp_path, caplog):
    torch.save({**named, "visual.extra": torch.ones(1)}, tmp_path / "extra.pt")
    with pytest.raises(WeightsError, match="visual.extra is unknown"):
        load_clip(PLAIN, str(tmp_path / "extra.pt"))
    torch.save({name: value for name, value in named.items() if "ln_final" not in name},
               tmp_path / "short.pt")
    with pytest.raises(WeightsError, match="ln_final.weight is missing"):
        load_clip(PLAIN, str(tmp_path / "short.pt"))
    assert not caplog.messages  # of an activation that these weights do not have


CONFIG_OF_TRANSFORMERS = {
    "model_type": "clip", "projection_dim": 32,
    "vision_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "intermediate_size": 256, "patch_size": 16, "image_size": 64},
    "text_config": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "intermediate_size": 128, "max_position_embeddings": 32}}


def write_transformers(folder: Path, weights, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG_OF_TRANSFORMERS, **changes}))
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"image_mean": STATISTICS["mean"], "image_std": STATISTICS["std"]}))
    save_file(transformers_layout(weights), folder / "model.safetensors")
    return folder


def test_a_folder_of_transformers_is_loaded(named, tmp_path):
    clip = load_clip(f"local-dir:{write_transformers(tmp_path / 'clip', named)}")
    assert holds(clip.model, named)
    assert activation(clip) == "QuickGELU"
    assert (list(clip.mean), list(clip.std)) == (STATISTICS["mean"], STATISTICS["std"])
    assert clip.tokenize(["a dog"]).shape == (1, 32)
    gelu = {part: {**CONFIG_OF_TRANSFORMERS[part], "hidden_act": "gelu"}
            for part in ("vision_config", "text_config")}
    write_transformers(tmp_path / "clip", named, **gelu)
    assert activation(load_clip(f"local-dir:{tmp_path / 'clip'}")) == "GELU"


def test_transformers_cache_is_used(named, hub):
    write_transformers(hub.folder / "openai/clip-vit-base-patch16", named)
    first = load_clip("hf-hub:openai/clip-vit-base-patch16")
    assert holds(first.model, named)
    assert first.name == "ViT-B-16-quickgelu/openai"  # the same weights by another name
    hub.stop()
    hub.requests.clear()
    assert load_clip("hf-hub:openai/clip-vit-base-patch16").origin == first.origin
    assert hub.requests == []


def test_another_model_of_transformers_is_called_so(named, tmp_path):
    folder = write_transformers(tmp_path / "clip", named, model_type="blip")
    with pytest.raises(WeightsError, match="is of a model of type 'blip', not of CLIP or SigLIP"):
        load_clip(f"local-dir:{folder}")


def test_open_clips_configuration_beside_transformers_weights(named, folder):
    write_config(folder)
    save_file(transformers_layout(named), folder / "model.safetensors")
    assert holds(load_clip(f"local-dir:{folder}").model, named)
