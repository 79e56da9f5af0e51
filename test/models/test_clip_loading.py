"""CLIP models come with the weights that were asked for, or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import (
    ARCHITECTURE,
    PLAIN,
    STATISTICS,
    holds,
    initial_weights,
    write_config,
    write_tiny_clip,
)

from sclip_seg_ros.models import WeightsError, load_clip
from sclip_seg_ros.models import clip as clip_module


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


def test_nothing_is_drawn_at_random_for_weights_to_be_read(folder):
    weights = write_tiny_clip(folder)
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    clip = load_clip(f"local-dir:{folder}")
    assert torch.rand(4).equal(expected)
    assert holds(clip.model, weights)


def test_random_weights_are_drawn_anew_and_repeat_with_a_seed(folder):
    write_config(folder)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(load_clip(f"local-dir:{folder}", "random").model.state_dict())
    first, same, other = drawn
    assert all(first[name].equal(same[name]) for name in first)
    assert not any(first[name].equal(other[name]) for name in first
                   if name.endswith("weight") and first[name].ndim > 1)


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


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "clip.pt"])
def test_what_lies_beside_weights_is_not_taken_for_them(folder, name):
    """As a trainer, a Mac, a download that broke off and transformers leave it there."""
    write_config(folder)
    weights = initial_weights(folder)
    save_file(weights, folder / name) if name.endswith(".safetensors") else \
        torch.save(weights, folder / name)
    part = {"visual.proj": weights["visual.proj"]}
    for other in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state_0.pth"):
        torch.save({"state": {}, "step": 3}, folder / other)
    for number in (1, 2):
        save_file(part, folder / f"model-0000{number}-of-00002.safetensors")
    (folder / "._model.safetensors").write_bytes(b"\0\5\x16\7 a Mac's note")
    (folder / "a.safetensors").mkdir()
    (folder / "b.safetensors").symlink_to("nowhere")
    assert holds(load_clip(f"local-dir:{folder}").model, weights)


def test_parts_of_weights_are_called_so(folder):
    write_config(folder)
    weights = initial_weights(folder)
    names = sorted(weights)
    for number, part in enumerate((names[:9], names[9:]), 1):
        save_file({name: weights[name] for name in part},
                  folder / f"model-0000{number}-of-00002.safetensors")
    with pytest.raises(WeightsError, match="model-00001-of-00002.safetensors' is one of several "
                                           "parts .*max_shard_size"):
        load_clip(f"local-dir:{folder}")
    save_file(weights, folder / "model-00001-of-00001.safetensors")
    assert holds(load_clip(f"local-dir:{folder}").model, weights)


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
