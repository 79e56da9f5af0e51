"""Which LoftUp a model gets, and that a checkpoint's stated contract is kept."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from checkpoints import save_loftup
from safetensors.torch import load_file, save_file

from sclip_seg_ros.models.upsampler import resolve_source
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.contracts import FeatureContract
from sclip_seg_ros.segmentation.settings import LoftUpSettings
from sclip_seg_ros.segmentation.upsampling import make_upsampler

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


def test_a_checkpoint_for_another_backbone_is_refused(tmp_path):
    path = save_loftup(tmp_path / "other.safetensors", 128,
                       FeatureContract("ViT-B-16/mine", "attended", "clip"))
    with pytest.raises(WeightsError, match="trained for 'ViT-B-16/mine', not for 'embedded'"):
        make_upsampler(LoftUpSettings(source=path), 128, backbone="embedded")


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
        make_upsampler(LoftUpSettings(source=str(broken)), 128)


def test_the_stated_heads_are_used(tmp_path):
    path = save_loftup(tmp_path / "plain.safetensors", 128)     # 140 channels wide
    stated = tmp_path / "stated.safetensors"
    save_file(load_file(path), stated, metadata={"loftup_heads": "2"})
    for source, heads in ((path, 4), (str(stated), 2)):
        assert make_upsampler(LoftUpSettings(source=source), 128).network.sizes.heads == heads
