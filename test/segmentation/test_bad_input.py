"""What the segmentor refuses, with which words, and what odd input it takes nevertheless."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_clip, save_loftup
from sclip_research.scenes.held_out import held_out_scene
from torch.nn.functional import normalize

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings, Vocabulary
from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes

CLASSES = ["floor", "wall", "cup"]
STAGES = {
    "plain": {},
    "whole": {"inference": "whole"},
    "resclip": {"use_resclip": True},
    "documents": {"use_resclip": True, "resclip__variant": "documents"},
    "refined": {"use_pamr": True, "use_densecrf": True, "area_threshold": 0.01},
    "loftup": {"use_loftup": True},
}


def picture(height: int, width: int) -> np.ndarray:
    """Return an image of random pixels."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor()


@pytest.fixture(scope="module")
def loftup(segmentor: SCLIPSegmentor, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("loftup") / "loftup.safetensors"
    return save_loftup(path, segmentor.backbone.dimension)


@pytest.fixture(autouse=True)
def default_settings(segmentor: SCLIPSegmentor) -> None:
    segmentor.settings = SegmentorSettings()


def use(segmentor: SCLIPSegmentor, stage: str, loftup: str) -> None:
    """Switch one stage on, and no other."""
    segmentor.settings = SegmentorSettings(use_pamr=False).with_changes(loftup__source=loftup,
                                                                        **STAGES[stage])


def words(segmentor: SCLIPSegmentor, count: int) -> Vocabulary:
    """Return a vocabulary of invented words with embeddings drawn at random."""
    classes = validate_classes([f"thing {index}" for index in range(count)])
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, segmentor.backbone.dimension, generator=generator)
    return Vocabulary(classes, None, 1, normalize(vectors, dim=1), torch.arange(count),
                      palette_of([entry.name for entry in classes]))


@pytest.mark.parametrize(("image", "message"), [
    (np.zeros((64, 64), np.uint8), r"shape \(64, 64\).*RGB image"),
    (np.zeros((1, 64, 64, 3), np.uint8), r"shape \(1, 64, 64, 3\)"),
    (np.zeros((3, 64, 64), np.uint8), r"shape \(3, 64, 64\)"),
    (np.zeros((64, 64, 4), np.uint8), r"shape \(64, 64, 4\)"),
    (np.zeros((64, 64, 3), np.float32), "dtype float32; give uint8"),
    (np.full((64, 64, 3), np.nan), "dtype float64; give uint8"),
    (np.zeros((64, 64, 3), np.uint16), "dtype uint16; give uint8"),
    (np.zeros((64, 64, 3), bool), "dtype bool; give uint8"),
    (np.zeros((64, 64, 3), object), "dtype object; give uint8"),
    (torch.zeros(64, 64, 3), "dtype (torch.)?float32; give uint8"),
    (np.zeros((0, 64, 3), np.uint8), "64x0 pixels is empty"),
    ([[[0, 0, 0]]], "list"),
    (None, "NoneType"),
])
def test_what_is_no_rgb_image_is_refused(segmentor, image, message):
    with pytest.raises(ValueError, match=message):
        segmentor.segment(image, CLASSES)


@pytest.mark.parametrize(("size", "message"), [
    ((1, 1), "image of 1x1 pixels is worked on as 1x1, smaller than one patch of 16"),
    ((15, 64), "image of 64x15 pixels"),
    ((16, 4000), "image of 4000x16 pixels is worked on as 2048x8, smaller than one patch"),
])
def test_an_image_smaller_than_a_patch_is_refused(segmentor, size, message):
    with pytest.raises(ValueError, match=message):
        segmentor.segment(picture(*size), CLASSES)


def test_one_bad_image_fails_the_batch_and_leaves_the_segmentor_usable(segmentor):
    good = picture(48, 64)
    before = segmentor.segment(good, CLASSES)
    with pytest.raises(ValueError, match="smaller than one patch"):
        segmentor.predict_batch([good, picture(4, 4)], CLASSES)
    assert np.array_equal(segmentor.segment(good, CLASSES), before)


def test_an_empty_batch_gives_no_results(segmentor):
    assert segmentor.predict_batch([], CLASSES) == []


