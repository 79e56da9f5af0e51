"""`sclip-fetch`: a folder that a robot runs from without network, cache or variables."""

from __future__ import annotations

import json
import shutil
import signal
import time
from importlib.util import find_spec

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from checkpoints import random_state
from forked_programs import ForkedProgram, can_fork
from model_hub import REPOSITORY, STATISTICS, TINY, Faults
from safetensors.torch import save
from timm_towers import enliven, write_siglip, write_tokenizer

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.proxies import weights
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.upsamplers.loftup import weights as loftup_weights
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUpSizes
from sclip_seg_ros.tools.fetch import main
from sclip_seg_ros.tools.figures import provenance

FILE = "open_clip_model.safetensors"
SCLIP = "import sys; from sclip_seg_ros.tools.sclip import main; sys.exit(main())"


@pytest.fixture
def published(hub, monkeypatch):
    weights = hub.publish_clip()
    hub.publish_bin_only()
    sizes = LoftUpSizes(32, frequencies=6, position_frequencies=3, depth=1, hidden=32)
    place = hub.folder / loftup_weights.REPOSITORY / loftup_weights.FILE_NAME
    place.parent.mkdir(parents=True)
    torch.save(random_state(sizes), place)
    monkeypatch.setattr(loftup_weights, "PUBLISHED_BACKBONE", f"{TINY}-quickgelu/openai")
    return weights


