"""CLIP models come with the weights that were asked for, or not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import ARCHITECTURE, STATISTICS, initial_weights, write_config, write_tiny_clip

from sclip_seg_ros.models import WeightsError, load_clip
from sclip_seg_ros.models import clip as clip_module

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
    assert clip.patch_size == 16
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
    warned = any("with GELU" in message and QUICK in message for message in caplog.messages)
    assert warned == (expected == "GELU")


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
    ("ViT-B/17", "'ViT-B-17' is unknown; choose 'embedded' or"),
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
    with pytest.raises(WeightsError, match="'opnai' is neither a file nor a tag of 'ViT-B-16'.*"
                                           "openai.*laion2b_s34b_b88k"):
        load_clip("ViT-B/16", "opnai")
    with pytest.raises(WeightsError, match=r"'openai' is neither.*\(none\)"):
        load_clip(PLAIN)


@pytest.mark.parametrize(("model", "pretrained", "name", "remedy"), [
    ("ViT-B/16", "", "ViT-B-16-quickgelu/openai",
     "of huggingface.co/timm/vit_base_patch16_clip_224.openai elsewhere and give its path as "
     "'pretrained' with model 'ViT-B-16-quickgelu'"),
    ("ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k",
     "of huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K .* with model 'ViT-B-32'"),
    ("ViT-B-32-quickgelu", "metaclip_400m", "ViT-B-32-quickgelu/metaclip_400m",
     "of huggingface.co/timm/vit_base_patch32_clip_224.metaclip_400m elsewhere .* with model "
     "'ViT-B-32-quickgelu'"),
    ("hf-hub:laion/no-such-model", "", "hf-hub:laion/no-such-model",
     "of huggingface.co/laion/no-such-model into a folder and give model 'local-dir:<folder>'"),
])
def test_weights_out_of_reach_name_the_remedies(offline, tmp_path, caplog, model, pretrained, name,
                                                remedy):
    with pytest.raises(WeightsError, match=f"'{name}' are out of reach.*connect.*download.*"
                                           f"open_clip_model.safetensors {remedy}.*"
                                           "'embedded', which needs no network"):
        load_clip(model, pretrained, cache_dir=str(tmp_path))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".safetensors", ".bin")]


def test_random_weights_of_an_unreachable_repository_are_refused(offline, tmp_path):
    with pytest.raises(WeightsError, match="'hf-hub:laion/no-such-model' cannot be built"):
        load_clip("hf-hub:laion/no-such-model", "random", cache_dir=str(tmp_path))