@pytest.mark.filterwarnings("error")
def test_strided_and_read_only_images_are_taken_as_they_are(segmentor):
    image = picture(48, 64)
    expected = segmentor.segment(image, CLASSES)
    message = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    bgr = np.ascontiguousarray(image[..., ::-1])
    assert not message.flags.writeable
    assert np.array_equal(segmentor.segment(message, CLASSES), expected)
    assert np.array_equal(segmentor.segment(bgr[..., ::-1], CLASSES), expected)
    assert np.array_equal(segmentor.segment(torch.from_numpy(image), CLASSES), expected)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (97, 131), (16, 2000), (2000, 16)])
def test_odd_sizes_and_extreme_shapes_are_labelled(segmentor, loftup, stage, size):
    use(segmentor, stage, loftup)
    result = segmentor.predict_dense(picture(*size), CLASSES)
    assert result.labels.shape == result.confidence.shape == size
    assert result.labels.max() < len(CLASSES)
    assert torch.isfinite(result.scores).all()


@pytest.mark.parametrize("level", [0, 127, 255])
@pytest.mark.parametrize("stage", STAGES)
def test_an_image_of_one_colour_is_labelled(segmentor, loftup, stage, level):
    use(segmentor, stage, loftup)
    result = segmentor.predict_dense(np.full((64, 80, 3), level, np.uint8), CLASSES)
    assert torch.isfinite(result.scores).all()
    assert result.labels.max() < len(CLASSES)


@pytest.mark.parametrize("stage", STAGES)
def test_one_class_takes_every_pixel(segmentor, loftup, stage):
    use(segmentor, stage, loftup)
    result = segmentor.predict_dense(picture(64, 80), ["wall"])
    assert (result.labels == 0).all()
    assert (result.confidence == 255).all()


@pytest.mark.parametrize(("classes", "message"), [
    ([], "the list of classes is empty"),
    ("wall", "classes is one text 'wall'"),
    (["wall", " "], "has a blank word"),
    (["wall", "floor|Wall"], "stands in the classes twice"),
    ([f"thing {index}" for index in range(255)], "255 classes do not fit"),
    ([f"thing {index}" for index in range(500)], "500 classes do not fit an 8-bit label image"),
    (["very " * 40 + "long"], "class 'very very .* tokens"),
    (None, "classes is of type NoneType; give a list"),
    (5, "classes is of type int; give a list"),
    ((word for word in CLASSES), "classes is of type generator; give a list"),
])
def test_unusable_classes_are_refused(segmentor, classes, message):
    with pytest.raises(ValueError, match=message):
        segmentor.segment(picture(48, 64), classes)


def test_the_vocabulary_of_another_model_is_refused(segmentor, tmp_path: Path):
    other = SCLIPSegmentor(save_clip(tmp_path, layers=2)).vocabulary(CLASSES)
    with pytest.raises(ValueError, match="embeddings have length 512, this model's .*make it with"):
        segmentor.segment(picture(48, 64), other)


def test_a_background_that_is_no_text_is_refused(segmentor):
    with pytest.raises(ValueError, match="background=0 is not text"):
        segmentor.vocabulary(CLASSES, 0)


@pytest.mark.parametrize(("device", "message"), [
    ("abacus", "device='abacus' is unknown; use 'auto'"),
    (None, "device='None' is unknown"),
    ("cuda:99", r"device='cuda:99' is not there \(torch sees .* use 'auto' or 'cpu'"),
    ("meta", "device='meta' cannot be computed on"),
])
def test_an_unusable_device_is_refused(device, message):
    with pytest.raises(ValueError, match=message):
        SCLIPSegmentor(device=device)


def test_an_automatic_gpu_that_does_not_compute_is_refused_with_the_remedy(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "zeros", broken)
    with pytest.raises(ValueError, match="'cuda' cannot be computed on .*no kernel image.*'cpu'"):
        SCLIPSegmentor(device="auto")


def test_the_automatic_device_is_there():
    segmentor = SCLIPSegmentor(device="auto")
    assert segmentor.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert segmentor.segment(picture(48, 64), CLASSES).shape == (48, 64)