def leave(hub, monkeypatch):
    """Take the folder to a robot: no hub, no cache."""
    hub.stop()
    shutil.rmtree(hub.folder.parent / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/nowhere")
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")


def test_a_robot_runs_from_the_folder_alone(hub, published, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "clip"
    assert main(["--model", TINY, "--upsampler", "loftup", "--to", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"model:=local-dir:{folder}" in said and hub.commit(REPOSITORY) in said
    first = load_clip(TINY)
    leave(hub, monkeypatch)
    segmentor = SCLIPSegmentor(f"local-dir:{folder}", use_loftup=True)
    assert segmentor.name == first.name == f"{TINY}-quickgelu/openai"
    origin = segmentor.origin
    assert (origin.commit, origin.sha256) == (first.origin.commit, first.origin.sha256)
    assert origin.licence == "mit"
    clip = load_clip(f"local-dir:{folder}")
    assert (clip.mean, clip.std) == (STATISTICS["mean"], STATISTICS["std"])
    assert all(torch.equal(value, published[name])
               for name, value in clip.model.state_dict().items())
    labels = segmentor.segment(np.zeros((64, 64, 3), np.uint8), ["a", "b"])
    assert labels.shape == (64, 64)
    words = segmentor.vocabulary(["a", "b"])
    described = provenance.describe_segmentation(segmentor, words)
    assert described["model"]["weights_commit"] == f"{REPOSITORY}@{origin.commit}"
    assert str(folder / "loftup.bin") in described["upsampler"]["LoftUp"]


@pytest.fixture
def small_proxy(hub, monkeypatch) -> str:
    """Publish a DINOv2 of two narrow blocks; return its name."""
    name = "dinov2_vits14"

    def small(wanted: str):
        return enliven(timm.create_model(PROXIES[wanted].architecture, num_classes=0, depth=2,
                                         embed_dim=48, num_heads=4))

    monkeypatch.setattr(weights, "build_network", small)
    hub.publish(PROXIES[name].repository, {"model.safetensors": save(small(name).state_dict())})
    return name


def test_a_proxy_comes_along_in_the_folder(hub, published, small_proxy, tmp_path, monkeypatch,
                                           capsys):
    folder = tmp_path / "clip"
    assert main(["--model", TINY, "--proxy", small_proxy, "--to", str(folder)]) == 0
    assert hub.commit(PROXIES[small_proxy].repository) in capsys.readouterr().out
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    changes = {"use_proxy": True, "proxy__model": small_proxy, "precision": "fp32"}
    expected = SCLIPSegmentor(TINY, **changes).predict_dense(picture, ["a", "b"]).scores
    leave(hub, monkeypatch)
    segmentor = SCLIPSegmentor(f"local-dir:{folder}", **changes)
    assert segmentor.name == f"{TINY}-quickgelu/openai"
    assert torch.equal(segmentor.predict_dense(picture, ["a", "b"]).scores, expected)
    assert str(folder) in segmentor.proxies.origin(segmentor.settings)


def test_a_proxy_alone_fills_the_cache(hub, small_proxy, capsys):
    assert main(["--proxy", small_proxy]) == 0
    assert hub.commit(PROXIES[small_proxy].repository) in capsys.readouterr().out
    hub.stop()
    segmentor = SCLIPSegmentor(use_proxy=True, proxy__model=small_proxy, precision="fp32")
    assert PROXIES[small_proxy].repository in segmentor.proxies.origin(segmentor.settings)


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_a_siglip_brings_its_tokenizer_along(hub, tmp_path, monkeypatch):
    write_siglip(tmp_path / "siglip")
    write_tokenizer(tmp_path / "siglip", "tests/siglip")
    hub.publish("tests/siglip", {path.name: path.read_bytes()
                                 for path in (tmp_path / "siglip").iterdir()})
    folder = tmp_path / "robot"
    assert main(["--model", "hf-hub:tests/siglip", "--to", str(folder)]) == 0
    words = ["red cup", "chair"]
    expected = SCLIPSegmentor("hf-hub:tests/siglip").vocabulary(words).embeddings
    leave(hub, monkeypatch)
    found = SCLIPSegmentor(f"local-dir:{folder}").vocabulary(words).embeddings
    assert torch.equal(found, expected)


def test_weights_without_safetensors_are_copied_as_they_are(hub, published, tmp_path, monkeypatch):
    folder = tmp_path / "clip"
    assert main(["--model", TINY, "--pretrained", "bin_only", "--to", str(folder)]) == 0
    leave(hub, monkeypatch)
    assert load_clip(f"local-dir:{folder}").name == f"{TINY}-quickgelu/bin_only"


def test_another_model_into_the_same_folder_replaces_it(hub, published, tmp_path):
    folder = tmp_path / "clip"
    main(["--model", TINY, "--to", str(folder)])
    main(["--model", TINY, "--pretrained", "bin_only", "--to", str(folder)])
    assert load_clip(f"local-dir:{folder}").name == f"{TINY}-quickgelu/bin_only"


def test_a_folder_whose_weights_were_replaced_is_not_called_what_it_was(hub, published, tmp_path):
    folder = tmp_path / "clip"
    main(["--model", TINY, "--to", str(folder)])
    hub.publish_clip(seed=5)
    shutil.copy(hub.folder / REPOSITORY / FILE, folder / FILE)
    assert load_clip(f"local-dir:{folder}").name == f"local-dir:{folder}"


def test_update_brings_newer_weights_and_nothing_else_does(hub, published, capsys):
    old = hub.commit(REPOSITORY)
    main(["--model", TINY])
    hub.publish_clip(seed=5)
    new = hub.commit(REPOSITORY)
    main(["--model", TINY])
    assert old in capsys.readouterr().out
    main(["--model", TINY, "--update"])
    assert new in capsys.readouterr().out
    assert load_clip(TINY).origin.commit == new


def test_the_list_says_what_is_there(hub, published, capsys):
    main(["--model", TINY])
    capsys.readouterr()
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert f"{REPOSITORY}@{hub.commit(REPOSITORY)}: 7.1 MB" in said and FILE in said


@pytest.mark.parametrize(("arguments", "complaint"), [
    ([], "there is nothing to fetch; give --model"),
    (["--proxy", "dinov2_vits14", "--to", "folder"], "--to needs a model that it is for"),
    (["--upsampler", "anyup", "--proxy", "dinov2_vits14"], "--upsampler needs a model"),
    (["--model", "embedded"], "ships with the package"),
    (["--model", TINY, "--pretrained", "random"], "fetched from nowhere"),
    (["--model", "ViT-B/17"], "did you mean 'ViT-B-16'"),
    (["--model", "RN50"], "ResNet is not supported"),
    (["--model", TINY, "--pretrained", "bin_only", "--upsampler", "loftup"], "no LoftUp is known"),
    (["--model", TINY, "--to", __file__], "is a file; give a folder"),
])
def test_what_cannot_be_fetched_is_refused_in_one_line(hub, published, capsys, arguments,
                                                       complaint):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", ["fetch", "segment"])
def test_ctrl_c_in_a_download_is_one_line_and_the_next_start_goes_on(
        hub, published, tmp_path, monkeypatch, number, program):
    """Through the tags of the repository itself: another process knows no tiny architecture."""
    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    hub.faults = Faults(only="storage", rate=2e6)
    assert can_fork()
    log = tmp_path / "log"
    process = ForkedProgram(SCLIP, ["sclip", program, "--model", f"hf-hub:{REPOSITORY}"] + (
        ["a.png", "--output", "out", "--vocabulary", "a", "b"] if program == "segment" else []),
        log)
    end = time.monotonic() + 60
    cache = hub.folder.parent / "cache"
    while not any(path.stat().st_size > 100_000 for path in cache.rglob("*.incomplete")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=30) == (130 if number == signal.SIGINT else -signal.SIGTERM)
    said = log.read_text()
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert len(said.strip().splitlines()) == 1 and "interrupted" in said
    [half] = cache.rglob("*.incomplete")
    there, ranges = half.stat().st_size, []
    hub.faults = Faults()
    hub.on_send = lambda headers: ranges.append(headers.get("Range"))
    assert load_clip(f"hf-hub:{REPOSITORY}").origin.commit == hub.commit(REPOSITORY)
    assert ranges == [f"bytes={there}-"]


def test_the_folder_says_in_plain_text_what_it_holds(hub, published, tmp_path):
    folder = tmp_path / "clip"
    main(["--model", TINY, "--to", str(folder)])
    stated = json.loads((folder / "sclip.json").read_text())
    assert (stated["architecture"], stated["pretrained"]) == (TINY, "openai")
    assert stated["repository"] == REPOSITORY and stated["licence"] == "mit"
    config = json.loads((folder / "open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] is True
    assert tuple(config["preprocess_cfg"]["mean"]) == STATISTICS["mean"]


def test_what_suits_a_model_comes_along(hub, published, tmp_path):
    config = json.loads((hub.folder / REPOSITORY / "open_clip_config.json").read_text())
    suits = {"inference": "whole", "short_side": 96}
    hub.publish(REPOSITORY, {"open_clip_config.json": json.dumps(
        config | {"sclip_seg_ros": suits}).encode()})
    assert main(["--model", f"hf-hub:{REPOSITORY}", "--to", str(tmp_path / "clip")]) == 0
    assert load_clip(f"local-dir:{tmp_path / 'clip'}").suits == suits
    assert SCLIPSegmentor(f"local-dir:{tmp_path / 'clip'}").working_size(480, 640) == (96, 128)


PNG = bytes.fromhex(  # one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636800"
    "000082008177cd72b60000000049454e44ae426082")
