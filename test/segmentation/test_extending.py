"""What is added as docs/extending.md says is found by everything else, and labels frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from extending_page import import_example
from tiny_clip import ARCHITECTURE, write_config
from torch import Tensor

from sclip_seg_ros.common.yaml_values import typed_changes
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, Attention
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.families import FAMILIES
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.backbones.proxies.weights import build_network
from sclip_seg_ros.segmentation.refinement import REFINEMENTS
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS
from sclip_seg_ros.tools import sclip
from sclip_seg_ros.tools.sclip import VERBS

WORDS = ["floor", "wall", "ball"]
SMALL = {"short_side": 64, "inference": "whole"}


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Take out again what a test adds."""
    tables = (ATTENTIONS, PROXIES, REFINEMENTS, UPSAMPLERS, VERBS)
    before, families = [dict(table) for table in tables], list(FAMILIES)
    yield
    FAMILIES[:] = families
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def settings(tmp_path: Path) -> SegmentorSettings:
    return import_example("A setting", tmp_path).ExtendedSettings(**SMALL)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)


def test_a_setting_is_checked_and_named_by_its_declaration(settings: SegmentorSettings) -> None:
    kind = type(settings)
    changed = settings.with_changes(typed_changes({"use_blur": True, "blur": {"radius": 3}}, kind))
    assert changed.blur.radius == 3 and changed.use_blur
    with pytest.raises(ValueError, match=r"blur\.radius must be 0 to 50, got 51"):
        settings.with_changes({"blur.radius": 51})
    with pytest.raises(ValueError, match=r"'blur\.radus' does not exist; did you mean blur\.rad"):
        typed_changes({"blur.radus": 3}, kind)


def test_a_refinement_runs_where_its_switch_is_on(settings: SegmentorSettings, image: np.ndarray,
                                                  tmp_path: Path) -> None:
    import_example("A refinement", tmp_path)
    settings = settings.with_changes(use_pamr=False)
    segmentor = SCLIPSegmentor(settings=settings)
    plain = segmentor.predict_dense(image, WORDS)
    assert plain.iterations == {} and "blur" not in plain.stage_ms
    segmentor.settings = settings.with_changes(
        {"use_blur": True, "blur.radius": 50, "blur.times": 3})
    blurred = segmentor.predict_dense(image, WORDS)
    assert blurred.iterations == {"blur": 3} and blurred.stage_ms["blur"] > 0
    spread, before = (result.scores.flatten(1).std(1) for result in (blurred, plain))
    assert (spread < 0.1 * before).all(), "of each word's map"
    stopped = segmentor.predict_dense(image, WORDS, keep_going=lambda ran: ran < 1)
    assert stopped.iterations == {"blur": 1}


def test_an_upsampler_runs_where_its_switch_is_on(settings: SegmentorSettings, image: np.ndarray,
                                                  tmp_path: Path) -> None:
    import_example("An upsampler", tmp_path)
    segmentor = SCLIPSegmentor(settings=settings)
    text = segmentor.vocabulary(WORDS)
    plain = segmentor.predict_dense(image, text)
    segmentor.settings = settings.with_changes({"use_repeat": True, "repeat.factor": 2})
    enlarged = segmentor.predict_dense(image, text)
    assert "upsample" in enlarged.stage_ms and "upsample" not in plain.stage_ms
    assert segmentor.fallbacks == () and segmentor.pipeline.departures == ()
    assert plain.labels.shape == enlarged.labels.shape == image.shape[:2]
    assert np.mean(plain.labels == enlarged.labels) > 0.8, "the same features, with sharper edges"


def test_an_attention_rule_is_a_row(image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attention='keys' is unknown; choose one of sclip"):
        SegmentorSettings(attention="keys")
    import_example("An attention rule", tmp_path)
    segmentor = SCLIPSegmentor(**SMALL, attention="keys")
    found = segmentor.predict_dense(image, WORDS).scores
    segmentor.settings = segmentor.settings.with_changes(attention="sclip")
    assert not torch.allclose(segmentor.predict_dense(image, WORDS).scores, found)
    segmentor.settings = segmentor.settings.with_changes(use_resclip=True, attention="keys")
    assert segmentor.predict_dense(image, WORDS).scores.isfinite().all()


def test_a_method_may_give_the_tokens_itself(image: np.ndarray) -> None:
    def values(backbone: DenseBackbone, images: Tensor) -> Tensor:
        return backbone.value_tokens(backbone.penultimate(images), class_token=False)

    ATTENTIONS["values"] = Attention("this test", tokens=values)
    segmentor = SCLIPSegmentor(**SMALL, attention="values")
    found = segmentor.predict_dense(image, WORDS)
    assert found.labels.shape == image.shape[:2] and found.scores.isfinite().all()
    with pytest.raises(ValueError, match="attention 'values' changes more than the last block's"):
        segmentor.settings = segmentor.settings.with_changes(use_resclip=True)


def test_two_upsamplers_at_once_are_refused_whoever_brought_them(settings: SegmentorSettings,
                                                                 tmp_path: Path) -> None:
    import_example("An upsampler", tmp_path)
    segmentor = SCLIPSegmentor(settings=settings)
    with pytest.raises(ValueError, match="use_loftup and use_repeat cannot both be on"):
        segmentor.prepare(settings.with_changes(use_loftup=True, use_repeat=True))


def test_a_family_of_towers_is_found_by_the_towers_it_holds(image: np.ndarray,
                                                            tmp_path: Path) -> None:
    example = import_example("A backbone family", tmp_path)
    write_config(tmp_path, ARCHITECTURE | {"vision_cfg": {
        "image_size": 64, "timm_model_name": "gray_vit", "timm_pool": "token",
        "timm_proj": "linear"}})
    segmentor = SCLIPSegmentor(f"local-dir:{tmp_path}", "random", **SMALL, precision="fp32")
    assert type(segmentor.backbone) is example.GrayBackbone
    assert segmentor.segment(image, WORDS).shape == image.shape[:2]
    backbone, batch = segmentor.backbone, torch.randn(2, 3, 64, 64)
    own = backbone.image_embedding(backbone.penultimate(batch))
    assert torch.allclose(own, backbone.visual(batch), atol=1e-5)
    swapped, lighter = batch[:, [2, 0, 1]], 2 * batch
    assert torch.allclose(backbone.tokens(batch), backbone.tokens(swapped), atol=1e-5)
    assert not torch.allclose(backbone.tokens(batch), backbone.tokens(lighter), atol=1e-2)


def test_a_proxy_tower_is_a_row(tmp_path: Path) -> None:
    import_example("A proxy tower", tmp_path)
    settings = SegmentorSettings().with_changes({"use_proxy": True, "proxy.model": "mae_vitb16"})
    network = build_network(settings.proxy.model)
    assert network.num_features == PROXIES["mae_vitb16"].width


def test_a_program_is_a_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_example("A program", tmp_path)
    assert "tell how alike words are to a model" in sclip.usage()
    assert sclip.main(["alike", "chair", "stool", "floor"]) == 0
    alike = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert list(alike) == ["stool", "floor"] and all(-1 <= float(cosine) < 1 for cosine
                                                     in alike.values())
    assert sclip.main(["alike", "chair", "--device", "abacus"]) == 2
    assert capsys.readouterr().err.startswith("alike: device='abacus' is unknown")