@pytest.mark.parametrize("stage", STAGES)
def test_254_classes_work(segmentor, loftup, stage):
    use(segmentor, stage, loftup)
    room = np.ascontiguousarray(held_out_scene(0)[0].image[::8, ::8])
    result = segmentor.predict_dense(room, words(segmentor, 254))
    assert result.labels.max() < 254
    # The CRF may rightly give so small a picture one label; what it refines has several.
    scores = result.scores.argmax(0).unique() if stage == "refined" else np.unique(result.labels)
    assert len(scores) > 1
    assert result.coverage.shape == (254,)


@pytest.fixture(scope="module")
def broken() -> SCLIPSegmentor:
    """Return a segmentor with one number missing from its image tower."""
    segmentor = SCLIPSegmentor()
    *_, last = segmentor.backbone.visual.parameters()
    last.data[3, 5] = float("nan")
    return segmentor


@pytest.mark.parametrize("stage", STAGES)
def test_broken_weights_raise_instead_of_giving_labels(broken, loftup, stage):
    use(broken, stage, loftup)
    with pytest.raises(ValueError, match="not finite.*check the weights file"):
        broken.segment(picture(48, 64), words(broken, 3))


def test_one_broken_image_of_a_batch_is_noticed(segmentor):
    vocabulary = words(segmentor, 3)
    vocabulary.embeddings[1, 0] = float("inf")
    with pytest.raises(ValueError, match="not finite"):
        segmentor.predict_batch([picture(48, 64), picture(64, 64)], vocabulary)


@pytest.mark.parametrize(("changes", "message"), [
    ({"attention": "sclip2"}, "attention='sclip2' is unknown; choose one of sclip"),
    ({"inference": "tiles"}, "inference='tiles' is unknown"),
    ({"precision": "int8"}, "precision='int8' is unknown"),
    ({"short_side": 8}, "short_side must be 16 to 4096, or 0 for what suits the model, got 8"),
    ({"short_side": 336.5}, "short_side=336.5 is not a whole number"),
    ({"short_side": "336"}, "short_side='336' is not a whole number"),
    ({"short_side": True}, "short_side=True is not a whole number"),
    ({"crop": 5000}, "crop must be .*, got 5000"),
    ({"stride": 0}, "stride must be .*, got 0"),
    ({"stride": 225}, "stride must be 8 to 224, got 225"),
    ({"stride": 1}, "stride must be .*, got 1"),
    ({"window_batch": 0}, "window_batch must be .*, got 0"),
    ({"logit_scale": -1.0}, "logit_scale must be .*, got -1.0"),
    ({"logit_scale": float("nan")}, "logit_scale must be .*, got nan"),
    ({"logit_scale": None}, "logit_scale=None is not a number"),
    ({"probability_threshold": 1.1}, "probability_threshold must be .*, got 1.1"),
    ({"area_threshold": -0.1}, "area_threshold must be .*, got -0.1"),
    ({"naclip_sigma": 0.0}, "naclip_sigma must be .*, got 0.0"),
    ({"use_pamr": "yes"}, "use_pamr='yes' is not a switch"),
    ({"loftup__factor": 0.5}, "loftup.factor must be .*, got 0.5"),
    ({"loftup__contract": "keys"}, "loftup.contract='keys' is unknown"),
    ({"resclip__variant": "thesis"}, "resclip.variant='thesis' is unknown"),
    ({"resclip__rcs_weight": 1.5}, "resclip.rcs_weight must be .*, got 1.5"),
    ({"resclip__documents_temperature": 0.0}, "resclip.documents_temperature must be .*, got 0.0"),
    ({"pamr__steps": -1}, "pamr.steps must be .*, got -1"),
    ({"pamr__steps": 999}, "pamr.steps must be 0 to 100, got 999"),
    ({"crf__iterations": 999}, "crf.iterations must be 0 to 100, got 999"),
    ({"pamr__dilations": range(1, 18)}, "pamr.dilations has 17 steps; give at most 16"),
    ({"pamr__dilations": ()}, "pamr.dilations is empty"),
    ({"pamr__dilations": (8, 0)}, "pamr.dilations must be .*, got 0"),
    ({"crf__backend": "gpu"}, "crf.backend='gpu' is unknown"),
    ({"crf__iterations": 2.5}, "crf.iterations=2.5 is not a whole number"),
    ({"crf__bilateral_srgb": 0.0}, "crf.bilateral_srgb must be .*, got 0.0"),
    ({"pamr__dilations": 8}, "pamr.dilations=8 is not a list; give steps"),
    ({"loftup__source": 3}, "loftup.source=3 is not text; give 'auto'"),
    ({"loftup": None}, r"loftup=None is not a group of settings; give LoftUpSettings\(...\)"),
    ({"pamr": 3, "pamr__steps": 1}, "pamr=3 is not a group of settings"),
    ({"shortside": 336}, "setting 'shortside' does not exist; choose one of .*short_side"),
    ({"crf__steps": 3}, "setting 'crf.steps' does not exist; crf has backend, iterations"),
    ({"short_side__x": 3}, "setting 'short_side.x' does not exist; groups .* loftup, .*resclip"),
])
def test_settings_that_cannot_work_are_refused_by_name(segmentor, changes, message):
    before = segmentor.settings
    with pytest.raises(ValueError, match=message):
        segmentor.settings = segmentor.settings.with_changes(**changes)
    assert segmentor.settings is before


