"""Which LoftUp a model gets, and that a checkpoint's stated contract is kept."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from checkpoints import save_loftup
from safetensors.torch import load_file, save_file

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.pipeline.upsampler_store import UpsamplerStore
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings, load_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import resolve_source

EMBEDDED_CONTRACT = FeatureContract("embedded", "attended", "clip")


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    """Return a segmentor with the embedded model."""
    return SCLIPSegmentor()


def test_auto_is_the_models_own():
    assert resolve_source("auto", "embedded") == "embedded"
    assert resolve_source("auto", "ViT-B-16-quickgelu/openai") == "hub"
    assert resolve_source("mine.safetensors", "embedded") == "mine.safetensors"


def test_auto_refuses_a_model_that_has_none():
    with pytest.raises(WeightsError, match="'ViT-B-32/laion2b'.*sclip-train-loftup.*source"):
        resolve_source("auto", "ViT-B-32/laion2b")


@pytest.mark.parametrize(("model", "name"), [
    ("ViT-B-16-SigLIP/webli", "siglip"), ("ViT-B-16-SigLIP2/webli", "siglip2"),
    ("dinov2_vitb14_reg", "dinov2b_reg"), ("dinov2_vits14", "dinov2s")])
def test_the_authors_files_for_other_backbones_are_fetched_by_name(hub, tmp_path, model, name):
    assert resolve_source("auto", model) == f"hub:{name}"
    path = save_loftup(tmp_path / "pytorch_model.safetensors", 8)
    torch.save(load_file(path), tmp_path / "pytorch_model.bin")
    hub.publish(f"haiwen/loftup-{name}",
                {"pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()})
    expected = FeatureContract(model, "plain", "imagenet")
    for source in ("auto", f"hub:{name}", str(tmp_path / "pytorch_model.bin")):
        upsampler = load_loftup(LoftUpSettings(source=source), 8, backbone=model)
        assert upsampler.contract == expected and upsampler.layer == "plain"
    hub.stop()
    assert load_loftup(LoftUpSettings(), 8, backbone=model).contract == expected
    with pytest.raises(WeightsError, match="publish none called 'siglip3'; write 'hub'.*siglip2"):
        load_loftup(LoftUpSettings(source="hub:siglip3"), 8, backbone=model)


def test_a_checkpoint_for_another_backbone_is_refused(tmp_path):
    path = save_loftup(tmp_path / "other.safetensors", 128,
                       FeatureContract("ViT-B-16/mine", "attended", "clip"))
    with pytest.raises(WeightsError, match="trained for 'ViT-B-16/mine', not for 'embedded'"):
        load_loftup(LoftUpSettings(source=path), 128, backbone="embedded")


def test_the_stated_contract_must_be_kept(segmentor, tmp_path):
    path = save_loftup(tmp_path / "own.safetensors", 128, EMBEDDED_CONTRACT)
    wanted = segmentor.settings.with_changes(use_loftup=True, loftup__source=path)
    with pytest.raises(WeightsError, match="layer is 'value'.*loftup.contract to auto"):
        segmentor.settings = wanted.with_changes(loftup__contract="value")
    segmentor.settings = wanted
    labels = segmentor.segment(np.zeros((64, 64, 3), np.uint8), ["red ball", "floor"])
    assert labels.shape == (64, 64)


def test_a_stated_normalisation_must_be_kept(segmentor, tmp_path):
    path = save_loftup(tmp_path / "imagenet.safetensors", 128,
                       FeatureContract("embedded", "attended", "imagenet"))
    with pytest.raises(WeightsError, match="normalisation is 'clip'"):
        segmentor.settings = segmentor.settings.with_changes(use_loftup=True, loftup__source=path)


def test_a_silent_checkpoint_is_taken_with_a_warning(segmentor, tmp_path, caplog):
    path = save_loftup(tmp_path / "silent.safetensors", 128)
    with caplog.at_level(logging.WARNING):
        segmentor.settings = segmentor.settings.with_changes(use_loftup=True, loftup__source=path)
    assert "was not trained on" in caplog.text


def test_a_number_of_heads_that_is_none_is_refused(tmp_path):
    path = save_loftup(tmp_path / "plain.safetensors", 128)
    broken = tmp_path / "broken.safetensors"
    save_file(load_file(path), broken, metadata={"loftup_heads": "many"})
    with pytest.raises(WeightsError, match="loftup_heads='many'"):
        load_loftup(LoftUpSettings(source=str(broken)), 128)


def test_the_stated_heads_are_used(tmp_path):
    path = save_loftup(tmp_path / "plain.safetensors", 128)     # 140 channels wide
    stated = tmp_path / "stated.safetensors"
    save_file(load_file(path), stated, metadata={"loftup_heads": "2"})
    for source, heads in ((path, 4), (str(stated), 2)):
        assert load_loftup(LoftUpSettings(source=source), 128).network.sizes.heads == heads


def test_pipelines_prepared_by_two_threads_have_each_its_own_weights(tmp_path, monkeypatch):
    """As in the studio, where one labels while the other checks what was chosen."""
    segmentor, keep = SCLIPSegmentor(), UpsamplerStore.keep
    dimension = segmentor.backbone.dimension
    files = [save_loftup(tmp_path / f"{number}.safetensors", dimension) for number in range(2)]
    both = threading.Barrier(2)

    def keep_and_wait(*arguments):
        keep(*arguments)
        with suppress(threading.BrokenBarrierError):  # nobody else comes while one is at it
            both.wait(1.0)

    monkeypatch.setattr(UpsamplerStore, "keep", keep_and_wait)
    with ThreadPoolExecutor(2) as threads:
        pipelines = threads.map(segmentor.prepare, [
            SegmentorSettings(use_loftup=True, loftup=LoftUpSettings(source=file))
            for file in files])
    for pipeline, file in zip(pipelines, files, strict=True):
        assert pipeline.upsampler.origin.startswith(file)
