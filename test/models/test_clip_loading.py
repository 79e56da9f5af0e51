"""CLIP models come with the weights that were asked for, or not at all."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants
from model_hub import TINY
from open_clip import pretrained as published
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file
from timm_towers import SIGLIP, write_siglip, write_tokenizer
from tiny_clip import ARCHITECTURE, STATISTICS, initial_weights, write_config, write_tiny_clip

from sclip_seg_ros.models import WeightsError, identity, load_clip
from sclip_seg_ros.models import clip as clip_module
from sclip_seg_ros.models.layouts import config_of_transformers
from sclip_seg_ros.models.names import architecture_of, split_tag, statistics_of
from sclip_seg_ros.models.weights import sha256
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.eva import EvaViT
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.timm_vit import TimmViT

PLAIN, QUICK, NO_TWIN = "tiny-test-ViT", "tiny-test-ViT-quickgelu", "tiny-test-ViT-alone"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Register small architectures under names, and return weights that fit them."""
    folder = tmp_path_factory.mktemp("architectures")
    for name, extra in ((PLAIN, {}), (QUICK, {"quick_gelu": True}), (NO_TWIN, {})):
        (folder / f"{name}.json").write_text(json.dumps({**ARCHITECTURE, **extra}))
    open_clip.add_model_config(folder)
    write_config(folder)
    return initial_weights(folder)


def holds(model, weights) -> bool:
    state = model.state_dict()
    return state.keys() == weights.keys() and all(
        torch.equal(state[name], weights[name]) for name in weights)


def activation(clip) -> str:
    block = clip.model.visual.transformer.resblocks[0]
    assert type(block.mlp.gelu) is type(clip.model.transformer.resblocks[0].mlp.gelu)
    return type(block.mlp.gelu).__name__


def test_a_folder_is_loaded_ready_for_inference(folder):
    weights = write_tiny_clip(folder)
    clip = load_clip(f"local-dir:{folder}")
    assert holds(clip.model, weights)
    assert not clip.model.training
    assert not any(parameter.requires_grad for parameter in clip.model.parameters())
    assert clip.name == f"local-dir:{folder}"
    assert (list(clip.mean), list(clip.std)) == (STATISTICS["mean"], STATISTICS["std"])
    assert clip.model.visual.patch_size[0] == 16
    assert clip.logit_scale == 40.0
    assert clip.tokenize(["a dog"]).shape == (1, ARCHITECTURE["text_cfg"]["context_length"])


