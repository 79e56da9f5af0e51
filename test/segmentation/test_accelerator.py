"""Every stage keeps its tensors on its device, waits for it rarely, and leaves it when told to.

A process of its own, which the stand-in of ``accelerator.py`` takes, labels an image there and on
the CPU, and writes the differences down.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import accelerator
import numpy as np
import pytest
import torch
from forked_programs import ForkedProgram, can_fork
from sclip_research.scenes.held_out import held_out_scene
from sclip_research.training.loftup.crops import Batch, step_plan
from sclip_research.training.loftup.distillation import MovingAverage
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.objective import Objective
from sclip_research.training.loftup.settings import TrainingSettings, network_sizes

from sclip_seg_ros.io.blending import blend
from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.segmentation.upsampler_check import check_one
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp

pytestmark = pytest.mark.skipif(not accelerator.available(),
                                reason="this torch knows no devices written in Python")

SMALL = {"precision": "fp32", "inference": "slide", "short_side": 96, "crop": 64, "stride": 32}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "vanilla": {"attention": "vanilla"},
    "clearclip": {"attention": "clearclip"},
    "naclip": {"attention": "naclip", "residual": False},
    "whole image": {"inference": "whole"},
    "shrunk": {"short_side": 80, "antialias": False},
    "enlarged": {"short_side": 112, "enlarge": True, "antialias": False},
    "loftup": {"use_loftup": True},
    "loftup, fixed": {"use_loftup": True, "loftup__adaptive": False},
    "resclip": {"use_resclip": True},
    "resclip on naclip": {"use_resclip": True, "attention": "naclip", "residual": False},
    "resclip of the documents": {"use_resclip": True, "resclip__variant": "documents"},
    "pamr as published": {"pamr__steps": 10, "pamr__dilations": (8, 16),
                          "pamr__resolution": 1.0},
    "no pamr": {"use_pamr": False},
    "all at once": {"use_loftup": True, "use_resclip": True, "use_tlp": True},
    "thresholds": {"probability_threshold": 0.5},
    "area": {"area_threshold": 0.02},
    "decided coarsely": {"decode_resolution": 0.45},
    "densecrf": {"use_densecrf": True},
    "densecrf, reduced": {"use_densecrf": True, "crf__resolution": 0.5, "area_threshold": 0.02},
    "bilateral": {"use_densecrf": True, "crf__backend": "bilateral"},
}
# These look at what came out before they go on: a lattice counts its vertices, a class its pixels.
WAITING = {"area", "densecrf", "densecrf, reduced", "bilateral"}


REPORT = """
import json, sys, torch
from test_accelerator import report
torch.set_num_threads(1)
with open(sys.argv[1], "w") as file:
    json.dump(report(), file)
"""
TEMPLATES = ("a photo of a {}.",)  # one instead of eighty: a word takes a while on the stand-in


def scene() -> tuple[np.ndarray, list[str]]:
    """Return a room of 96x128 pixels, which the default settings here do not resize, and words."""
    rendered, words = held_out_scene(0)
    rows, columns = rendered.image.shape[0] // 96, rendered.image.shape[1] // 128
    return np.ascontiguousarray(rendered.image[::rows, ::columns][:96, :128]), list(words)


def compare(name: str, near: SCLIPSegmentor, far: SCLIPSegmentor) -> dict[str, Any]:
    """Label with one case's settings on the CPU and on the device; return the differences."""
    image, words = scene()
    near.settings = far.settings = SegmentorSettings(**SMALL).with_changes(**CASES[name])
    vocabularies = [each.vocabulary(words, templates=TEMPLATES) for each in (near, far)]
    expected = near.predict_dense(image, vocabularies[0])
    accelerator.waits()
    try:
        found = far.predict_dense(image, vocabularies[1])
        waits = accelerator.waits()
        probabilities = found.class_probabilities() - expected.class_probabilities()
    except RuntimeError as error:
        return {"error": str(error)}
    picture = blend(found.on_device.image, found.on_device.labels, vocabularies[1].colours, 0.5)
    drawn = blend(expected.on_device.image, expected.on_device.labels, vocabularies[0].colours, 0.5)
    confidence = np.abs(found.confidence.astype(int) - expected.confidence)
    return {"error": None, "waits": waits, "distinct": len(np.unique(expected.labels)),
            "labels": float(np.mean(found.labels != expected.labels)),
            "confidence": int(confidence.max()),
            "probabilities": float(np.abs(probabilities).max()),
            "picture": float(np.mean(np.abs(picture.astype(int) - drawn) > 1))}


def check(segmentor: SCLIPSegmentor) -> dict[str, float]:
    """Return what the check of the upsampler finds."""
    segmentor.settings = SegmentorSettings(**SMALL, use_loftup=True)
    return asdict(check_one(segmentor, *scene()))


def train(device: torch.device, stage: int) -> dict[str, float]:
    """Return the losses of one batch of LoftUp's training, after their gradients."""
    featurizer = Featurizer(load_clip(device=device), "attended", "clip")
    settings = TrainingSettings(stage=stage, batch=2, sides=(64,), factors=(4.0,), steps=1,
                                affinity_pixels=50)
    torch.manual_seed(0)
    network = LoftUp(network_sizes(featurizer.dimension, 4, 1, 4, 0)).to(device).train()
    side = settings.large_side(64)
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, 4, (2, side, side), dtype=torch.int32)
    objective = Objective(settings, featurizer, MovingAverage(network, 0.9).network)
    losses = objective(network, Batch(images.to(device), labels.to(device)), step_plan(settings, 0))
    objective.total(losses).backward()
    return {name: loss.detach().item() for name, loss in losses.items()}


