"""The pipeline with every stage on and off, alone and together with every other.

They run on the embedded model and on a narrow tower of three blocks like ViT-B/16's. Its weights,
and LoftUp's, are random: what is asserted holds for any weights. Instead of all combinations, of
which there are thousands, those are run in which any three choices meet; where a combination takes
several runs, those in which any two meet (covering arrays: most faults need no more).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heapreplace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from checkpoints import save_anyup, save_clip, save_loftup
from timm_towers import enliven, write_siglip

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, last_block_rules
from sclip_seg_ros.segmentation.backbones.proxies import weights
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.refinement.dense_crf.dense_crf import BACKENDS, resolve_backend
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract

CLASSES = ("floor|carpet", "wall", "cup", "chair")
SMALL = {"precision": "fp32", "crop": 48, "stride": 32, "logit_scale": 40.0,
         "pamr__dilations": (3, 12),
         "loftup__adaptive": False, "loftup__factor": 1.5,
         "crf__iterations": 3, "crf__bilateral_compat": 2.0, "crf__gaussian_compat": 1.0}

OFF: Mapping[str, object] = {}
AXES: dict[str, dict[str, Mapping[str, object]]] = {
    "attention": {name: {"attention": name} for name in ATTENTIONS},
    "residual": {"kept": {"residual": True}, "dropped": {"residual": False}},
    "inference": {"slide": {"inference": "slide"}, "whole": {"inference": "whole"}},
    "resclip": {"off": OFF} | {name: {"use_resclip": True, "resclip__variant": name}
                               for name in ("paper", "documents")},
    "pamr": {"off": {"use_pamr": False}, "on": {"use_pamr": True},
             "at full size": {"pamr__resolution": 1.0}},
    "crf": {"off": OFF} | {name: {"use_densecrf": True, "crf__backend": name}
                           for name in dict.fromkeys((resolve_backend("auto"), "bilateral"))},
    "loftup": {"off": OFF} | {name: {"use_loftup": True, "loftup__contract": name}
                              for name in ("value", "attended")},
}
Combination = tuple[str, ...]  # one choice an axis, in the order of AXES
WHOLE_METHODS = set(ATTENTIONS) - set(last_block_rules())  # ResCLIP cannot go with these
EVERY = [chosen for chosen in product(*AXES.values())
         if chosen[0] not in WHOLE_METHODS or chosen[3] != "paper"]
PLAIN: Combination = ("sclip", "kept", "slide", "off", "off", "off", "off")


def covering(possible: Iterable[Sequence], strength: int = 2) -> list[tuple]:
    """Return few of the possible combinations, in which so many choices meet wherever they can."""
    sets = [(tuple(chosen), set(combinations(enumerate(chosen), strength))) for chosen in possible]
    missing, found = set().union(*(each for _, each in sets)), []
    best = [(-len(each), index) for index, (_, each) in enumerate(sets)]
    heapify(best)
    while missing:
        _, index = best[0]
        chosen, brings = sets[index]
        gain = len(brings & missing)    # less than it was, never more
        if heapreplace(best, (-gain, index)) != (-gain, index):
            continue
        found.append(chosen)
        missing -= brings
    return found


PAIRS, TRIPLES = covering(EVERY), covering(EVERY, 3)
MODELS = ("embedded", "reduced")


@dataclass(eq=False)
class Pipeline:
    """A model with its own LoftUp checkpoint."""

    segmentor: SCLIPSegmentor
    loftup: str

    def __post_init__(self) -> None:
        """Encode the words once, and remember what was computed once."""
        self.vocabulary = self.segmentor.vocabulary(CLASSES)
        self.result = cache(lambda chosen: self.run([picture()], chosen)[0])

    def run(self, images: list[np.ndarray], chosen: Combination,
            **changes: object) -> list[SegmentationResult]:
        """Label images under one combination."""
        for axis, choice in zip(AXES.values(), chosen, strict=True):
            changes = {**axis[choice], **changes}
        self.segmentor.settings = SegmentorSettings().with_changes(
            **{**SMALL, "loftup__source": self.loftup, **changes})
        return self.segmentor.predict_batch(images, self.vocabulary)


def picture(height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    """Return an image of coloured blocks with grain."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(30, 226, (-(-height // 16), -(-width // 16), 3))
    flat = np.kron(blocks, np.ones((16, 16, 1)))[:height, :width]
    return (flat + generator.integers(-20, 21, flat.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    segmentor = SCLIPSegmentor(precision="fp32")
    path = tmp_path_factory.mktemp("loftup") / "embedded.safetensors"
    return Pipeline(segmentor, save_loftup(path, segmentor.backbone.dimension))


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder: Path = tmp_path_factory.mktemp("clip")
    segmentor = SCLIPSegmentor(save_clip(folder, layers=3, width=192), precision="fp32")
    for file in folder.glob("*.safetensors"):
        file.unlink()  # loaded, and too large to leave behind
    return Pipeline(segmentor, save_loftup(folder / "loftup.safetensors", 512))


@pytest.fixture(params=MODELS)
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    return request.getfixturevalue(request.param)


def assert_sane(result: SegmentationResult, image: np.ndarray) -> None:
    """Assert what must hold for any image, model and setting without a threshold."""
    assert torch.isfinite(result.scores).all()
    assert result.scores.abs().max() <= 1.0 + 1e-5
    for plane in (result.labels, result.confidence):
        assert plane.shape == image.shape[:2]
        assert plane.dtype == np.uint8
    assert result.labels.max() < len(CLASSES)
    words = len(result.vocabulary.query_class)  # the winner has at least its share
    assert result.confidence.min() >= 255 // words
    assert result.coverage.sum() == pytest.approx(1.0, abs=1e-5)


def effective(chosen: Combination) -> dict[str, str]:
    """Return the choices that count, by axis: LoftUp may take features that others do not touch."""
    choice = dict(zip(AXES, chosen, strict=True))
    if choice["loftup"] == "value" and choice["resclip"] == "paper":
        choice["loftup"] = "attended"  # published ResCLIP acts on attention, which values lack
    elif choice["loftup"] == "value":
        choice["attention"] = choice["residual"] = "bypassed"
    elif choice["attention"] in WHOLE_METHODS:
        choice["residual"] = "left out by the method"
    return choice


def difference(one: SegmentationResult, other: SegmentationResult) -> float:
    """Return the largest difference between two results' scores."""
    return float((one.scores - other.scores).abs().max())


@pytest.mark.parametrize("attention", AXES["attention"])
def test_any_three_choices_together_give_sane_labels(pipeline: Pipeline, attention: str) -> None:
    for chosen in TRIPLES:
        if chosen[0] == attention:
            assert_sane(pipeline.result(chosen), picture())


@pytest.mark.parametrize("backend", [name for name, backend in BACKENDS.items()
                                     if backend.available()])
def test_every_crf_backend_works_in_the_pipeline(embedded: Pipeline, backend: str) -> None:
    refined = embedded.run([picture()], PLAIN, use_densecrf=True, crf__backend=backend)[0]
    assert_sane(refined, picture())
    assert (refined.confidence != embedded.result(PLAIN).confidence).any()


@pytest.mark.parametrize("axis", AXES)
def test_every_choice_makes_a_difference_beside_any_two_others(
        embedded: Pipeline, axis: str) -> None:
    place, possible = list(AXES).index(axis), set(EVERY)
    for chosen in PAIRS:
        for other in AXES[axis]:
            if other == chosen[place]:
                continue
            changed = (*chosen[:place], other, *chosen[place + 1:])
            if changed not in possible:
                continue
            one, two = embedded.result(chosen), embedded.result(changed)
            if effective(chosen) == effective(changed):
                assert torch.equal(one.scores, two.scores), (chosen, other)
            elif axis == "crf":  # works on probabilities, after the scores
                assert (one.confidence != two.confidence).any(), (chosen, other)
            else:
                assert difference(one, two) > 1e-4, (chosen, other)


@pytest.mark.parametrize("chosen", PAIRS, ids="-".join)
def test_results_repeat_exactly(pipeline: Pipeline, chosen: Combination) -> None:
    again = pipeline.run([picture()], chosen)[0]
    assert torch.equal(pipeline.result(chosen).scores, again.scores)
    assert np.array_equal(pipeline.result(chosen).labels, again.labels)
    assert np.array_equal(pipeline.result(chosen).confidence, again.confidence)


@pytest.mark.parametrize("chosen", PAIRS, ids="-".join)
def test_a_batch_of_different_sizes_equals_one_by_one(
        pipeline: Pipeline, chosen: Combination) -> None:
    images = [picture(), picture(50, 61, seed=1), picture(64, 80, seed=2), picture(33, 97, seed=3)]
    for image, joint in zip(images, pipeline.run(images, chosen), strict=True):
        alone = pipeline.run([image], chosen)[0]
        assert_sane(joint, image)
        assert difference(joint, alone) < 1e-4
        assert (joint.labels == alone.labels).mean() > 0.99  # but for ties


@pytest.mark.parametrize("chosen", PAIRS, ids="-".join)
def test_windows_in_one_forward_equal_one_at_a_time(
        pipeline: Pipeline, chosen: Combination) -> None:
    single = pipeline.run([picture()], chosen, window_batch=1)[0]
    assert difference(pipeline.result(chosen), single) < 1e-4


SCORES = {"clusters": {"use_clusters": True, "clusters__least": 3}, "tlp": {"use_tlp": True},
          "all": {"use_clusters": True, "clusters__least": 3, "use_tlp": True, "use_pamr": True}}


@pytest.mark.parametrize("pipeline, attention, refinement, inference, loftup", covering(product(
    MODELS, AXES["attention"], SCORES, AXES["inference"], ("off", "attended"))),
    indirect=["pipeline"])
def test_refinements_of_scores_work_with_every_tower(
        pipeline: Pipeline, attention: str, refinement: str, inference: str, loftup: str) -> None:
    images = [picture(), picture(50, 61, seed=1), picture(64, 80, seed=2)]
    chosen = (attention, "kept", inference, "off", "off", "off", loftup)
    for image, joint in zip(images, pipeline.run(images, chosen, **SCORES[refinement]),
                            strict=True):
        assert_sane(joint, image)
        alone = pipeline.run([image], chosen, **SCORES[refinement])[0]
        assert (joint.labels == alone.labels).mean() > 0.99
    assert difference(pipeline.run([picture()], chosen, **SCORES[refinement])[0],
                      pipeline.result(chosen)) > 1e-4


@pytest.fixture(scope="module", params=["siglip", "eva"])
def other_family(request: pytest.FixtureRequest,
                 tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Return a tower without a class token that pools by attention, or one of rotary positions."""
    folder: Path = tmp_path_factory.mktemp("tower") / request.param
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "siglip":
            create = timm.create_model
            patch.setattr(timm, "create_model", lambda *args, **kwargs: create(
                *args, class_token=False, **kwargs))
            write_siglip(folder)
        else:
            write_siglip(folder, vision={"timm_model_name": "eva02_tiny_patch14_224",
                                         "timm_pool": "token", "timm_proj": None})
        segmentor = SCLIPSegmentor(f"local-dir:{folder}", precision="fp32")
    assert segmentor.backbone.prefix == (request.param == "eva")
    return Pipeline(segmentor, save_loftup(folder / "loftup.safetensors", 64))


@pytest.mark.parametrize("chosen", PAIRS, ids="-".join)
def test_every_choice_goes_with_other_families_of_towers(
        other_family: Pipeline, chosen: Combination) -> None:
    images = [picture(), picture(50, 61, seed=1)]
    for image, joint in zip(images, other_family.run(images, chosen), strict=True):
        alone = other_family.run([image], chosen)[0]
        assert_sane(joint, image)
        assert difference(joint, alone) < 1e-4


BESIDE = {"nothing": {}, "pamr": {"use_pamr": True}, "words": {"use_image_words": True},
          "crf": {"use_densecrf": True, "crf__backend": resolve_backend("auto")},
          "scores": {"use_clusters": True, "clusters__least": 3, "use_tlp": True}}


@pytest.fixture(scope="module")
def anyup(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_anyup(tmp_path_factory.mktemp("anyup") / "anyup.pth")


ANYUP = {"use_anyup": True, "anyup__factor": 2.0}
LATER = {"words": {"use_image_words": True}, "anyup": ANYUP,
         "anyup and resclip": {**ANYUP, "use_resclip": True, "resclip__variant": "documents"},
         "all": {**ANYUP, **SCORES["all"], "use_image_words": True, "use_densecrf": True,
                 "crf__backend": resolve_backend("auto")}}


@pytest.mark.parametrize("pipeline, attention, later, inference", covering(product(
    MODELS, AXES["attention"], LATER, AXES["inference"])), indirect=["pipeline"])
def test_anyup_and_the_text_side_go_with_every_attention(
        pipeline: Pipeline, anyup: str, attention: str, later: str, inference: str) -> None:
    words = pipeline.segmentor.vocabulary(CLASSES, negatives=["door", "lamp"])
    changes = {"anyup__source": anyup, **LATER[later]}
    chosen = (attention, "kept", inference, "off", "off", "off", "off")
    images = [picture(), picture(50, 61, seed=1)]
    for image, joint in zip(images, pipeline.run(images, chosen, **changes), strict=True):
        assert_sane(joint, image)
        alone = pipeline.run([image], chosen, **changes)[0]
        assert (joint.labels == alone.labels).mean() > 0.99
    plain, changed = pipeline.result(chosen), pipeline.run([picture()], chosen, **changes)[0]
    assert (plain.confidence != changed.confidence).any()
    segmentor = pipeline.segmentor
    segmentor.settings = segmentor.settings.with_changes(prune_below=0.3)
    [result] = segmentor.predict_batch([picture()], words)
    assert set(np.unique(result.labels)) <= {*range(len(CLASSES)), UNLABELLED}
    assert torch.isfinite(result.scores).all()


@pytest.mark.parametrize("pipeline, enlarged, beside, inference, resclip", covering(product(
    MODELS, ("off", "loftup", "anyup"), BESIDE, AXES["inference"], ("off", "documents"))),
    indirect=["pipeline"])
def test_a_proxy_goes_with_every_other_stage(
        pipeline: Pipeline, anyup: str, enlarged: str, beside: str, inference: str, resclip: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "build_network", lambda name: enliven(timm.create_model(
        PROXIES[name].architecture, num_classes=0, depth=2, embed_dim=48, num_heads=4)))
    more = {"off": {}, "loftup": {"use_loftup": True, "loftup__source": "bilinear"},
            "anyup": {"use_anyup": True, "anyup__source": anyup, "anyup__factor": 2.0}}[enlarged]
    images = [picture(), picture(50, 61, seed=1)]
    chosen = ("sclip", "kept", inference, resclip, "off", "off", "off")
    changes = {"use_proxy": True, "proxy__source": "random", **BESIDE[beside], **more}
    for image, joint in zip(images, pipeline.run(images, chosen, **changes), strict=True):
        assert_sane(joint, image)
        alone = pipeline.run([image], chosen, **changes)[0]
        assert difference(joint, alone) < 1e-4
    without = pipeline.run([images[0]], chosen, **{**changes, "use_proxy": False})[0]
    assert difference(pipeline.run([images[0]], chosen, **changes)[0], without) > 1e-4


def test_a_checkpoint_decides_by_itself_which_features_it_gets(
        embedded: Pipeline, tmp_path: Path) -> None:
    stated = FeatureContract("embedded", "attended", "clip")
    path = save_loftup(tmp_path / "loftup.safetensors", embedded.segmentor.backbone.dimension,
                       stated)
    auto = embedded.run([picture()], PLAIN[:-1] + ("attended",), loftup__source=path,
                        loftup__contract="auto")[0]
    assert torch.equal(auto.scores, embedded.result(PLAIN[:-1] + ("attended",)).scores)


def test_features_other_than_loftup_states_are_refused(
        embedded: Pipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_loftup(tmp_path / "loftup.safetensors", embedded.segmentor.backbone.dimension,
                       FeatureContract("embedded", "value", "imagenet"))
    embedded.run([picture()], PLAIN, use_loftup=True, loftup__source=path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with pytest.raises(WeightsError, match="layer is 'attended' but it was trained with 'value'"):
        embedded.run([picture()], PLAIN, use_loftup=True, loftup__source=path,
                     loftup__contract="attended")


@pytest.mark.parametrize("variant", ["paper", "documents"])
def test_each_half_of_resclip_works_alone(embedded: Pipeline, variant: str) -> None:
    results = [embedded.run([picture()], PLAIN, use_resclip=True, resclip__variant=variant,
                            resclip__rcs=rcs, resclip__sfr=sfr)[0]
               for rcs, sfr in product([True, False], repeat=2)]
    for one, other in combinations(results, 2):
        assert difference(one, other) > 1e-4
    assert difference(results[-1], embedded.result(PLAIN)) < 1e-5  # without either: as if off


@pytest.mark.parametrize("crf", AXES["crf"])
def test_uncertain_pixels_are_unlabelled_or_background(embedded: Pipeline, crf: str) -> None:
    chosen = (*PLAIN[:5], crf, "off")
    plain = embedded.result(chosen)
    threshold = (float(plain.confidence.max()) - 0.5) / 255  # between two steps of 1/255
    result = embedded.run([picture()], chosen, probability_threshold=threshold)[0]
    uncertain = plain.confidence < 255 * threshold
    assert uncertain.any()
    assert (result.labels == np.where(uncertain, UNLABELLED, plain.labels)).mean() > 0.99
    embedded.segmentor.settings = embedded.segmentor.settings.with_changes(
        probability_threshold=threshold)
    words = embedded.segmentor.vocabulary(CLASSES, background="wall")
    labels = embedded.segmentor.segment(picture(), words)
    assert (labels == np.where(uncertain, 1, plain.labels)).mean() > 0.99


@pytest.mark.parametrize("crf", AXES["crf"])
def test_classes_on_too_few_pixels_vanish(embedded: Pipeline, crf: str) -> None:
    chosen = (*PLAIN[:5], crf, "off")
    coverage = embedded.result(chosen).coverage
    present = np.sort(coverage[coverage > 0])
    assert len(present) > 1, "the picture must show two classes for this test to mean anything"
    threshold = float(present[0] + present[1]) / 2
    kept = embedded.run([picture()], chosen, area_threshold=threshold)[0].coverage > 0
    assert np.array_equal(kept, coverage > threshold)
