"""SigLIP and EVA-CLIP, from the files that people have of them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file
from timm_towers import SIGLIP, write_siglip, write_tokenizer
from tiny_clip import holds

from sclip_seg_ros.models import WeightsError, load_clip
from sclip_seg_ros.models.layouts import config_of_transformers
from sclip_seg_ros.models.names import statistics_of
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.families.eva import EvaViT
from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT


def test_a_siglip_is_loaded_from_a_folder_a_file_and_the_hub_and_offline(hub, tmp_path,
                                                                         monkeypatch):
    weights = write_siglip(tmp_path / "siglip")
    files = {path.name: path.read_bytes() for path in (tmp_path / "siglip").iterdir()}
    hub.publish("tests/siglip", files)
    for name in (f"local-dir:{tmp_path / 'siglip'}", "hf-hub:tests/siglip"):
        clip = load_clip(name)
        assert holds(clip.model, weights)
        assert (clip.mean, clip.std) == ((0.5,) * 3, (0.5,) * 3)
    hub.stop()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert holds(load_clip("hf-hub:tests/siglip").model, weights)


def test_a_siglip_without_its_constants_is_loaded_and_with_a_trainers_prefix(tmp_path):
    """Temperature and bias shift or scale the scores of all words alike."""
    weights = write_siglip(tmp_path)
    others = {name: value for name, value in weights.items() if not name.startswith("logit")}
    save_file({f"module.{name}": value for name, value in others.items()},
              tmp_path / "open_clip_model.safetensors")
    state = load_clip(f"local-dir:{tmp_path}").model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in others.items())


def test_siglips_channel_statistics_hold_for_a_file_of_any_name():
    for architecture in ("ViT-B-16-SigLIP", "ViT-SO400M-14-SigLIP2"):
        assert statistics_of(architecture) == {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    assert statistics_of("ViT-B-16")["mean"] == open_clip.OPENAI_DATASET_MEAN
    assert statistics_of("ViT-L-14") == {}  # of several publishers, each with their own


@pytest.fixture
def small_siglip(tmp_path, monkeypatch):
    """Have open_clip know a SigLIP of a few blocks, without a class token; return its weights."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: create(
        *args, class_token=False, img_size=64, depth=2, **kwargs))
    vision = {**SIGLIP["vision_cfg"], "image_size": 64}
    (tmp_path / "tiny-16-SigLIP.json").write_text(json.dumps({**SIGLIP, "vision_cfg": vision}))
    open_clip.add_model_config(tmp_path / "tiny-16-SigLIP.json")
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**{key: value for key, value in {
        **SIGLIP, "vision_cfg": vision}.items() if key != "custom_text"})
    yield {name: value.contiguous() for name, value in model.state_dict().items()}
    del open_clip.factory._MODEL_CONFIGS["tiny-16-SigLIP"]


def siglip_of_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename weights as transformers' SigLIP has them, from its modelling code's names."""
    renamed = (("visual.trunk.patch_embed.proj", "vision_model.embeddings.patch_embedding"),
               ("visual.trunk.pos_embed", "vision_model.embeddings.position_embedding.weight"),
               ("visual.trunk.blocks", "vision_model.encoder.layers"),
               ("visual.trunk.norm", "vision_model.post_layernorm"),
               ("visual.trunk.attn_pool.latent", "vision_model.head.probe"),
               ("visual.trunk.attn_pool.proj", "vision_model.head.attention.out_proj"),
               ("visual.trunk.attn_pool.norm", "vision_model.head.layernorm"),
               ("visual.trunk.attn_pool.mlp", "vision_model.head.mlp"),
               (".attn.proj.", ".self_attn.out_proj."), (".attn.", ".self_attn."),
               (".norm1.", ".layer_norm1."), (".norm2.", ".layer_norm2."),
               ("text.token_embedding", "text_model.embeddings.token_embedding"),
               ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
               ("text.transformer.resblocks", "text_model.encoder.layers"),
               ("text.ln_final", "text_model.final_layer_norm"),
               ("text.text_projection", "text_model.head"), (".ln_1.", ".layer_norm1."),
               (".ln_2.", ".layer_norm2."), (".c_fc.", ".fc1."), (".c_proj.", ".fc2."))
    found = {}
    pool = "visual.trunk.attn_pool."
    for name, value in weights.items():
        for ours, theirs in renamed:
            name = name.replace(ours, theirs)
        if name.startswith(pool):
            continue
        joint = next((part for part in (".qkv.", ".in_proj_") if part in name), None)
        if joint:
            found |= {name.replace(joint, f".{part}_proj."): piece.contiguous()
                      for part, piece in zip("qkv", value.chunk(3), strict=True)}
        else:
            found[name] = value[0] if "position_embedding" in name and value.dim() == 3 else value
    for kind in ("weight", "bias"):
        found[f"vision_model.head.attention.in_proj_{kind}"] = torch.cat(
            [weights[f"{pool}q.{kind}"], weights[f"{pool}kv.{kind}"]])
    return {name: value.reshape(1) if name.startswith("logit") else value
            for name, value in found.items()}


def write_siglip_of_transformers(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a folder as transformers does, without what the images' statistics are in."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "siglip", "text_config": {"vocab_size": 49408},
        "vision_config": {"hidden_size": 64, "image_size": 64, "patch_size": 16}}))
    save_file(siglip_of_transformers(weights), folder / "model.safetensors")


STATED = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
TOLD, OF_SIGLIP = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(("files", "statistics"), [
    ({"preprocessor_config.json": STATED}, TOLD),
    ({"processor_config.json": {"image_processor": STATED, "processor_class": "Siglip"}}, TOLD),
    ({"preprocessor_config.json": STATED, "processor_config.json": {"processor_class": "S"}}, TOLD),
    ({"processor_config.json": {"processor_class": "Siglip"}}, OF_SIGLIP),
    ({}, OF_SIGLIP),
], ids=["transformers 4", "transformers 5", "both", "neither tells", "neither"])
def test_statistics_of_images_are_found_in_either_file_or_are_siglips(
        small_siglip, tmp_path, hub, files, statistics):
    """Never those of OpenAI's CLIP, with which a SigLIP loads and sees worse."""
    folder = tmp_path / "siglip"
    write_siglip_of_transformers(folder, small_siglip)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    hub.publish("tests/siglip", {path.name: path.read_bytes() for path in folder.iterdir()})
    for name in (f"local-dir:{folder}", "hf-hub:tests/siglip"):
        clip = load_clip(name)
        assert (clip.mean, clip.std) == statistics, name