def test_a_folder_under_the_home_folder_is_found(folder, monkeypatch):
    weights = write_tiny_clip(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert holds(load_clip("local-dir:~/model").model, weights)


def test_the_embedded_model_brings_its_own_temperature(folder, monkeypatch):
    weights = write_tiny_clip(folder)
    weights["logit_scale"] = torch.tensor(3.0)
    save_file(weights, folder / "open_clip_model.safetensors")
    monkeypatch.setattr(clip_module, "EMBEDDED_FOLDER", folder)
    clip = load_clip()
    assert clip.name == "embedded"
    assert clip.logit_scale == pytest.approx(torch.tensor(3.0).exp().item())
    assert holds(clip.model, weights)


def test_of_several_files_the_one_made_by_open_clip_is_read(folder):
    write_config(folder)
    ours, other = initial_weights(folder, 1), initial_weights(folder, 2)
    torch.save(ours, folder / "open_clip_pytorch_model.bin")
    save_file(other, folder / "model.safetensors")
    assert holds(load_clip(f"local-dir:{folder}").model, ours)
    save_file(other, folder / "open_clip_model.safetensors")
    assert holds(load_clip(f"local-dir:{folder}").model, other)


def test_the_embedded_model_without_weights_names_a_remedy(tmp_path, monkeypatch):
    config = (clip_module.EMBEDDED_FOLDER / "open_clip_config.json").read_text()
    (tmp_path / "open_clip_config.json").write_text(config)
    monkeypatch.setattr(clip_module, "EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="'embedded' has no weights.*install the package again"):
        load_clip()


def test_a_folder_without_weights_or_configuration_is_refused(folder):
    with pytest.raises(WeightsError, match="has no '.*open_clip_config.json'; give a folder"):
        load_clip(f"local-dir:{folder}")
    with pytest.raises(WeightsError, match="has no '.*open_clip_config.json'; give a folder"):
        load_clip(f"local-dir:{folder / 'absent'}", "random")
    write_config(folder)
    with pytest.raises(WeightsError, match="has no weights in .*put open_clip_model.safetensors"):
        load_clip(f"local-dir:{folder}")


@pytest.mark.parametrize("config", ["{", "{}", '{"model_cfg": {"embed_dim": 8}}'])
def test_a_broken_configuration_is_refused(folder, config):
    write_tiny_clip(folder)
    (folder / "open_clip_config.json").write_text(config)
    with pytest.raises(WeightsError, match="cannot be built.*check its open_clip_config.json"):
        load_clip(f"local-dir:{folder}")


def test_code_in_a_folders_weights_is_not_run(folder, tmp_path):
    class Intruder:
        def __reduce__(self):
            return Path.touch, (tmp_path / "trace",)

    write_config(folder)
    torch.save({"logit_scale": Intruder()}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match="could run code"):
        load_clip(f"local-dir:{folder}")
    assert not (tmp_path / "trace").exists()


def test_weights_that_do_not_fit_are_named_with_their_shapes(folder):
    weights = write_tiny_clip(folder)
    path = folder / "open_clip_model.safetensors"
    save_file({**weights, "visual.proj": torch.zeros(64, 48)}, path)
    with pytest.raises(WeightsError, match=r"visual.proj has shape \(64, 48\), not \(64, 32\).*"
                                           "name the architecture"):
        load_clip(f"local-dir:{folder}")
    save_file({name: value for name, value in weights.items() if name != "visual.proj"}, path)
    with pytest.raises(WeightsError, match="visual.proj is missing"):
        load_clip(f"local-dir:{folder}")
    save_file({**weights, "visual.extra": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="visual.extra is unknown"):
        load_clip(f"local-dir:{folder}")


def test_a_model_with_its_own_weights_takes_no_others(folder):
    write_tiny_clip(folder)
    with pytest.raises(WeightsError, match="pretrained='openai' cannot apply; leave"):
        load_clip(f"local-dir:{folder}", "openai")
    with pytest.raises(WeightsError, match="'embedded' brings its own"):
        load_clip("embedded", "openai")


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt", "weights"])
def test_a_named_architecture_reads_a_file(named, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    if file.endswith("safetensors"):
        save_file(named, file)
    else:
        torch.save(named, file)
    clip = load_clip(PLAIN, file)
    assert holds(clip.model, named)
    assert clip.name == f"{PLAIN}/{file}"


def test_half_precision_weights_are_widened(named, tmp_path):
    save_file({name: value.half() for name, value in named.items()}, tmp_path / "w.safetensors")
    model = load_clip(PLAIN, str(tmp_path / "w.safetensors")).model
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.visual.proj, named["visual.proj"].half().float())


def test_a_missing_file_is_not_mistaken_for_a_tag(named):
    with pytest.raises(WeightsError, match="'absent.safetensors' does not exist"):
        load_clip(PLAIN, "absent.safetensors")


@pytest.mark.parametrize(("file", "expected"), [
    ("vit_b_16_openai.safetensors", "QuickGELU"),
    ("MetaCLIP-400m.safetensors", "QuickGELU"),
    ("DFN2B-CLIP-ViT-B-16.safetensors", "QuickGELU"),
    ("laion2b_s34b.safetensors", "GELU"),
    ("metaclip2_worldwide.safetensors", "GELU"),
    ("metaclip_altogether.safetensors", "GELU"),
    ("DFN2B-CLIP-ViT-L-14-39B.safetensors", "GELU"),
    ("dfndr2b.safetensors", "GELU"),
    ("vit_base_patch16_clip_224.openai/open_clip_model.safetensors", "QuickGELU"),
    ("models--timm--vit.metaclip_400m/snapshots/1a/open_clip_model.safetensors", "QuickGELU"),
    ("openai/laion2b_s34b.safetensors", "GELU"),
])
def test_the_activation_follows_the_weights_origin(named, tmp_path, caplog, file, expected):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(named, path)
    clip = load_clip(PLAIN, str(path))
    assert activation(clip) == expected
    assert clip.name == f"{QUICK if expected == 'QuickGELU' else PLAIN}/{path.name}"
    assert not any("with GELU" in message for message in caplog.messages)  # its path tells


def test_weights_of_unknown_origin_are_loaded_with_a_word_on_the_activation(named, tmp_path,
                                                                            caplog):
    save_file(named, tmp_path / "weights.safetensors")
    clip = load_clip(PLAIN, str(tmp_path / "weights.safetensors"))
    assert activation(clip) == "GELU" and clip.name == f"{PLAIN}/weights.safetensors"
    assert any("with GELU" in message and QUICK in message for message in caplog.messages)


def test_the_state_dict_of_openais_own_archive_is_read(named, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    numbers = {"input_resolution": 64, "context_length": 32, "vocab_size": 49408}
    state = {name: value.half() for name, value in named.items()}
    torch.save({**state, **{name: torch.tensor(value) for name, value in numbers.items()}},
               tmp_path / "ViT-B-16.pt")
    clip = load_clip(PLAIN, str(tmp_path / "ViT-B-16.pt"))
    assert activation(clip) == "QuickGELU"
    assert clip.name == f"{QUICK}/ViT-B-16.pt"
    assert torch.equal(clip.model.visual.proj, named["visual.proj"].half().float())
    assert any("runs with QuickGELU, because it holds" in line for line in caplog.messages)
    assert not any("with GELU" in line for line in caplog.messages)


def test_an_architecture_named_quickgelu_is_taken_at_its_word(named, tmp_path, caplog):
    save_file(named, tmp_path / "weights.safetensors")
    clip = load_clip(QUICK, str(tmp_path / "weights.safetensors"))
    assert activation(clip) == "QuickGELU"
    assert clip.name == f"{QUICK}/weights.safetensors"
    assert not caplog.messages


def test_no_activation_warning_where_there_is_no_choice(named, tmp_path, caplog):
    save_file(named, tmp_path / "weights.safetensors")
    assert activation(load_clip(NO_TWIN, str(tmp_path / "weights.safetensors"))) == "GELU"
    assert not caplog.messages


def test_random_weights_are_announced(named, folder, caplog):
    write_config(folder)
    for model, name in ((PLAIN, f"{PLAIN}/random"), (f"local-dir:{folder}",
                                                     f"local-dir:{folder}/random")):
        caplog.clear()
        clip = load_clip(model, "random")
        assert clip.name == name
        assert any("RANDOM weights" in record.getMessage() and record.levelno == logging.WARNING
                   for record in caplog.records)


def test_loading_a_file_says_nothing_of_random_weights(named, folder, caplog):
    write_tiny_clip(folder)
    caplog.clear()
    load_clip(f"local-dir:{folder}")
    assert not [message for message in caplog.messages if "random" in message.lower()]
    logging.getLogger().warning("initialized randomly")  # the notice is held back only meanwhile
    assert caplog.messages[-1] == "initialized randomly"


@pytest.mark.parametrize(("model", "message"), [
    ("ViT-B/17", "'ViT-B/17' is unknown; did you mean 'ViT-B-16'.*choose 'embedded' or"),
    ("clip", "'clip' is unknown; choose 'embedded' or"),
    ("", "'' is unknown; choose 'embedded' or"),
    ("Embedded", "'Embedded' is unknown; did you mean 'embedded'"),
    ("https://huggingface.co/a/b-c/tree/main", "it is a web address; write 'hf-hub:a/b-c'"),
    ("./absent", "there is no such folder or file; give one that exists as 'local-dir:"),
    ("hf-hub:laion", "'hf-hub:laion' is unknown; write 'hf-hub:<org>/<repo>'"),
    ("vit-b-16", "did you mean 'ViT-B-16'"),
    ("ViTB16", "did you mean 'ViT-B-16'"),
    ("openai/clip-vit-base-patch16", "transformers' name; write 'ViT-B/16', or 'hf-hub:openai/"),
    ("clip-vit-large-patch14-336", "write 'ViT-L/14@336px', or 'hf-hub:openai/clip-vit-large"),
    ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "write 'ViT-B-16' with pretrained 'laion2b_s34b"),
    ("someone/something", "for a repository of the hub write 'hf-hub:someone/something'"),
    (str(Path(__file__).parent), "it is a folder; write 'local-dir:/.*models'"),
    (__file__, "it is a file; give it as pretrained, and its architecture"),
    ("hub:laion/some", "'hub:laion/some' is unknown; write 'hf-hub:"),
    ("local-dir:", "'local-dir:' is unknown; write"),
])
def test_an_unknown_model_is_refused(model, message):
    with pytest.raises(WeightsError, match=message):
        load_clip(model, "random")


@pytest.mark.parametrize("arguments", [{"model": None}, {"pretrained": 5}])
def test_a_name_that_is_no_text_is_refused(arguments):
    with pytest.raises(ValueError, match=r"(model=None|pretrained=5) is of type .*give a text"):
        load_clip(**arguments)


def test_an_unknown_tag_is_refused_with_the_known_ones(named):
    with pytest.raises(WeightsError, match="'opnai' is neither a file nor a tag of 'ViT-B/16'.*"
                                           "openai.*laion2b_s34b_b88k"):
        load_clip("ViT-B/16", "opnai")
    with pytest.raises(WeightsError, match=r"'openai' is neither.*\(none\)"):
        load_clip(PLAIN)
    with pytest.raises(WeightsError, match="'metaclip' is .*did you mean 'metaclip_400m'"):
        load_clip("ViT-B/16", "metaclip")
    with pytest.raises(WeightsError, match="'hf-hub:a/b' brings its own architecture; give it as "
                                           "model"):
        load_clip("ViT-B/16", "hf-hub:a/b")


@pytest.mark.parametrize(("model", "architecture"), [
    ("ViT-L/14@336px", "ViT-L-14-336"), ("ViT-B/16", "ViT-B-16"),
])
def test_openais_own_spelling_is_understood(model, architecture):
    assert architecture_of(model) == architecture


def test_a_model_may_be_named_as_the_log_names_it(named, offline, tmp_path):
    assert split_tag("ViT-B-16/openai", "") == ("ViT-B-16", "openai")
    assert split_tag("ViT-B-16-quickgelu/openai", "") == ("ViT-B-16-quickgelu", "openai")
    for kept in (("ViT-B/16", ""), ("ViT-B-16/openai", "laion2b_s34b_b88k"), ("a/b", "")):
        assert split_tag(*kept) == kept


def test_an_architecture_without_openais_weights_is_told_so(named):
    with pytest.raises(WeightsError, match="'ViT-H-14' has no weights called 'openai', which is "
                                           "what an empty pretrained stands for.*laion2b"):
        load_clip("ViT-H-14")


@pytest.mark.parametrize(("model", "pretrained", "name", "command"), [
    ("ViT-B/16", "", "ViT-B-16-quickgelu/openai", "--model ViT-B/16 --to"),
    ("ViT-B/16", "OpenAI", "ViT-B-16-quickgelu/openai",
     "--model ViT-B/16 --pretrained OpenAI --to"),
    ("ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k",
     "--model ViT-B-32 --pretrained laion2b_s34b_b79k --to"),
    ("ViT-B-32-quickgelu", "metaclip_400m", "ViT-B-32-quickgelu/metaclip_400m",
     "--model ViT-B-32-quickgelu --pretrained metaclip_400m --to"),
    ("hf-hub:laion/no-such-model", "", "hf-hub:laion/no-such-model",
     "--model hf-hub:laion/no-such-model --to"),
])
def test_weights_out_of_reach_name_the_remedies(offline, tmp_path, caplog, model, pretrained, name,
                                                command):
    with pytest.raises(WeightsError, match=f"'{name}' are out of reach: '{tmp_path}' lacks them, "
                                           "and HF_HUB_OFFLINE is set.*unset.*"
                                           f"sclip-fetch {command} FOLDER.*local-dir:FOLDER.*"
                                           "'embedded', which needs no network"):
        load_clip(model, pretrained, cache_dir=str(tmp_path))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".safetensors", ".bin")]


def test_random_weights_of_an_unreachable_repository_are_refused(offline, tmp_path):
    with pytest.raises(WeightsError, match="'hf-hub:laion/no-such-model' are out of reach"):
        load_clip("hf-hub:laion/no-such-model", "random", cache_dir=str(tmp_path))


# Refused before anything is downloaded


@pytest.mark.parametrize(("model", "pretrained", "family"), [
    ("RN50", "openai", "ResNet"), ("MobileCLIP2-S0", "dfndr2b", "MobileCLIP"),
    ("coca_ViT-B-32", "laion2b_s13b_b90k", "CoCa")])
def test_a_family_that_cannot_work_is_refused_before_it_is_downloaded(offline, tmp_path, model,
                                                                      pretrained, family):
    """Offline, whoever wanted to download would complain of that."""
    with pytest.raises(WeightsError, match=f"'{model}' cannot be used: {family} is not supported "
                                           ".*ViT"):
        SCLIPSegmentor(model, pretrained, cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["xlm-roberta-base-ViT-B-32", "ViT-L-14-CLIPA"])
def test_a_lack_of_transformers_is_called_so_before_anything_is_downloaded(
        offline, tmp_path, monkeypatch, model):
    monkeypatch.setattr(clip_module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=f"'{model}' needs .*pip install transformers"):
        load_clip(model, open_clip.list_pretrained_tags_by_model(model)[0],
                  cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


# What people have on disk


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


def test_weights_of_another_image_size_bring_it_along(named, tmp_path):
    width = named["visual.positional_embedding"].shape[1]
    weights = {**named, "visual.positional_embedding": torch.randn(1 + 7 * 7, width)}
    torch.save(weights, tmp_path / "larger.pt")
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


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_openais_torchscript_archive_is_loaded_with_its_activation(named, tmp_path):
    """Half precision and three numbers beside the weights, as in OpenAI's own."""
    model = open_clip.CLIP(**ARCHITECTURE)
    model.load_state_dict(named)
    for name, number in (("input_resolution", 64), ("context_length", 32), ("vocab_size", 49408)):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(number))
    traced = torch.jit.trace(model, (torch.zeros(1, 3, 64, 64), torch.zeros(1, 32).long()),
                             strict=False, check_trace=False)
    traced.half().save(str(tmp_path / "ViT-B-16.pt"))
    clip = load_clip(PLAIN, str(tmp_path / "ViT-B-16.pt"))
    assert activation(clip) == "QuickGELU"
    assert holds(clip.model, {name: value.half().float() for name, value in named.items()})


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


# SigLIP, EVA-CLIP


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


def test_transformers_siglip_is_the_same_model(small_siglip, tmp_path):
    folder = tmp_path / "siglip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "siglip", "text_config": {"vocab_size": 49408},
        "vision_config": {"hidden_size": 64, "image_size": 64, "patch_size": 16}}))
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    save_file(siglip_of_transformers(small_siglip), folder / "model.safetensors")
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