def test_a_crf_library_that_is_not_installed_is_refused_at_once(segmentor, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)  # as Python itself marks what is missing
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    before = segmentor.settings
    named = before.with_changes(crf__backend="pydensecrf")
    with pytest.raises(ValueError, match="crf.backend='pydensecrf' cannot run: .*install"):
        segmentor.settings = named.with_changes(use_densecrf=True)
    assert segmentor.settings is before
    segmentor.settings = named  # what is switched off need not be installed


def test_a_tower_too_shallow_for_resclip_refuses_it_at_once(tmp_path: Path):
    segmentor = SCLIPSegmentor(save_clip(tmp_path, layers=1), short_side=64, crop=64, stride=32)
    before = segmentor.settings
    with pytest.raises(ValueError, match="depth 1 has no middle block.*or switch RCS off"):
        segmentor.settings = before.with_changes(use_resclip=True)
    assert segmentor.settings is before
    segmentor.settings = before.with_changes(use_resclip=True, resclip__rcs=False)
    assert segmentor.segment(picture(64, 64), words(segmentor, 2)).shape == (64, 64)


def test_precision_cannot_change_under_a_loaded_model(segmentor):
    with pytest.raises(ValueError, match="precision='fp16' cannot change.*new segmentor"):
        segmentor.settings = SegmentorSettings(precision="fp16")


def test_refused_settings_leave_the_old_ones_in_force(segmentor, tmp_path: Path):
    image = picture(48, 64)
    before = segmentor.segment(image, CLASSES)
    missing = str(tmp_path / "missing.safetensors")
    with pytest.raises(RuntimeError, match="does not exist"):
        segmentor.settings = SegmentorSettings().with_changes(use_loftup=True,
                                                              loftup__source=missing)
    assert segmentor.settings == SegmentorSettings()
    assert np.array_equal(segmentor.segment(image, CLASSES), before)


def test_loftup_is_tried_again_when_it_is_switched_off_and_on(segmentor, tmp_path: Path):
    path = tmp_path / "loftup.safetensors"
    wanted = SegmentorSettings().with_changes(use_loftup=True, loftup__source=str(path),
                                              loftup__allow_fallback=True)
    segmentor.settings = wanted
    assert segmentor.fallbacks == ("loftup -> bilinear",)
    save_loftup(path, segmentor.backbone.dimension)
    segmentor.settings = SegmentorSettings()
    segmentor.settings = wanted
    assert segmentor.fallbacks == ()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_full_precision(precision):
    image = picture(64, 80)
    full = SCLIPSegmentor(precision="fp32").predict_dense(image, CLASSES)
    half = SCLIPSegmentor(precision=precision).predict_dense(image, CLASSES)
    assert half.scores.dtype == torch.float32
    assert float((half.scores - full.scores).abs().max()) < 0.05