def test_transformers_siglip_is_the_same_model(small_siglip, tmp_path):
    folder = tmp_path / "siglip"
    write_siglip_of_transformers(folder, small_siglip)
    clip = load_clip(f"local-dir:{folder}")
    assert holds(clip.model, small_siglip)
    assert clip.mean == clip.std == (0.5, 0.5, 0.5)
    (folder / "config.json").write_text(json.dumps({
        "model_type": "siglip", "vision_config": {"hidden_size": 99}}))
    with pytest.raises(WeightsError, match="SigLIP of width 99.*open_clip does not have"):
        load_clip(f"local-dir:{folder}")


@pytest.mark.parametrize(("vision", "text", "name"), [
    ({}, {}, "ViT-B-16-SigLIP"), ({}, {"vocab_size": 256000}, "ViT-B-16-SigLIP2"),
    ({"image_size": 256}, {"vocab_size": 256000}, "ViT-B-16-SigLIP2-256"),
    ({"image_size": 384, "patch_size": 14, "hidden_size": 1152}, {"vocab_size": 256000},
     "ViT-SO400M-14-SigLIP2-378"),
    ({"image_size": 384, "hidden_size": 1024}, {}, "ViT-L-16-SigLIP-384")])
def test_transformers_siglips_are_open_clips_by_their_sizes(vision, text, name):
    """The files of the smallest leave out what is transformers' default."""
    config = config_of_transformers(
        {"model_type": "siglip", "vision_config": vision, "text_config": text})
    assert config == open_clip.get_model_config(name)


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_a_siglip_reads_texts_by_the_tokenizer_beside_it(tmp_path):
    write_siglip(tmp_path)
    write_tokenizer(tmp_path, "tests/not-asked-for")
    segmentor = SCLIPSegmentor(f"local-dir:{tmp_path}", crop=64, stride=32)
    tokens = segmentor.text._clip.tokenize(["A Red, cup!", "a red cup"])
    assert tokens.shape == (2, 32) and torch.equal(tokens[0], tokens[1])
    assert segmentor.vocabulary(["red cup", "chair"]).embeddings.shape == (2, 64)
    with pytest.raises(ValueError, match="does not fit into the 32 tokens"):
        segmentor.vocabulary(["cup " * 40])


def test_every_architecture_is_taken_or_refused_in_a_sentence():
    """Of towers by whole families: what open_clip builds, without memory for its weights."""
    taken = {"ViT-B-16-SigLIP2": TimmViT, "ViT-SO400M-14-SigLIP2": TimmViT, "ViTamin-B": TimmViT,
             "MobileCLIP2-L-14": TimmViT, "EVA02-L-14": EvaViT, "PE-Core-T-16-384": EvaViT}
    for name in (*taken, "EVA02-E-14", "MobileCLIP2-S4", "swin_base_patch4_window7_224"):
        config = open_clip.get_model_config(name)
        vision = config["vision_cfg"]
        with torch.device("meta"):
            visual = TimmModel(vision["timm_model_name"], config["embed_dim"],
                               vision["image_size"], vision["timm_pool"], vision["timm_proj"])
        if name in taken:
            assert type(backbone_of(visual)) is taken[name], name
        else:
            with pytest.raises(ValueError, match="image tower .* has .*; choose a ViT, e.g. 'ViT"):
                backbone_of(visual)


def evas_layout(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename weights as EVA-CLIP's own files have them, from its modelling code's names."""
    found = {"visual.rope.freqs_cos": torch.zeros(4), "visual.rope.freqs_sin": torch.zeros(4)}
    for name, value in weights.items():
        for ours, theirs in (("visual.trunk.", "visual."), ("attn.norm.", "attn.inner_attn_ln."),
                             ("attn.q_proj.bias", "attn.q_bias"), ("mlp.norm.", "mlp.ffn_ln."),
                             ("attn.v_proj.bias", "attn.v_bias"), ("mlp.fc1_g.", "mlp.w1."),
                             ("mlp.fc1_x.", "mlp.w2."), ("mlp.fc2.", "mlp.w3.")):
            name = name.replace(ours, theirs)
        found[name] = value
    return found


def test_clipselfs_file_is_loaded_and_labels_by_clipselfs_rule(tmp_path, monkeypatch):
    """With a tower of fewer blocks, so that it fits into a test; all names are the large one's."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: create(
        *args, depth=2, **kwargs))
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**{
        key: value for key, value in open_clip.get_model_config("EVA02-B-16").items()
        if key != "custom_text"})
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    path = tmp_path / "eva_vitb16_coco_clipself_proposals.pt"
    torch.save({"epoch": 6, "state_dict": {
        f"module.{name}": value for name, value in evas_layout(weights).items()}}, path)
    segmentor = SCLIPSegmentor("EVA02-B-16", str(path), precision="fp32")
    assert holds(segmentor.text._clip.model, weights)
    assert segmentor.pipeline.attention == "clipself"
