"""The activation, and what else only a file's origin tells, follow the weights."""

from __future__ import annotations

import logging
from pathlib import Path

import open_clip
import pytest
import torch
from model_hub import TINY
from open_clip import pretrained as published
from safetensors.torch import save_file
from tiny_clip import ARCHITECTURE, NO_TWIN, PLAIN, QUICK, activation, holds

from sclip_seg_ros.models import identity, load_clip
from sclip_seg_ros.models.weights import checksum


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


def test_a_published_file_is_recognised_by_its_checksum_whatever_it_is_called(
        named, tmp_path, monkeypatch):
    """As OpenAI's files are, whose addresses hold their SHA-256."""
    save_file(named, tmp_path / "renamed.bin")
    known = {checksum(tmp_path / "renamed.bin"): (PLAIN, "openai")}
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