def lifetime(device: torch.device) -> dict[str, Any]:
    """Return what a segmentor leaves on the device, and whether it is the same afterwards."""
    image, words = scene()
    before = {id(tensor) for tensor in accelerator.living()}
    segmentor = SCLIPSegmentor(device=device, **SMALL)

    def vocabulary() -> Vocabulary:
        return segmentor.vocabulary(words, templates=TEMPLATES)

    labels = {}
    for name in ("naclip", "resclip", "densecrf", "loftup"):
        segmentor.settings = SegmentorSettings(**SMALL).with_changes(**CASES[name])
        labels[name] = segmentor.segment(image, vocabulary())
    held = len(accelerator.living()) - len(before)
    store = segmentor.upsamplers
    store.keep(segmentor.settings, store.load(segmentor.settings))  # and go on with those in use
    segmentor.release()
    left = [tuple(tensor.shape) for tensor in accelerator.living() if id(tensor) not in before]
    meanwhile = vocabulary()  # on the CPU, where the text tower is
    segmentor.restore()
    same = [np.array_equal(segmentor.segment(image, each), labels["loftup"])
            for each in (vocabulary(), meanwhile)]
    return {"held": held, "left": left, "same": same, "device": str(segmentor.device)}


def mixture(device: torch.device) -> str:
    """Return what the device says to a tensor of the CPU."""
    try:
        torch.ones(3, device=device) + torch.ones(3)
    except RuntimeError as error:
        return str(error)
    return ""


def report() -> dict[str, Any]:
    """Do all that on the device."""
    device, cpu = accelerator.set_up(), torch.device("cpu")
    near, far = (SCLIPSegmentor(device=where, **SMALL) for where in (cpu, device))
    found: dict[str, Any] = {"cases": {name: compare(name, near, far) for name in CASES}}
    found["check"] = [check(near), check(far)]
    del far
    found["training"] = [[train(where, stage) for where in (cpu, device)] for stage in (1, 2)]
    return {**found, "lifetime": lifetime(device), "mixture": mixture(device)}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("accelerator")
    log, output = folder / "log", folder / "report.json"
    assert can_fork()
    assert ForkedProgram(REPORT, ["report", output], log).wait(280) == 0, log.read_text()
    return json.loads(output.read_text())


@pytest.mark.parametrize("name", CASES)
def test_a_stage_stays_on_its_device_and_labels_as_on_a_cpu(found, name):
    case = found["cases"][name]
    assert case["error"] is None
    assert case["distinct"] > 1
    assert case["labels"] < 1e-3
    assert case["confidence"] <= 1
    assert case["probabilities"] < 1e-4
    assert case["picture"] < 1e-3


@pytest.fixture(scope="module")
def near_and_far() -> tuple[SCLIPSegmentor, SCLIPSegmentor]:
    return SCLIPSegmentor(device="cpu", **SMALL), SCLIPSegmentor(device="cuda", **SMALL)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_a_stage_labels_on_a_gpu_as_on_a_cpu(near_and_far, name):
    """But for rounding: a GPU's convolutions keep ten bits of float32's fraction by default."""
    case = compare(name, *near_and_far)
    assert case["error"] is None
    assert case["labels"] < 0.01
    assert case["confidence"] <= 8
    assert case["probabilities"] < 0.03
    assert case["picture"] < 0.01


@pytest.mark.parametrize("name", sorted(set(CASES) - WAITING))
def test_a_frame_waits_for_its_device_for_one_check_and_its_results(found, name):
    waits = found["cases"][name]["waits"]
    assert len(waits) == 3, waits
    check, *results = waits
    assert "isfinite" in check and all("pipeline.py" in place for place in results)


def test_the_check_of_the_upsampler_finds_the_same_on_any_device(found):
    on_cpu, on_device = found["check"]
    assert on_device.pop("upsampler") == on_cpu.pop("upsampler") == "LoftUp"
    assert on_device == pytest.approx(on_cpu, rel=0.01)  # the CPU rounds a shrunk image
    assert on_cpu["cosine_drift"] > 0


@pytest.mark.parametrize("stage", [1, 2])
def test_loftup_is_trained_alike_on_any_device(found, stage):
    on_cpu, on_device = found["training"][stage - 1]
    assert on_device == pytest.approx(on_cpu, rel=1e-3)
    assert len(on_cpu) >= stage


def test_a_released_segmentor_leaves_nothing_on_its_device(found):
    assert found["lifetime"]["held"] > 100
    assert found["lifetime"]["left"] == []
    assert found["lifetime"]["same"] == [True, True]


def test_a_segmentor_knows_the_number_of_its_device(found):
    assert found["lifetime"]["device"] == f"{accelerator.NAME}:0"


def test_the_stand_in_would_notice_a_mixture(found):
    assert "Expected all tensors to be on the same device" in found["mixture"]