# Identity


def test_a_published_file_is_recognised_by_its_checksum_whatever_it_is_called(
        named, tmp_path, monkeypatch):
    """As OpenAI's files are, whose addresses hold their SHA-256."""
    save_file(named, tmp_path / "renamed.bin")
    known = {sha256(tmp_path / "renamed.bin"): (PLAIN, "openai")}
    monkeypatch.setattr(identity, "_checksums", lambda: known)
    tag = {"quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setitem(published._PRETRAINED, PLAIN, {"openai": tag})
    clip = load_clip(PLAIN, str(tmp_path / "renamed.bin"))
    assert clip.name == f"{QUICK}/openai" and activation(clip) == "QuickGELU"
    assert (clip.mean, clip.std) == (tag["mean"], tag["std"])


def test_the_checksums_of_openais_files_are_known():
    """The SHA-256 that OpenAI states for its ViT-B/16."""
    found = identity.origin_of(
        Path("x.pt"), "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f")
    assert found.name == "ViT-B-16-quickgelu/openai"


def test_a_file_of_the_cache_is_what_its_repository_publishes(hub):
    hub.publish_clip()
    path = load_clip(TINY).origin.path
    for file in (path, path.resolve()):  # a link, and the blob that has no ending
        clip = load_clip(TINY, str(file))
        assert clip.name == f"{TINY}-quickgelu/openai" and activation(clip) == "QuickGELU"
        assert clip.mean == (0.1, 0.2, 0.3)
